import { describe, expect, it } from 'vitest';
import { say, startLasting, talk } from '../support/continuity.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { both, following, opened, talking } from '../support/sideband.js';

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from test to test
  body: any;
}

async function request(relay: TestRelay, below: string, body: object | null, subject = 'backend'): Promise<Answer> {
  const reply = await fetch(`${relay.relay.url}/v1/relay/sessions/${below}`, {
    method: body === null ? 'DELETE' : 'POST',
    headers: { authorization: `Bearer ${relay.token({ subject, claims: { scope: both } })}` },
    ...(body !== null && { body: JSON.stringify(body) }),
  });
  return { status: reply.status, body: await reply.json() };
}

const force = { on: true, force: true };
const spoken = { type: 'response.create' };

describe('several backends of one session', () => {
  it('that take it by force at once: one holds it, and each is told the truth', async () => {
    const { relay, client, id } = await opened();
    const sideband = await following(relay, id);
    const names = ['anna', 'bert', 'carl', 'dora'];
    const answers = await Promise.all(names.map((name) => request(relay, `${id}/takeover`, force, name)));
    for (const [index, { status, body }] of answers.entries()) {
      if (status === 200) expect(body).toEqual({ id, taken_over: true, by: names[index] });
      else expect([status, body.error.code]).toEqual([409, 'taken_over']);
    }
    const again = await Promise.all(names.map((name) => request(relay, `${id}/takeover`, { on: true }, name)));
    const holders = names.filter((_, index) => again[index]?.status === 200);
    expect(holders).toHaveLength(1);
    expect(again.filter(({ status }) => status === 409)).toHaveLength(3);
    await sideband.next(({ type, on, by }) => type === 'relay.taken_over' && on === true && by === holders[0]);
    const others = names.filter((name) => !holders.includes(name));
    expect((await request(relay, `${id}/takeover`, { on: false }, others[0])).body).toMatchObject({
      taken_over: false,
    });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('that wait for upstream to fall silent find nothing where another one ends it', async () => {
    const { emulator, relay, client, id } = await opened();
    emulator.control.faults.strike('ignore_update');
    const sent = () => emulator.control.received.events('session.update').length;
    const before = sent();
    const taking = ['anna', 'bert', 'carl'].map((name) => request(relay, `${id}/takeover`, force, name));
    await emulator.control.received.waitFor(() => sent() > before);
    expect((await request(relay, id, null)).status).toBe(200);
    for (const { status } of await Promise.all(taking)) expect(status).toBe(404);
    expect(await client.closed).toEqual({ code: 1008, reason: 'ended_by_backend' });
  });

  it('that close their sidebands while they take it leave it as it was', async () => {
    const { emulator, relay, client, id } = await opened();
    for (let index = 0; index < 10; index++) {
      const sideband = await following(relay, id);
      sideband.send({ type: 'relay.takeover', on: true });
      if (index % 2 === 1) await sideband.next('relay.taken_over');
      sideband.ws.terminate();
      await relay.logged('control.detached', index + 1);
    }
    expect((await client.ask('Hi')).status).toBe('completed');
    const [last] = emulator.control.received.events('session.update').slice(-1);
    expect(JSON.stringify(last?.body)).not.toContain('"create_response":false');
  });
});

describe('who waits for an answer', () => {
  it('is told that it was cancelled by who takes over, and has the next one', async () => {
    const emulator = await startTestEmulator({ speed: 1 });
    const relay = await startTestRelay({ upstream: emulator.url });
    const { client, id } = await talking(relay);
    const waiting = request(relay, `${id}/events?wait=response`, spoken);
    await client.next('response.created');
    expect((await request(relay, `${id}/takeover`, { on: true }, 'desk')).status).toBe(200);
    expect((await waiting).body.response).toMatchObject({ status: 'cancelled' });
    const { body } = await request(relay, `${id}/events?wait=response`, spoken);
    expect(body.response).toMatchObject({ status: 'completed' });
  });

  it.each([
    ['in the conversation', spoken],
    ['beside it', { type: 'response.create', response: { conversation: 'none' } }],
  ])('%s hears how it ended when the connection to upstream is lost', async (_, event) => {
    const emulator = await startTestEmulator({ speed: 1 });
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    const [session] = [...relay.relay.sessions];
    await say(client, 'Please remember that my parrot is called Nemo.');
    emulator.control.faults.strike('die_mid_response');
    const { status, body } = await request(relay, `${session?.id}/events?wait=response`, event);
    expect(status).toBe(200);
    expect(body.response.status).toMatch(/^(completed|incomplete|failed)$/);
    await client.next('relay.upstream_replaced');
    expect(await say(client, 'What is my parrot called?')).toMatch(/./);
  });
});

it('a session whose connection is lost while it is being taken over is taken over on the next', async () => {
  const emulator = await startTestEmulator({ speed: 1 });
  const relay = await startLasting(emulator);
  const client = await talk(relay);
  const [session] = [...relay.relay.sessions];
  const id = String(session?.id);
  await say(client, 'Please remember that my parrot is called Nemo.');
  emulator.control.faults.strike('ignore_update');
  const sent = () => emulator.control.received.events('session.update').length;
  const before = sent();
  const taking = request(relay, `${id}/takeover`, { on: true });
  await emulator.control.received.waitFor(() => sent() > before);
  emulator.control.faults.strike('die_mid_response');
  expect((await request(relay, `${id}/events`, spoken)).status).toBe(202);
  expect((await taking).body).toMatchObject({ taken_over: true });
  expect(client.types()).toContain('relay.upstream_replaced');
  client.send(spoken);
  expect((await client.next('error')).error).toMatchObject({ code: 'taken_over' });
  for (const on of [false, true, false]) {
    expect((await request(relay, `${id}/takeover`, { on })).body).toMatchObject({ taken_over: on });
  }
  client.send(spoken);
  await client.next(({ type, response }) => type === 'response.done' && statusOf(response) === 'completed');
});

function statusOf(response: unknown): unknown {
  return (response as { status?: unknown }).status;
}

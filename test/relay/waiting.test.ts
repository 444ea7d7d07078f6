import { describe, expect, it } from 'vitest';
import type { TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { attach, both } from '../support/sideband.js';
import { call } from '../webrtc/caller.js';

const system = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'system', content: [{ type: 'input_text', text }] },
});
const answer = { type: 'response.create', response: { output_modalities: ['text'] } };
const aside = { type: 'response.create', response: { conversation: 'none', output_modalities: ['text'] } };

async function opened({ speed }: { speed?: number } = {}) {
  const emulator = await startTestEmulator(speed === undefined ? {} : { speed });
  const relay = await startTestRelay({ upstream: emulator.url });
  const client = await relay.connect();
  const { session } = await client.next('session.created');
  return { emulator, relay, client, id: (session as { id: string }).id };
}

async function ask(
  relay: TestRelay,
  below: string,
  body: unknown,
  headers: Record<string, string> = {},
  scope: string = both,
) {
  const token = relay.token({ subject: 'backend', claims: { scope } });
  const reply = await fetch(`${relay.relay.url}/v1/relay/sessions/${below}`, {
    method: body === null ? 'DELETE' : 'POST',
    headers: { authorization: `Bearer ${token}`, ...headers },
    ...(body !== null && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from test to test
  return { status: reply.status, body: (await reply.json()) as any, headers: reply.headers };
}

const waiting = (relay: TestRelay, id: string, body: unknown, headers?: Record<string, string>) =>
  ask(relay, `${id}/events?wait=response`, body, headers);

/** What the client was shown of its last answer. */
function shown(client: TestClient): { id: string; status: string; output: { content: Record<string, string>[] }[] } {
  const [last] = client.events.filter(({ type }) => type === 'response.done').slice(-1);
  return last?.response as never;
}

describe('a backend that waits for the answer', () => {
  it('gets it with the ids of its events, as the user does', async () => {
    const { relay, client, id } = await opened();
    const said = await waiting(relay, id, { events: [{ ...system('Offer help.'), event_id: 'mine' }, answer] });
    expect(said.status).toBe(200);
    const { response } = await client.next('response.done');
    const own = response as ReturnType<typeof shown>;
    expect(said.body).toEqual({
      object: 'list',
      event_ids: ['mine', expect.stringMatching(/^event_[0-9a-f]{32}$/)],
      response: {
        id: own.id,
        status: 'completed',
        text: own.output[0]?.content[0]?.text,
        output: [expect.objectContaining({ type: 'message', role: 'assistant' })],
      },
    });
    expect(said.body.response.text).not.toBe('');
    expect(said.headers.get('cache-control')).toBe('no-store');
  });

  it('gets the words of a spoken one, without its sound', async () => {
    const { relay, client, id } = await opened();
    const { body } = await waiting(relay, id, { type: 'response.create' });
    await client.next('response.done');
    expect(body.response.text).toBe(shown(client).output[0]?.content[0]?.transcript);
    expect(JSON.stringify(body)).not.toContain('"audio":');
  });

  it('gets that of the last one that it asks for, also beside the conversation', async () => {
    const { relay, client, id } = await opened();
    const { body } = await waiting(relay, id, { events: [answer, aside] });
    await client.next('response.done');
    expect(body.response).toMatchObject({ status: 'completed', text: expect.stringMatching(/./) });
    expect(body.response.id).not.toBe(shown(client).id);
    expect(client.types().filter((type) => type === 'response.done')).toHaveLength(1);
  });

  it('gets that of the one behind an answer that it ends', async () => {
    const { relay, client, id } = await opened({ speed: 1 });
    client.send({ type: 'response.create' });
    const begun = await client.next('response.created');
    const { body } = await waiting(relay, id, { events: [{ type: 'response.cancel' }, answer] });
    expect(body.response).toMatchObject({ status: 'completed' });
    expect(body.response.id).not.toBe((begun.response as { id: string }).id);
  });

  it('is told how it ended when the user interrupts it', async () => {
    const { relay, client, id } = await opened({ speed: 1 });
    const said = waiting(relay, id, { type: 'response.create' });
    await client.next('response.created');
    client.send({ type: 'response.cancel' });
    expect((await said).body.response).toMatchObject({ status: 'cancelled' });
  });

  it.each([
    ['asks for none', system('Be brief.'), false],
    ['asks in a way that upstream refuses', { type: 'response.create', response: { nonsense: 1 } }, true],
    [
      'asks so beside the conversation',
      { type: 'response.create', response: { conversation: 'none', nonsense: 1 } },
      true,
    ],
  ])('that %s is answered at once, as without waiting', async (_, event, isLogged) => {
    const { relay, id } = await opened();
    const said = await waiting(relay, id, event);
    expect([said.status, Object.keys(said.body)]).toEqual([202, ['object', 'event_ids']]);
    if (isLogged) expect(await relay.logged('control.event_failed')).toMatchObject({ code: 'unknown_parameter' });
  });

  it.each([
    ['of the conversation', answer],
    ['beside it', aside],
  ])('%s is answered when the session ends', async (_, event) => {
    const { emulator, relay, id } = await opened({ speed: 0.1 });
    const said = waiting(relay, id, event);
    await emulator.control.received.waitFor(() => emulator.control.received.events('response.create').length > 0);
    await ask(relay, id, null);
    expect((await said).status).toBe(202);
  });

  it('and asks again with the same key has the same answer', async () => {
    const { emulator, relay, id } = await opened();
    const headers = { 'idempotency-key': 'one' };
    const both = await Promise.all([1, 2].map(() => waiting(relay, id, answer, headers)));
    const later = await waiting(relay, id, answer, headers);
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect([both[1]?.body, later.body]).toEqual([both[0]?.body, both[0]?.body]);
    expect(both.filter((one) => one.headers.has('idempotency-replayed'))).toHaveLength(1);
    expect((await ask(relay, `${id}/events`, answer, headers)).status).toBe(202);
    expect(emulator.control.received.events('response.create')).toHaveLength(1);
  });

  it('in a call gets it, too', async () => {
    const { relay } = await opened();
    const { id } = await call(relay);
    await relay.logged('session.opened', 2);
    expect((await waiting(relay, id, answer)).body.response).toMatchObject({ status: 'completed' });
  });

  it('needs the right to read as well, and without it says nothing', async () => {
    const { emulator, relay, id } = await opened();
    const headers = { 'idempotency-key': 'one' };
    const count = emulator.control.received.events().length;
    const write = 'relay.sessions.write';
    const refused = { status: 403, body: { error: { code: 'forbidden' } } };
    expect(await ask(relay, `${id}/events?wait=response`, answer, headers, write)).toMatchObject(refused);
    expect(emulator.control.received.events()).toHaveLength(count);
    // What somebody may say is not theirs to read, also when they say it again.
    expect((await ask(relay, `${id}/events`, answer, headers, write)).status).toBe(202);
    expect(await ask(relay, `${id}/events?wait=response`, answer, headers, write)).toMatchObject(refused);
  });

  it.each(['wait=', 'wait=yes', 'wait=response&wait=response'])(
    '%s is not understood, and nothing is said',
    async (query) => {
      const { emulator, relay, id } = await opened();
      const count = emulator.control.received.events().length;
      const said = await ask(relay, `${id}/events?${query}`, answer);
      expect(said).toMatchObject({ status: 400, body: { error: { code: 'bad_event' } } });
      expect(emulator.control.received.events()).toHaveLength(count);
    },
  );
});

describe('answers beside the conversation', () => {
  it('rate_limited: are four at once, and another when one is over', async () => {
    const { emulator, relay, client, id } = await opened({ speed: 0.1 });
    const { received } = emulator.control;
    const refused = { status: 429, body: { error: { code: 'rate_limited', retryable: true } } };
    expect(await ask(relay, `${id}/events`, { events: Array.from({ length: 5 }, () => aside) })).toMatchObject(refused);
    expect((await ask(relay, `${id}/events`, { events: [aside, aside, aside] })).status).toBe(202);
    expect(await ask(relay, `${id}/events`, { events: [system('x'), aside, aside] })).toMatchObject(refused);
    expect(received.events('conversation.item.create')).toEqual([]);
    expect((await ask(relay, `${id}/events`, aside)).status).toBe(202);
    expect(await ask(relay, `${id}/events`, aside)).toMatchObject(refused);
    expect(received.events('response.create')).toHaveLength(4);
    // Who follows the session is told so, too.
    const sideband = await attach(relay, id);
    sideband.send({ ...aside, event_id: 'fifth' });
    expect((await sideband.next('error')).error).toMatchObject({ code: 'rate_limited', event_id: 'fifth' });
    expect(received.events('response.create')).toHaveLength(4);
    // The conversation itself is nobody's business there.
    client.send(answer);
    await client.next('response.created');
    expect(client.types()).not.toContain('error');
  });

  it('make room when they are over, or refused', async () => {
    const { relay, id } = await opened();
    for (let i = 0; i < 6; i++) expect((await waiting(relay, id, aside)).status).toBe(200);
    const wrong = { type: 'response.create', response: { conversation: 'none', nonsense: 1 } };
    for (let i = 0; i < 6; i++) expect((await waiting(relay, id, wrong)).status).toBe(202);
    expect((await waiting(relay, id, aside)).status).toBe(200);
  });
});

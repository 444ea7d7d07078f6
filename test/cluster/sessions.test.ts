import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, refused, type TestClient } from '../support/client.js';
import { type Running, relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';

type Served = Running & { url: string; ops: string };

const sign = (subject: string, claims: Record<string, unknown> = {}) =>
  signToken({ ...jwt, subject, ttlSeconds: 600, claims });
const backend = sign('backend', { scope: 'relay.sessions.read relay.sessions.write' });

async function talking({ url }: Served, subject: string) {
  const client = await connect(`${url.replace('http', 'ws')}/openai/v1/realtime?model=x`, {
    headers: { authorization: `Bearer ${sign(subject, { tenant: 'acme' })}` },
  });
  const { session } = await client.next('session.created');
  return { client, id: (session as { id: string }).id };
}

/** Asks on a connection of its own: connections are dealt out in turn, so that each worker is asked. */
async function ask({ url }: Served, below = '', method = 'GET', token = backend) {
  const headers = { authorization: `Bearer ${token}`, connection: 'close' };
  const answer = await fetch(`${url}/v1/relay/sessions${below}`, { method, headers });
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from one request to the next
  return { status: answer.status, body: (await answer.json()) as any };
}

async function say({ url }: Served, id: string) {
  const headers = { authorization: `Bearer ${backend}`, connection: 'close', 'idempotency-key': 'one' };
  const content = [{ type: 'input_text', text: 'Be brief.' }];
  const body = JSON.stringify({
    type: 'conversation.item.create',
    item: { type: 'message', role: 'system', content },
  });
  const answer = await fetch(`${url}/v1/relay/sessions/${id}/events`, { method: 'POST', headers, body });
  return { status: answer.status, isReplayed: answer.headers.has('idempotency-replayed') };
}

/** The answer that a backend has waited for. */
async function answered({ url }: Served, id: string) {
  const headers = { authorization: `Bearer ${backend}`, connection: 'close' };
  const body = JSON.stringify({ type: 'response.create', response: { conversation: 'none' } });
  const answer = await fetch(`${url}/v1/relay/sessions/${id}/events?wait=response`, { method: 'POST', headers, body });
  return ((await answer.json()) as { response: unknown }).response;
}

/** Takes over, or gives back; says whether it is taken over then. */
async function takeOver({ url }: Served, id: string, on: boolean) {
  const headers = { authorization: `Bearer ${backend}`, connection: 'close' };
  const body = JSON.stringify({ on });
  const answer = await fetch(`${url}/v1/relay/sessions/${id}/takeover`, { method: 'POST', headers, body });
  return ((await answer.json()) as { taken_over: unknown }).taken_over;
}

function logged(relay: Served, message: string): Record<string, unknown>[] {
  return relay.lines.filter((line) => line.includes(`"${message}"`)).map((line) => JSON.parse(line));
}

describe('the live sessions of a relay of two workers', { timeout: 30_000 }, () => {
  it('are listed, shown and ended by whichever worker is asked', async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }));
    const sessions = [];
    for (const subject of ['a', 'b', 'c', 'd']) sessions.unshift(await talking(relay, subject));
    const ids = sessions.map(({ id }) => id);
    expect(new Set(logged(relay, 'session.opened').map(({ worker }) => worker))).toEqual(new Set([1, 2]));
    const lists = await Promise.all([ask(relay), ask(relay), ask(relay)]);
    for (const { status, body } of lists) {
      expect([status, body.data.map(({ id }: { id: string }) => id)]).toEqual([200, ids]);
      expect(new Set(body.data.map(({ replica }: { replica: string }) => replica)).size).toBe(1);
    }
    const page = await ask(relay, '?limit=3');
    expect([page.body.data.length, page.body.has_more, page.body.last_id]).toEqual([3, true, ids[2]]);
    for (const id of ids) expect(await ask(relay, `/${id}`)).toMatchObject({ status: 200, body: { id } });
    const globex = sign('backend', { scope: 'relay.sessions.read', tenant: 'globex' });
    for (const id of ids) expect((await ask(relay, `/${id}`, 'GET', globex)).status).toBe(404);
    // Whichever worker a repeat reaches, it is the one that has the session which knows the key.
    for (const { id } of sessions) {
      const answers = await Promise.all(Array.from({ length: 4 }, () => say(relay, id)));
      answers.push(await say(relay, id), await say(relay, id));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
      expect(answers.filter(({ isReplayed }) => !isReplayed)).toHaveLength(1);
    }
    for (const { id } of sessions) expect(await answered(relay, id)).toMatchObject({ status: 'completed' });
    for (const on of [true, false]) {
      for (const { id } of sessions) expect(await takeOver(relay, id, on)).toBe(on);
      for (const { id } of sessions) expect((await ask(relay, `/${id}`)).body.taken_over).toBe(on);
    }
    for (const { client } of sessions) expect((await client.ask('Hi')).status).toBe('completed');
    const items = emulator.control.received.events('conversation.item.create');
    expect(items.filter(({ body }) => JSON.stringify(body).includes('Be brief.'))).toHaveLength(sessions.length);
    for (const { id, client } of sessions) {
      expect(await ask(relay, `/${id}`, 'DELETE')).toMatchObject({ status: 200, body: { id, ended: true } });
      expect(await client.closed).toEqual({ code: 1008, reason: 'ended_by_backend' });
      expect((await ask(relay, `/${id}`, 'DELETE')).status).toBe(404);
    }
    expect((await ask(relay)).body.data).toEqual([]);
  });

  it('are not found by what is no id, however long it is, by whichever worker is asked', async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }));
    await talking(relay, 'alice');
    for (const id of [`sess_${'0'.repeat(2000)}`, `call_${'0'.repeat(2000)}`, '%00'.repeat(300)]) {
      for (let worker = 0; worker < 2; worker++) {
        for (const method of ['GET', 'DELETE']) {
          const { status, body } = await ask(relay, `/${id}`, method);
          expect([status, body.error.code]).toEqual([404, 'not_found']);
        }
        expect((await say(relay, id)).status).toBe(404);
        expect((await takeOver(relay, id, true)) ?? null).toBeNull();
        const address = `${relay.url.replace('http', 'ws')}/v1/realtime?call_id=sess_${id}`;
        expect((await refused(address, { headers: { authorization: `Bearer ${backend}` } })).status).toBe(404);
        const hangup = `${relay.url}/v1/realtime/calls/${id}/hangup`;
        const headers = { authorization: `Bearer ${sign('alice')}`, connection: 'close' };
        expect((await fetch(hangup, { method: 'POST', headers })).status).toBe(404);
      }
    }
    expect(logged(relay, 'worker.misunderstood')).toEqual([]);
    expect(logged(relay, 'control.request').filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  });

  it('are not said to be none while a worker does not answer', async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }));
    const { id } = await talking(relay, 'alice');
    await relay.line(() => logged(relay, 'session.opened').length === 1);
    const [{ worker } = {}] = logged(relay, 'session.opened');
    const { pid } = logged(relay, 'worker.started').find((line) => line.worker === worker) ?? {};
    process.kill(Number(pid), 'SIGSTOP');
    const { status, body } = await ask(relay).finally(() => process.kill(Number(pid), 'SIGCONT'));
    expect([status, body.error.code, body.error.retryable]).toEqual([503, 'overloaded', true]);
    expect((await ask(relay, `/${id}`)).status).toBe(200);
  });

  it('are followed from any worker, and a follower whose session’s worker dies is told to come back', async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }));
    const { client, id } = await talking(relay, 'alice');
    const attach = () =>
      connect(`${relay.url.replace('http', 'ws')}/v1/realtime?call_id=${id}`, {
        headers: { authorization: `Bearer ${backend}` },
      });
    const sidebands = [await attach(), await attach()];
    for (const sideband of sidebands) await sideband.next('session.created');
    const [near, far] = sidebands as [TestClient, TestClient];
    for (const sideband of sidebands) {
      sideband.send({ type: 'response.create', response: { output_modalities: ['text'] } });
      await Promise.all([near.next('response.done'), far.next('response.done'), client.next('response.done')]);
    }
    expect(far.types()).toEqual(near.types());
    expect((await ask(relay, `/${id}`)).body).toMatchObject({ sidebands: 2 });
    await relay.line(() => logged(relay, 'control.request').filter(({ verb }) => verb === 'sideband').length === 2);
    const [{ worker } = {}] = logged(relay, 'session.opened');
    const workers = logged(relay, 'control.request').flatMap((line) => (line.verb === 'sideband' ? [line.worker] : []));
    expect(new Set(workers)).toEqual(new Set([1, 2]));
    const { pid } = logged(relay, 'worker.started').find((line) => line.worker === worker) ?? {};
    process.kill(Number(pid), 'SIGKILL');
    const ends = (await Promise.all(sidebands.map(({ closed }) => closed))).map(({ code }) => code);
    expect(ends.sort()).toEqual([1006, 1012]);
    await relay.line(() => logged(relay, 'control.detached').length === 1);
    expect(logged(relay, 'control.detached')).toMatchObject([{ by: 'backend', session: id, audit: true }]);
  });
});

import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { hasRedis, keysOf, startRedis } from '../support/redis.js';
import type { TestRelay } from '../support/relay.js';
import { startReplicas } from '../support/replicas.js';
import { backend, talking } from '../support/sideband.js';
import { call } from '../webrtc/caller.js';

const redis = hasRedis ? await startRedis() : null;
const none = 'sess_00000000000000000000000000000000';

interface Asked {
  readonly method?: string;
  readonly body?: unknown;
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

/** Asks a replica about sessions, as a backend. */
async function ask(relay: TestRelay, below = '', { method = 'GET', body, token, headers }: Asked = {}) {
  const answer = await fetch(`${relay.relay.url}/v1/relay/sessions${below}`, {
    method,
    headers: { authorization: `Bearer ${token ?? backend(relay)}`, ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from one request to the next
  const told = (await answer.json()) as any;
  return { status: answer.status, replayed: answer.headers.has('idempotency-replayed'), body: told };
}

const brief = {
  type: 'conversation.item.create',
  item: { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Be brief.' }] },
};

describe.skipIf(!redis)('the live sessions of several replicas', () => {
  const server = redis as NonNullable<typeof redis>;

  it('are listed together, the newest first and page by page, and are shown by any of them', async () => {
    const { relays } = await startReplicas(server, { count: 3 });
    const ids: string[] = [];
    for (const subject of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const relay = relays[ids.length % relays.length] as TestRelay;
      ids.unshift((await talking(relay, { subject, tenant: 'acme' })).id);
    }
    for (const relay of relays) {
      const { status, body } = await ask(relay);
      expect([status, body.data.map(({ id }: { id: string }) => id)]).toEqual([200, ids]);
      expect(new Set(body.data.map(({ replica }: { replica: string }) => replica)).size).toBe(3);
      const page = (await ask(relay, '?limit=4')).body;
      expect([page.data.length, page.has_more, page.last_id]).toEqual([4, true, ids[3]]);
      const rest = (await ask(relay, `?limit=4&after=${page.last_id}`)).body;
      expect([rest.data.map(({ id }: { id: string }) => id), rest.has_more]).toEqual([ids.slice(4), false]);
      expect((await ask(relay, '?subject=b')).body.data).toMatchObject([{ id: ids[4], subject: 'b' }]);
    }
    for (const id of ids) {
      for (const relay of relays) expect(await ask(relay, `/${id}`)).toMatchObject({ status: 200, body: { id } });
    }
  });

  it('are ended by any of them, once', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { client, id } = await talking(a);
    expect(await ask(b, `/${id}`, { method: 'DELETE' })).toMatchObject({ status: 200, body: { id, ended: true } });
    expect(await client.closed).toEqual({ code: 1008, reason: 'ended_by_backend' });
    for (const relay of relays) expect((await ask(relay, `/${id}`, { method: 'DELETE' })).status).toBe(404);
  });

  it('that are of another tenant are, wherever they are asked of, as those that there are not', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { id } = await talking(a, { tenant: 'acme' });
    const token = backend(b, undefined, { tenant: 'globex' });
    const about = async (one: string) => [
      await ask(b, `/${one}`, { token }),
      await ask(b, `/${one}`, { token, method: 'DELETE' }),
      await ask(b, `/${one}/events`, { token, method: 'POST', body: brief }),
    ];
    const [foreign, unknown] = [await about(id), await about(none)];
    const told = foreign.map(({ status, body }) => [status, body.error.code, body.error.message]);
    expect(told).toEqual(unknown.map(({ status, body }) => [status, body.error.code, body.error.message]));
    expect(foreign.map(({ status }) => status)).toEqual([404, 404, 404]);
    expect((await ask(b, '', { token })).body.data).toEqual([]);
    expect((await ask(b, `/${id}`, { token: backend(b, undefined, { tenant: 'acme' }) })).status).toBe(200);
  });

  it('are spoken in by any of them, once for each key, whichever of them a repeat reaches', async () => {
    const { relays, emulator } = await startReplicas(server, { count: 3 });
    const { id, client } = await talking(relays[0]);
    const answers = [];
    for (const relay of [relays[1], relays[2] as TestRelay, relays[0], relays[1]]) {
      answers.push(
        await ask(relay, `/${id}/events`, { method: 'POST', body: brief, headers: { 'idempotency-key': 'one' } }),
      );
    }
    expect(answers.map(({ status, replayed }) => [status, replayed])).toEqual([
      [202, false],
      [202, true],
      [202, true],
      [202, true],
    ]);
    expect((await client.ask('Hi')).status).toBe('completed');
    const items = emulator.control.received.events('conversation.item.create');
    expect(items.filter(({ body }) => JSON.stringify(body).includes('Be brief.'))).toHaveLength(1);
    const body = { type: 'response.create', response: { conversation: 'none' } };
    const { body: waited } = await ask(relays[1], `/${id}/events?wait=response`, { method: 'POST', body });
    expect(waited.response).toMatchObject({ status: 'completed' });
    const { status, body: refused } = await ask(relays[1], `/${id}/events`, {
      method: 'POST',
      body: { type: 'nonsense' },
    });
    expect([status, refused.error.param]).toEqual([400, 'type']);
  });

  it('answer who waits at another one for as long as they may wait', async () => {
    const { relays } = await startReplicas(server, { speed: 2 });
    const [a, b] = relays;
    const { id } = await talking(a);
    const item = {
      type: 'message',
      role: 'user',
      content: [{ type: 'input_text', text: 'Tell me a little more, please.' }],
    };
    const events = [
      { type: 'conversation.item.create', item },
      { type: 'response.create', response: {} },
    ];
    const before = performance.now();
    const { status, body: waited } = await ask(b, `/${id}/events?wait=response`, { method: 'POST', body: { events } });
    expect([status, waited.response?.status]).toEqual([200, 'completed']);
    expect(performance.now() - before).toBeGreaterThan(1100);
  });

  it('are taken over and given back at any of them, by one holder for all', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { id } = await talking(a);
    const take = (relay: TestRelay, on: boolean, subject = 'backend') => {
      const token = relay.token({ subject, claims: { scope: 'relay.sessions.read relay.sessions.write' } });
      return ask(relay, `/${id}/takeover`, { method: 'POST', body: { on }, token });
    };
    expect(await take(b, true)).toMatchObject({ status: 200, body: { taken_over: true } });
    expect((await ask(b, `/${id}`)).body).toMatchObject({ taken_over: true });
    expect(await take(a, true, 'another')).toMatchObject({ status: 409, body: { error: { code: 'taken_over' } } });
    expect(await take(a, false)).toMatchObject({ status: 200, body: { taken_over: false } });
  });

  it('have no name in what the replicas say to each other, and nothing said there is kept', async () => {
    const { relays, prefix } = await startReplicas(server);
    const { id } = await talking(relays[0], { subject: 'alice-the-user', tenant: 'acme-the-tenant' });
    const watch = connect(server.port, '127.0.0.1');
    let all = '';
    watch.on('data', (chunk) => {
      all += chunk;
    });
    watch.write('MONITOR\r\n');
    await once(watch, 'data');
    expect((await ask(relays[1], `/${id}/events`, { method: 'POST', body: brief })).status).toBe(202);
    expect((await ask(relays[1])).body.data).toMatchObject([{ subject: 'alice-the-user' }]);
    expect((await ask(relays[1], `/${id}`, { method: 'DELETE' })).status).toBe(200);
    watch.destroy();
    expect(all).toContain('{rev}:c');
    for (const name of ['alice', 'acme', 'backend', 'Be brief', 'issuer.test']) expect(all).not.toContain(name);
    const inboxes = (await keysOf(server, prefix)).filter((key) => key.includes('{rev}:c:'));
    for (const inbox of inboxes) await expect.poll(() => server.command('XLEN', inbox)).toBe(0);
  });

  it('are not said to be none while a replica does not answer, nor while Redis is away', async () => {
    const { relays, prefix } = await startReplicas(server);
    const [a, b] = relays;
    const { id } = await talking(a);
    await server.command('ZADD', `${prefix}{rev}:r`, String(Date.now() + 15_000), 'one-that-was-killed');
    for (const [below, method] of [
      ['', 'GET'],
      [`/${none}`, 'GET'],
      [`/${none}`, 'DELETE'],
    ] as const) {
      expect(await ask(b, below, { method })).toMatchObject({
        status: 503,
        body: { error: { code: 'store_unavailable' } },
      });
    }
    expect((await ask(b, `/${id}`)).status).toBe(200);
    const headers = { authorization: `Bearer ${b.token()}` };
    const hangUp = `${b.relay.url}/v1/realtime/calls/${none.replace('sess', 'call')}/hangup`;
    expect((await fetch(hangUp, { method: 'POST', headers })).status).toBe(503);
    await server.command('ZREM', `${prefix}{rev}:r`, 'one-that-was-killed');
    expect((await ask(b, `/${none}`)).status).toBe(404);
    server.pause();
    try {
      expect(await ask(b)).toMatchObject({
        status: 503,
        body: { error: { code: 'store_unavailable', retryable: true } },
      });
      expect((await ask(b, `/${id}`)).status).toBe(503);
      expect((await ask(a, `/${id}`)).status).toBe(200);
      expect((await ask(a, `/${none}`)).status).toBe(503);
    } finally {
      server.resume();
    }
    await expect.poll(async () => (await ask(b, `/${id}`)).status, { timeout: 5000 }).toBe(200);
  });

  it('are only shown and ended over others where only Redis has the key', async () => {
    const { relays } = await startReplicas(server, { env: { RELAY_REDIS_KEY: '' } });
    const [a, b] = relays;
    const { id } = await talking(a);
    expect((await ask(b)).body.data).toMatchObject([{ id }]);
    expect((await ask(b, `/${id}`)).status).toBe(200);
    const say = { method: 'POST', body: brief };
    const refused = await ask(b, `/${id}/events`, say);
    expect([refused.status, refused.body.error.code]).toEqual([503, 'store_unavailable']);
    expect(refused.body.error.message).toContain('RELAY_REDIS_KEY');
    expect((await ask(b, `/${none}/events`, say)).status).toBe(404);
    expect((await ask(a, `/${id}/events`, say)).status).toBe(202);
    expect((await ask(b, `/${id}`, { method: 'DELETE' })).status).toBe(200);
  });

  it('that are calls are hung up for their owner by any of them', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { id } = await call(a);
    const hangUp = async (subject: string) => {
      const headers = { authorization: `Bearer ${b.token({ subject })}` };
      return (await fetch(`${b.relay.url}/v1/realtime/calls/${id}/hangup`, { method: 'POST', headers })).status;
    };
    expect(await hangUp('mallory')).toBe(404);
    expect(await hangUp('alice')).toBe(200);
    await a.logged('session.ended');
    expect(await hangUp('alice')).toBe(404);
  });
});

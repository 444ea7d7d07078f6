import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, type TestClient } from '../support/client.js';
import { relayEnv, serve } from '../support/process.js';
import { hasRedis, startRedis } from '../support/redis.js';
import { jwt, startTestEmulator } from '../support/relay.js';
import { startReplicas } from '../support/replicas.js';
import { attach, backend, following, read, talking } from '../support/sideband.js';
import { startUpstream } from '../support/upstream.js';

const redis = hasRedis ? await startRedis() : null;

/** Not on the fast path. */
const piece = `${'x'.repeat(100_000)}\u00e9`;

/** What stands in an event, without what each sideband is told for itself. */
const shown = ({ event_id: _, ...event }: Record<string, unknown>) => event;

describe.skipIf(!redis)('a session that is followed at another replica', () => {
  const server = redis as NonNullable<typeof redis>;

  it('is seen there as it is where it is: the same events, in order, with sound where that is asked for', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { client, id } = await talking(a);
    const query = '?audio=on&client_events=on';
    const near = await following(a, id, { query });
    const far = await following(b, id, { query });
    client.send({ type: 'response.create' });
    await Promise.all([client, near, far].map((one) => one.next('response.done')));
    for (const text of ['One', 'Two', 'Three']) {
      expect((await client.ask(text)).status).toBe('completed');
      await Promise.all([near, far].map((one) => one.next('response.done')));
    }
    expect(far.types()).toContain('response.output_audio.delta');
    expect(far.types()).toContain('relay.client_event');
    expect(far.events.map(shown)).toEqual(near.events.map(shown));
    const quiet = await following(b, id);
    await client.ask('Four');
    await quiet.next('response.done');
    expect(quiet.types()).not.toContain('response.output_audio.delta');
    const { sidebands } = await described(b.relay.url, id, backend(b));
    expect(sidebands).toBe(3);
  });

  it('is spoken in from there, hears how its session ended, and lets its places go', async () => {
    const { relays } = await startReplicas(server, { yaml: 'limits: {sidebands_per_session: 1}' });
    const [a, b] = relays;
    const { client, id } = await talking(a);
    const far = await following(b, id);
    await expect(attach(b, id)).rejects.toThrow('429');
    far.send({ type: 'response.create', event_id: 'mine', response: { instructions: 'Greet.' } });
    expect((await client.next('response.done')).type).toBe('response.done');
    far.send({ type: 'nonsense', event_id: 'other' });
    expect(await far.next('error')).toMatchObject({ error: { event_id: 'other' } });
    far.ws.close();
    await a.logged('control.detached');
    const again = await following(b, id);
    client.ws.close();
    expect(await again.next('relay.session_ended')).toMatchObject({ reason: 'normal' });
    expect(await again.closed).toEqual({ code: 1000, reason: 'normal' });
    await expect(attach(b, id)).rejects.toThrow('404');
    const observer = await following(b, (await talking(a)).id, { scope: read });
    observer.send({ type: 'response.create' });
    expect(await observer.next('error')).toMatchObject({ error: { code: 'forbidden' } });
  });

  it('that is foreign is followed as little as one that there is not', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { id } = await talking(a, { tenant: 'acme' });
    await expect(attach(b, id, { token: backend(b, read, { tenant: 'globex' }) })).rejects.toThrow('404');
    await following(b, id, { token: backend(b, read, { tenant: 'acme' }) });
  });

  it('tells who does not read how much is missing, and where, and goes on for all others', async () => {
    const upstream = await startUpstream();
    const { relays } = await startReplicas(server, { upstream: upstream.url });
    const [a, b] = relays;
    const { client, id } = await talking(a);
    const { ws } = await upstream.connected();
    const [slow, quick] = [await following(b, id), await following(b, id)];
    slow.ws.pause();
    const send = async (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        ws.send(JSON.stringify({ type: 'response.output_text.delta', event_id: `event_${n}`, delta: piece }));
        await quick.next('response.output_text.delta');
      }
    };
    await send(0, 120);
    slow.ws.resume();
    const { dropped } = await slow.next('relay.gap');
    await send(120, 121);
    await slow.next(({ event_id }) => event_id === 'event_120');
    const ids = ({ events }: TestClient) =>
      events.flatMap(({ type, event_id }) => (/delta/.test(type) ? event_id : []));
    expect([ids(quick).length, quick.types().includes('relay.gap')]).toEqual([121, false]);
    expect(dropped).toBeGreaterThan(10);
    expect(ids(slow)).toHaveLength(121 - Number(dropped));
    expect(client.ws.readyState).toBe(client.ws.OPEN);
  });

  it('is followed until Redis is away, goes on, and can be followed again when it is back', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { client, id } = await talking(a);
    const far = await following(b, id);
    const near = await following(a, id);
    server.pause();
    try {
      await client.ask('Are you there?');
      expect(await far.closed).toMatchObject({ code: 1012 });
      await expect(attach(b, id)).rejects.toThrow('503');
      expect(near.ws.readyState).toBe(near.ws.OPEN);
    } finally {
      server.resume();
    }
    await b.logged('store.back');
    await a.logged('store.back');
    await expect.poll(async () => (await described(a.relay.url, id, backend(a))).sidebands, { timeout: 8000 }).toBe(1);
    const again = await following(b, id);
    await client.ask('And now?');
    await again.next('response.done');
  }, 20_000);

  it('can be followed from any worker of any replica, and is over for its followers when its replica is killed', async () => {
    const emulator = await startTestEmulator();
    const key = Buffer.alloc(32, 7).toString('base64');
    const env = relayEnv(emulator.url, {
      ...{ RELAY_REDIS_URL: server.url, RELAY_REDIS_PREFIX: `killed-${process.pid}:`, RELAY_REDIS_KEY: key },
      RELAY_WORKERS: '2',
    });
    const [a, b] = [await serve(env), await serve(env)];
    const sign = (subject: string, scope = '') => signToken({ ...jwt, subject, ttlSeconds: 600, claims: { scope } });
    const token = sign('backend', `${read} relay.sessions.write`);
    const open = (url: string, path: string, bearer: string) =>
      connect(`${url.replace('http', 'ws')}${path}`, { headers: { authorization: `Bearer ${bearer}` } });
    const talk = async (url: string) => {
      const client = await open(url, '/v1/realtime?model=x', sign('alice'));
      const { session } = await client.next('session.created');
      return { client, id: (session as { id: string }).id };
    };
    const here = [await talk(a.url), await talk(a.url)];
    const sidebands = [];
    for (const { id } of here) {
      for (let i = 0; i < 2; i++) sidebands.push(await open(b.url, `/v1/relay/sessions/${id}/sideband`, token));
    }
    await Promise.all(sidebands.map((one) => one.next('session.created')));
    for (const { client } of here) await client.ask('Hello');
    await Promise.all(sidebands.map((one) => one.next('response.done')));
    const list = await fetch(`${b.url}/v1/relay/sessions`, { headers: { authorization: `Bearer ${token}` } });
    expect(((await list.json()) as { data: unknown[] }).data).toHaveLength(2);
    const id = here[0]?.id;
    const inspected = async () =>
      (await fetch(`${b.url}/v1/relay/sessions/${id}`, { headers: { authorization: `Bearer ${token}` } })).status;
    a.child.kill('SIGKILL');
    expect(await inspected()).toBe(503);
    const ends = await Promise.all(
      sidebands.map(async (one) => [await one.next('relay.session_ended'), await one.closed]),
    );
    for (const [event, end] of ends) {
      expect(event).toMatchObject({ reason: 'internal' });
      expect(end).toEqual({ code: 1011, reason: 'internal' });
    }
    expect(await inspected()).toBe(404);
  }, 40_000);
});

async function described(url: string, id: string, token: string): Promise<{ sidebands: number }> {
  const answer = await fetch(`${url}/v1/relay/sessions/${id}`, { headers: { authorization: `Bearer ${token}` } });
  return (await answer.json()) as { sidebands: number };
}

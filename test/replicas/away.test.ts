import { afterEach, describe, expect, it } from 'vitest';
import { hasRedis, keysOf, startRedis } from '../support/redis.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { mint, refusal, soon, startReplicas, withdraw } from '../support/replicas.js';

const redis = hasRedis ? await startRedis() : null;

describe.skipIf(!redis)('while Redis is away', () => {
  const server = redis as NonNullable<typeof redis>;
  afterEach(() => server.resume());

  const unavailable = { status: 503, code: 'store_unavailable' };
  const isBack = (relay: TestRelay, count = 1) => relay.logged('store.back', count);

  it('a replica lets in by its own count, and running sessions do not notice', async () => {
    const { relays, prefix } = await startReplicas(server, {
      yaml: 'profiles: {default: {limits: {sessions_per_user: 2, sessions_per_day: 30, minutes_per_day: 9}}}',
    });
    const [a, b] = relays;
    const client = await a.connect();
    await client.next('session.created');
    server.pause();
    await (await a.connect()).next('session.created');
    expect(await refusal(a)).toMatchObject({ status: 429, code: 'rate_limited' });
    expect(await a.logged('store.away')).toMatchObject({ level: 'warn', call: 'enter' });
    // Nobody waits for what is known to be away.
    const before = performance.now();
    await (await a.connect({ token: a.token({ subject: 'bob' }) })).next('session.created');
    expect(performance.now() - before).toBeLessThan(240);
    expect(await a.metric('relay_store_up')).toBe(0);
    client.ws.send(JSON.stringify({ type: 'response.create' }));
    await client.next('response.done');
    server.resume();
    expect(await isBack(a)).toMatchObject({ level: 'info', sessions: 3 });
    expect(await a.metric('relay_store_up')).toBe(1);
    expect(await a.metric('relay_store_away_seconds_total')).toBeGreaterThan(0);
    expect(a.log.filter(({ msg }) => msg === 'store.away')).toHaveLength(1);
    // What was let in meanwhile has its place, and was charged.
    const counters = async () => {
      const keys = await keysOf(server, prefix);
      const used = keys.filter((key) => key.includes(':b:sessions_per_day:user:'));
      return (await Promise.all(used.map((key) => server.command('GET', key)))).sort();
    };
    await expect.poll(counters).toEqual(['1', '2']);
    await expect.poll(async () => (await refusal(b)).code).toBe('rate_limited');
    client.ws.close();
    await (await soon(b)).next('session.created');
    await expect.poll(async () => (await refusal(b)).code).toBe('rate_limited');
    expect(client.events.filter(({ type }) => /error|^relay\./.test(type))).toEqual([]);
  });

  it('secrets are refused and stay good, and none is made', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { value } = await mint(a);
    server.pause();
    const { headers, error, ...told } = await refusal(b, value);
    expect(told).toMatchObject(unavailable);
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(2);
    expect(error).toMatchObject({ retryable: true, retry_after_ms: expect.any(Number) });
    expect(await refusal(b, `ek_rly_${'x'.repeat(43)}`)).toMatchObject(unavailable);
    expect(await mint(b)).toMatchObject({ status: 503 });
    server.resume();
    await isBack(b);
    await (await b.connect({ token: value })).next('session.created');
    expect(await refusal(b, value)).toMatchObject({ status: 401 });
  });

  it('a withdrawal holds on the replica that got it, and on all once Redis is back', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const token = a.token();
    const [here, there] = [await a.connect({ token }), await b.connect({ token })];
    await Promise.all([here.next('session.created'), there.next('session.created')]);
    server.pause();
    const { status, error } = await withdraw(a, { sub: 'alice' });
    expect([status, error?.code, error?.message]).toEqual([
      503,
      'store_unavailable',
      expect.stringContaining('this replica only'),
    ]);
    expect((await here.closed).reason).toBe('revoked');
    expect(await refusal(a, token)).toMatchObject({ status: 401, code: 'revoked' });
    expect(there.ws.readyState).toBe(there.ws.OPEN);
    server.resume();
    expect((await there.closed).reason).toBe('revoked');
    expect(await refusal(b, token)).toMatchObject({ status: 401, code: 'revoked' });
  });

  it('nobody new is let in where the operator says so, and /readyz too says what was asked for', async () => {
    const yaml = (rules: string) => `redis: {${rules}}\nlimits: {readiness: 'off'}\n`;
    const { relays } = await startReplicas(server, { count: 1, yaml: yaml('when_lost: refuse, ready: require') });
    const [a] = relays;
    const client = await a.connect();
    await client.next('session.created');
    expect(await a.relay.health.ready()).toMatchObject({ ready: true });
    server.pause();
    expect(await refusal(a)).toMatchObject(unavailable);
    expect(await a.relay.health.ready()).toEqual({ ready: false, detail: 'redis' });
    expect(await a.metric('relay_ready')).toBe(0);
    client.ws.send(JSON.stringify({ type: 'response.create' }));
    await client.next('response.done');
    a.rewrite(yaml('when_lost: local'));
    a.relay.reload();
    await a.logged('config.reloaded');
    await (await a.connect()).next('session.created');
    expect(await a.relay.health.ready()).toMatchObject({ ready: true });
  });

  it.each([
    ['out of memory', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
    ['a replica that is read only', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ])('because it is %s, although it answers, all is the same', async (_, spoil, mend) => {
    const { relays } = await startReplicas(server, { count: 1 });
    const [a] = relays;
    const { value } = await mint(a);
    const client = await a.connect();
    await client.next('session.created');
    await server.command(...spoil);
    try {
      expect(await mint(a)).toMatchObject({ status: 503 });
      await a.logged('store.away');
      await (await a.connect({ token: a.token({ subject: 'bob' }) })).next('session.created');
      expect(await refusal(a, value)).toMatchObject(unavailable);
    } finally {
      await server.command(...mend);
    }
    await isBack(a);
    await (await a.connect({ token: value })).next('session.created');
    expect(client.ws.readyState).toBe(client.ws.OPEN);
  });

  it('and comes back with nothing in it, places and budgets are told anew', async () => {
    const { relays } = await startReplicas(server, {
      yaml: 'profiles: {default: {limits: {sessions_per_user: 1, sessions_per_day: 2}}}',
    });
    const [a, b] = relays;
    const client = await a.connect();
    await client.next('session.created');
    await server.kill();
    await server.start();
    await Promise.all([isBack(a), isBack(b)]);
    expect([a, b].filter(({ log }) => log.some(({ msg }) => msg === 'store.emptied')).length).toBeGreaterThan(0);
    await expect.poll(async () => (await refusal(b)).code).toBe('rate_limited');
    client.ws.close();
    await (await soon(b)).next('session.created');
    // The second of two today, although Redis had forgotten the first.
    expect(await refusal(a, a.token())).toMatchObject({ code: 'rate_limited' });
    expect(await b.metric('relay_sessions_over_limit')).toBe(0);
  });

  it('a relay starts all the same, and is one with the others once it is there', async () => {
    const emulator = await startTestEmulator();
    await server.kill();
    const before = performance.now();
    const relay = await startTestRelay({
      upstream: emulator.url,
      env: { RELAY_REDIS_URL: server.url, RELAY_REDIS_PREFIX: 'late:' },
    });
    expect(performance.now() - before).toBeLessThan(6500);
    expect(await relay.logged('store.away')).toMatchObject({
      level: 'error',
      at_start: true,
      error: { message: expect.stringContaining('ECONNREFUSED') },
    });
    await (await relay.connect()).next('session.created');
    expect(await mint(relay)).toMatchObject({ status: 503 });
    await server.start();
    await isBack(relay);
    expect(await mint(relay)).toMatchObject({ status: 200 });
  });
});

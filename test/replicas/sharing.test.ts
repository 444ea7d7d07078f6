import { describe, expect, it } from 'vitest';
import { hasRedis, keysOf, startRedis } from '../support/redis.js';
import { mint, refusal, soon, startReplicas } from '../support/replicas.js';

const redis = hasRedis ? await startRedis() : null;

describe.skipIf(!redis)('several replicas', () => {
  const server = redis as NonNullable<typeof redis>;

  it('have the places of a user together', async () => {
    const { relays } = await startReplicas(server, { yaml: 'profiles: {default: {limits: {sessions_per_user: 1}}}' });
    const [a, b] = relays;
    const client = await a.connect();
    await client.next('session.created');
    expect(await refusal(b)).toMatchObject({ status: 429, code: 'rate_limited' });
    await (await b.connect({ token: b.token({ subject: 'bob' }) })).next('session.created');
    client.ws.close();
    await (await soon(b)).next('session.created');
    expect(await refusal(a)).toMatchObject({ status: 429, code: 'rate_limited' });
  });

  it('have the budgets of a user and a tenant together', async () => {
    const { relays } = await startReplicas(server, {
      yaml: 'profiles: {default: {limits: {sessions_per_day: 2, tenant: {sessions_per_day: 3}}}}',
    });
    const [a, b] = relays;
    const token = (subject: string) => a.token({ subject, tenant: 'acme' });
    for (const relay of relays) {
      const client = await relay.connect({ token: token('alice') });
      await client.next('session.created');
      client.ws.close();
      await relay.logged('session.ended');
    }
    expect(await refusal(a, token('alice'))).toMatchObject({ status: 429, code: 'quota_exceeded' });
    await (await a.connect({ token: token('bob') })).next('session.created');
    const { code, error } = await refusal(b, token('carol'));
    expect([code, error.message]).toEqual(['quota_exceeded', expect.stringContaining("the tenant's")]);
  });

  it('take a client secret once, wherever it was made', async () => {
    const { relays } = await startReplicas(server);
    const [a, b] = relays;
    const { value } = await mint(a);
    await (await b.connect({ token: value })).next('session.created');
    for (const relay of relays)
      expect(await refusal(relay, value)).toMatchObject({ status: 401, code: 'unauthorized' });
  });

  it('know how many secrets of a user are unused', async () => {
    const { relays } = await startReplicas(server, { yaml: 'profiles: {default: {limits: {client_secrets: 1}}}' });
    const [a, b] = relays;
    const { value } = await mint(a);
    expect((await mint(b)).status).toBe(429);
    await (await b.connect({ token: value })).next('session.created');
    await expect.poll(async () => (await mint(b)).status).toBe(200);
  });

  it('do not let who writes to Redis be anybody, and show no name there', async () => {
    const { relays, prefix } = await startReplicas(server, {
      yaml: 'profiles: {default: {limits: {sessions_per_day: 9, tokens_per_day: 9000, tenant: {minutes_per_day: 9}}}}',
    });
    const [a, b] = relays;
    const token = a.token({ subject: 'alice-the-user', tenant: 'acme-the-tenant', claims: { jti: 'the-token' } });
    const [mine, other] = [await mint(a, token), await mint(a, a.token({ subject: 'mallory-the-user' }))];
    await (await a.connect({ token })).next('session.created');
    const keys = await keysOf(server, prefix);
    const found = await Promise.all(
      keys.map(async (key) => {
        const type = await server.command('TYPE', key);
        const whole = { string: ['GET'], zset: ['ZRANGE', '0', '-1'], hash: ['HGETALL'], stream: ['XRANGE', '-', '+'] };
        const [read = '', ...range] = whole[type as keyof typeof whole];
        return JSON.stringify(await server.command(read, key, ...range));
      }),
    );
    const all = [...keys, ...found].join('\n');
    expect(keys.length).toBeGreaterThan(5);
    for (const name of ['alice', 'acme', 'mallory', 'the-token', 'issuer.test', mine.value.slice(3)]) {
      expect(all).not.toContain(name);
    }
    for (const key of keys) expect(Number(await server.command('PTTL', key))).toBeGreaterThan(0);
    // What was sealed for one secret is put in the place of another.
    const texts = keys.filter((key) => key.startsWith(`${prefix}s:`));
    const [first, second] = await Promise.all(texts.map((key) => server.command('GET', key)));
    await server.command('SET', texts[0] as string, second as string, 'PX', '60000');
    await server.command('SET', texts[1] as string, first as string, 'PX', '60000');
    for (const { value } of [mine, other]) expect(await refusal(b, value)).toMatchObject({ status: 401 });
  });

  it('say once when a full Redis would throw away what they need', async () => {
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    const { relays } = await startReplicas(server, { count: 1 });
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    expect(await relays[0].logged('store.evicts')).toMatchObject({ level: 'warn', policy: 'allkeys-lru' });
    const { relays: others } = await startReplicas(server, { count: 1 });
    expect(others[0].log.filter(({ msg }) => msg === 'store.evicts')).toEqual([]);
  });
});

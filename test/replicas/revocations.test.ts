import { describe, expect, it } from 'vitest';
import { hasRedis, keysOf, startRedis } from '../support/redis.js';
import { refusal, startReplicas, withdraw } from '../support/replicas.js';

const redis = hasRedis ? await startRedis() : null;

describe.skipIf(!redis)('a withdrawal', () => {
  const server = redis as NonNullable<typeof redis>;

  it('ends the sessions of all replicas within a second, waits for them, and counts them', async () => {
    const { relays } = await startReplicas(server, { count: 3 });
    const clients = await Promise.all(relays.map((relay) => relay.connect()));
    await Promise.all(clients.map((client) => client.next('session.created')));
    const other = await relays[1].connect({ token: relays[1].token({ subject: 'bob' }) });
    await other.next('session.created');
    const token = relays[0].token();
    const before = performance.now();
    const { status, ended } = await withdraw(relays[0], { sub: 'alice' });
    const closed = Promise.all(clients.map(({ closed: one }) => one));
    expect([status, ended]).toEqual([200, 3]);
    expect((await closed).map(({ reason }) => reason)).toEqual(['revoked', 'revoked', 'revoked']);
    expect(performance.now() - before).toBeLessThan(2500);
    for (const relay of relays) expect(await refusal(relay, token)).toMatchObject({ status: 401, code: 'revoked' });
    expect(other.ws.readyState).toBe(other.ws.OPEN);
    for (const relay of relays) expect(await relay.metric('relay_revocations')).toBe(1);
  });

  it('is known to a replica that starts afterwards, before it listens', async () => {
    const { relays, start } = await startReplicas(server);
    const token = relays[0].token();
    await withdraw(relays[0], { sub: 'alice' });
    const late = await start();
    expect(await refusal(late, token)).toMatchObject({ status: 401, code: 'revoked' });
  });

  it('of a tenant is none of another, and no name of it is in Redis', async () => {
    const { relays, prefix } = await startReplicas(server);
    const of = (tenant: string) => relays[1].token({ subject: 'alice-the-user', tenant });
    const [mine, other] = [
      await relays[1].connect({ token: of('acme') }),
      await relays[1].connect({ token: of('ajax') }),
    ];
    await Promise.all([mine.next('session.created'), other.next('session.created')]);
    const { ended } = await withdraw(relays[0], { sub: 'alice-the-user' }, { tenant: 'acme' });
    expect(ended).toBe(1);
    expect((await mine.closed).reason).toBe('revoked');
    expect(other.ws.readyState).toBe(other.ws.OPEN);
    const keys = (await keysOf(server, prefix)).filter((key) => key.includes('{rev}'));
    const found = await Promise.all(
      keys.map(async (key) => {
        const type = (await server.command('TYPE', key)) as string;
        const read = { zset: ['ZRANGE', key, '0', '-1'], hash: ['HGETALL', key], stream: ['XRANGE', key, '-', '+'] };
        return JSON.stringify(await server.command(...(read[type as keyof typeof read] ?? ['GET', key])));
      }),
    );
    expect(keys.length).toBeGreaterThan(5);
    expect([...keys, ...found].join()).not.toMatch(/alice|acme|issuer\.test/);
    for (const key of keys) expect(Number(await server.command('PTTL', key))).toBeGreaterThan(0);
  });

  it('that a replica does not confirm is said to be not done, and done when it is sent again', async () => {
    const { relays, prefix } = await startReplicas(server);
    const client = await relays[1].connect();
    await client.next('session.created');
    const soon = String(Date.now() + 2000);
    await server.command('ZADD', `${prefix}{rev}:r`, soon, 'one-that-was-killed');
    const { status, error } = await withdraw(relays[0], { sub: 'alice' });
    expect([status, error?.code]).toEqual([503, 'store_unavailable']);
    expect(error?.message).toContain('1 of 2 other replicas');
    expect((await client.closed).reason).toBe('revoked');
    expect(await relays[0].logged('token.not_revoked')).toMatchObject({ kind: 'user' });
    await server.command('ZREM', `${prefix}{rev}:r`, 'one-that-was-killed');
    expect(await withdraw(relays[0], { sub: 'alice' })).toMatchObject({ status: 200, ended: 0 });
  });

  it('is offered again to a Redis that has lost it', async () => {
    const { relays, prefix, start } = await startReplicas(server);
    const token = relays[0].token();
    await withdraw(relays[0], { sub: 'alice' });
    for (const key of await keysOf(server, prefix)) await server.command('DEL', key);
    // Another connection of a reader is what a fail-over looks like.
    await server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await expect.poll(async () => server.command('ZCARD', `${prefix}{rev}:z`), { timeout: 5000 }).toBe(1);
    expect(await refusal(await start(), token)).toMatchObject({ status: 401, code: 'revoked' });
  });

  it('is refused only to the tenant that has filled a quarter of the list, and ends the sessions all the same', async () => {
    const { relays } = await startReplicas(server, { yaml: 'limits: {revocations: 4}' });
    const [a, b] = relays;
    expect((await withdraw(a, { sub: 'alice' }, { tenant: 'acme' })).status).toBe(200);
    const client = await b.connect({ token: b.token({ subject: 'bob', tenant: 'acme' }) });
    await client.next('session.created');
    expect(await withdraw(a, { sub: 'bob' }, { tenant: 'acme' })).toMatchObject({
      status: 503,
      error: { code: 'overloaded' },
    });
    expect((await client.closed).reason).toBe('revoked');
    expect((await withdraw(b, { sub: 'bob' }, { tenant: 'ajax' })).status).toBe(200);
  });
});

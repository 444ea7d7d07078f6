import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { connect } from '../../src/store/redis/connection.js';
import { keysUnder } from '../../src/store/redis/keys.js';
import { entraLogin, passwordLogin } from '../../src/store/redis/login.js';
import { hasRedis, redisStore, startRedis } from '../support/redis.js';

const folder = mkdtempSync(join(tmpdir(), 'relay-cluster-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const redis = hasRedis ? await startRedis() : null;
const cluster = hasRedis
  ? await startRedis('--cluster-enabled', 'yes', '--cluster-config-file', join(folder, 'nodes.conf'))
  : null;

/** A token as Entra makes them; nobody here verifies it. */
function tokenOf(claims: object): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`;
}

describe('the login of Redis', () => {
  it('with Entra is that of the token, and another one five to three minutes before it runs out', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const exp = () => Math.floor(Date.now() / 1000) + 3600;
    const failed = vi.fn();
    const tokens = [tokenOf({ oid: 'me', exp: exp() })];
    const login = entraLogin('', async () => tokens.at(-1) as string, failed);
    if (!('credentialsProvider' in login)) throw new Error('it has no provider');
    const next = vi.fn();
    const [first, { dispose }] = await login.credentialsProvider.subscribe({ onNext: next });
    expect(first).toEqual({ username: 'me', password: tokens[0] });
    await vi.advanceTimersByTimeAsync(3300_000 - 1);
    expect(next).not.toHaveBeenCalled();
    tokens.push(tokenOf({ oid: 'me', exp: exp() }));
    await vi.advanceTimersByTimeAsync(120_001);
    expect(next.mock.calls).toEqual([[{ username: 'me', password: tokens[1] }]]);
    dispose();
    await vi.advanceTimersByTimeAsync(7200_000);
    expect(next).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
    expect(failed).not.toHaveBeenCalled();
  });

  it('with Entra needs somebody to be: the claim oid, or the user of the URL', async () => {
    const login = (user: string) => entraLogin(user, async () => tokenOf({ exp: 9e9 }), vi.fn());
    const subscribe = async (user: string) => {
      const made = login(user);
      if (!('credentialsProvider' in made)) throw new Error('it has no provider');
      return made.credentialsProvider.subscribe({ onNext: vi.fn() });
    };
    await expect(subscribe('')).rejects.toThrow('oid');
    const [basic, { dispose }] = await subscribe('me');
    expect(basic.username).toBe('me');
    dispose();
  });
});

describe.skipIf(!redis)('a connection', () => {
  const server = redis as NonNullable<typeof redis>;

  it('is that of a user with a password, or with an Entra token', async () => {
    const token = tokenOf({ oid: 'an-object-id', exp: 9e9 });
    for (const [user, secret] of [
      ['relay', 'pass'],
      ['an-object-id', token],
    ] as const) {
      await server.command('ACL', 'SETUSER', user, 'reset', 'on', `>${secret}`, '~rly:*', '+@all');
    }
    const logins = [
      ['relay', passwordLogin('relay', 'pass')],
      ['an-object-id', entraLogin('', async () => token, vi.fn())],
    ] as const;
    for (const [user, login] of logins) {
      const connection = await connect({ ...server.place, login }, vi.fn());
      expect(await connection.send('', ['ACL', 'WHOAMI'])).toBe(user);
      connection.close();
    }
    await expect(connect({ ...server.place, login: passwordLogin('relay', 'wrong') }, vi.fn())).rejects.toThrow(
      'WRONGPASS',
    );
  });

  it('tells once when it ends', async () => {
    const lost = vi.fn();
    const connection = await connect(server.place, lost);
    await server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await expect.poll(() => lost.mock.calls.length).toBe(1);
    connection.close();
    expect(lost).toHaveBeenCalledTimes(1);
  });
});

describe.skipIf(!cluster)('a cluster', () => {
  const server = cluster as NonNullable<typeof cluster>;

  it('takes every call, for the keys of each are in one slot', async () => {
    await server.command('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await expect
      .poll(async () => String(await server.command('CLUSTER', 'INFO')), { timeout: 8000 })
      .toContain('cluster_state:ok');
    const { store } = await redisStore(server, { isCluster: true });
    const group = 't:["https://issuer.test","acme"]';
    const hold = (scope: string) => ({
      ...{ counter: `tokens_per_day:${scope}:x`, group, limit: 100, most: 5, least: 1, isExact: false },
    });
    const place = { purpose: 'sessions' as const, group, key: 'alice', limit: 1, ttlSeconds: 60 };
    const holds = [hold('user'), hold('tenant')];
    expect(await store.enter({ place, holds, holder: 'a', owner: '1' })).toMatchObject({ outcome: 'in' });
    expect(await store.enter({ place, holds, holder: 'b', owner: '1' })).toMatchObject({ outcome: 'taken' });
    const { reserved } = await store.settle(
      'a',
      holds.map((one) => ({ ...one, total: 7, told: 0 })),
    );
    expect(reserved.map(({ used }) => used)).toEqual([7, 7]);
    expect(await store.put({ key: 'k', value: 'v', ttlSeconds: 60, of: 'alice', limit: 1 })).toBe('kept');
    expect([await store.take('k'), await store.take('k')]).toEqual(['v', null]);
    await store.leave('a');
    expect(await store.enter({ place, holds, holder: 'b', owner: '1' })).toMatchObject({ outcome: 'in' });
  });

  it('has what all replicas share in one slot, and users in others', async () => {
    const keys = keysUnder('rly:');
    const slotOf = (key: string) => server.command('CLUSTER', 'KEYSLOT', key);
    const common = await Promise.all(['x', 'c', 'z', 'd', 'r', 'c:a-replica'].map((name) => slotOf(keys.common(name))));
    expect(new Set(common).size).toBe(1);
    const users = await Promise.all(['a', 'b', 'c'].map((user) => slotOf(keys.places(`u:${user}`, 'sessions', user))));
    expect(new Set(users).size).toBe(3);
  });
});

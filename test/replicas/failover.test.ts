/** The address of Redis leads to another server, which had been told all that the first one knew. */
import { describe, expect, it } from 'vitest';
import { layCable } from '../support/cable.js';
import { hasRedis, type RedisServer, startRedis } from '../support/redis.js';
import { mint, refusal, soon, startReplicas, withdraw } from '../support/replicas.js';

const first = hasRedis ? await startRedis() : null;
const second = first ? await startRedis('--replicaof', '127.0.0.1', String(first.port)) : null;

describe.skipIf(!first)('when Redis fails over', () => {
  const [primary, replica] = [first, second] as [RedisServer, RedisServer];

  it('no running session notices, and places, secrets and withdrawals are what they were', async () => {
    const cable = await layCable(primary.url);
    const { relays } = await startReplicas(primary, {
      yaml: 'profiles: {default: {limits: {sessions_per_user: 1, sessions_per_day: 5}}}',
      env: { RELAY_REDIS_URL: cable.address.replace('ws:', 'redis:') },
    });
    const [a, b] = relays;
    const client = await a.connect();
    await client.next('session.created');
    const secret = await mint(b, b.token({ subject: 'carol' }));
    const withdrawn = a.token({ subject: 'bob' });
    expect(await withdraw(a, { sub: 'bob' })).toMatchObject({ status: 200 });
    const told = async () => {
      const info = String(await primary.command('INFO', 'replication'));
      return /slave0:.*offset=(\d+)/.exec(info)?.[1] === /master_repl_offset:(\d+)/.exec(info)?.[1];
    };
    await expect.poll(told, { timeout: 10_000 }).toBe(true);

    await primary.kill();
    await replica.command('REPLICAOF', 'NO', 'ONE');
    cable.lead(replica.url);
    client.ws.send(JSON.stringify({ type: 'response.create' }));
    await client.next('response.done');
    await Promise.all([a, b].map((relay) => relay.logged('store.back')));

    expect(await refusal(b)).toMatchObject({ code: 'rate_limited' });
    expect(await refusal(b, withdrawn)).toMatchObject({ status: 401, code: 'revoked' });
    await (await a.connect({ token: secret.value })).next('session.created');
    expect(await refusal(b, secret.value)).toMatchObject({ status: 401 });
    client.ws.close();
    await (await soon(b)).next('session.created');
    expect(client.events.filter(({ type }) => /error|^relay\./.test(type))).toEqual([]);
    expect([a, b].flatMap(({ log }) => log.filter(({ msg }) => msg === 'store.emptied'))).toEqual([]);
    expect(await Promise.all([a, b].map((relay) => relay.metric('relay_sessions_over_limit')))).toEqual([0, 0]);
  });
});

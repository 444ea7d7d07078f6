/** The address of Redis leads to another server, which had been told all that the first one knew. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { hasRedis, type RedisServer, startRedis } from '../support/redis.js';
import { mint, refusal, soon, startReplicas, withdraw } from '../support/replicas.js';

const first = hasRedis ? await startRedis() : null;
const second = first ? await startRedis('--replicaof', '127.0.0.1', String(first.port)) : null;

/** An address in front of whichever server it leads to. */
async function addressOf(server: RedisServer) {
  const sockets = new Set<Socket>();
  let { port } = server;
  const door = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }).listen(0, '127.0.0.1');
  await once(door, 'listening');
  const lead = (to: RedisServer) => {
    port = to.port;
    for (const socket of sockets) socket.destroy();
  };
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    door.close();
  });
  return { url: `redis://127.0.0.1:${(door.address() as AddressInfo).port}`, lead };
}

describe.skipIf(!first)('when Redis fails over', () => {
  const [primary, replica] = [first, second] as [RedisServer, RedisServer];

  it('no running session notices, and places, secrets and withdrawals are what they were', async () => {
    const { url, lead } = await addressOf(primary);
    const { relays } = await startReplicas(primary, {
      yaml: 'profiles: {default: {limits: {sessions_per_user: 1, sessions_per_day: 5}}}',
      env: { RELAY_REDIS_URL: url },
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
    lead(replica);
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

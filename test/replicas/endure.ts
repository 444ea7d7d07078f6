/** The long form of what three replicas must endure, each at the pace of the world outside. Run by `npm run endure`. */

import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { enter, mintAt, race, revokeAt, startFleet, tokenOf } from '../support/fleet.js';
import { hasRedis, keysOf, startRedis } from '../support/redis.js';
import { hasProxy, replaceReplicas } from '../support/rolling.js';

const redis = hasRedis ? await startRedis() : null;
const server = redis as NonNullable<typeof redis>;

it.skipIf(!redis)('one of 50 in 40 rounds, and one of 8 in 200', { timeout: 300_000 }, async () => {
  const fleet = await startFleet(server, '{sessions_per_user: 1, client_secrets: 50}');
  for (let round = 0; round < 40; round++) expect(await race(fleet, tokenOf(`racer-${round}`), 50)).toBe(1);
  for (let round = 0; round < 200; round++) {
    const secret = await mintAt(fleet.members[0], tokenOf(`page-${round}`));
    expect(await race(fleet, String(secret), 8)).toBe(1);
  }
});

it.skipIf(!redis)(
  'a replica that is killed has given its places back after a minute',
  { timeout: 120_000 },
  async () => {
    const { members } = await startFleet(server, '{sessions_per_user: 1}');
    const [a, b] = members;
    await enter(a, tokenOf('alice'));
    a.child.kill('SIGKILL');
    await a.exited;
    const before = performance.now();
    await expect.poll(() => enter(b, tokenOf('alice')), { timeout: 65_000, interval: 1000 }).not.toBeNull();
    expect(performance.now() - before).toBeLessThan(61_000);
  },
);

it.skipIf(!redis)('Redis stands still for 30 s, and everything is right 20 s later', { timeout: 120_000 }, async () => {
  const { members } = await startFleet(server, '{sessions_per_user: 1}');
  const talkers = await Promise.all(members.map((member, index) => enter(member, tokenOf(`user-${index}`))));
  server.pause();
  const until = performance.now() + 30_000;
  while (performance.now() < until) {
    for (const talker of talkers) {
      talker?.ws.send(JSON.stringify({ type: 'response.create' }));
      await talker?.next('response.done');
    }
    await pause(1000);
  }
  server.resume();
  await Promise.all(members.map((member) => member.line((line) => line.includes('store.back'))));
  await expect.poll(() => enter(members[0], tokenOf('user-1')), { timeout: 20_000 }).toBeNull();
  expect(talkers.every((talker) => talker?.ws.readyState === talker?.ws.OPEN)).toBe(true);
  expect(await revokeAt(members[0], 'user-2')).toMatchObject({ status: 200, ended: 1 });
});

it.skipIf(!redis)('ten thousand sessions would take 10 MB of Redis at the most', { timeout: 120_000 }, async () => {
  await server.command('FLUSHALL');
  const used = async () => Number(/used_memory:(\d+)/.exec(String(await server.command('INFO', 'memory')))?.[1]);
  const fleet = await startFleet(server, '{sessions_per_user: 9}');
  const before = await used();
  for (let user = 0; user < 240; user++)
    await enter(fleet.members[user % 3] as (typeof fleet.members)[0], tokenOf(`u${user}`));
  expect((await keysOf(server, fleet.prefix)).length).toBeGreaterThan(240);
  expect(((await used()) - before) / 240).toBeLessThan(10_000_000 / 10_000);
});

it.skipIf(!redis || !hasProxy)('three replicas are replaced behind HAProxy while a hundred users talk', async () => {
  const { answered, lost, refused, ends } = await replaceReplicas(server, { users: 100 });
  expect({ lost, ends: Object.keys(ends) }).toEqual({ lost: 0, ends: ['1012 draining'] });
  expect(answered).toBeGreaterThanOrEqual(200);
  expect(ends['1012 draining']).toBeGreaterThanOrEqual(100);
  expect(refused).toBeLessThanOrEqual(10);
});

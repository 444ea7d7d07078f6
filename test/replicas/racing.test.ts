import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { datedToken, enter, mintAt, race, revokeAt, startFleet, tokenOf } from '../support/fleet.js';
import { age, hasRedis, startRedis } from '../support/redis.js';

const redis = hasRedis ? await startRedis() : null;

describe.skipIf(!redis)('three processes that share one Redis', { timeout: 60_000 }, () => {
  const server = redis as NonNullable<typeof redis>;

  it('let in exactly one of 50 who race for one place, and one of 8 who have one secret', async () => {
    const fleet = await startFleet(server, '{sessions_per_user: 1, client_secrets: 50}');
    const [a] = fleet.members;
    for (let round = 0; round < 3; round++) expect(await race(fleet, tokenOf(`racer-${round}`), 50)).toBe(1);
    for (let round = 0; round < 8; round++) {
      const secret = await mintAt(a, tokenOf(`page-${round}`));
      expect(await race(fleet, String(secret), 8)).toBe(1);
    }
  });

  it('count the sessions of a day exactly, with clocks that are wrong by five minutes', async () => {
    const fleet = await startFleet(server, '{sessions_per_user: 50, sessions_per_day: 7}', [-300_000, 0, 300_000]);
    expect(await race(fleet, datedToken('alice'), 30)).toBe(7);
    const secret = await mintAt(fleet.members[0], datedToken('bob'));
    expect(await race(fleet, String(secret), 6)).toBe(1);
    const inside = await Promise.all(fleet.members.map((member) => enter(member, datedToken('carol'))));
    expect(inside).not.toContain(null);
    expect(await revokeAt(fleet.members[1], 'carol')).toMatchObject({ status: 200, ended: 3 });
    for (const member of fleet.members) expect(await enter(member, datedToken('carol'))).toBeNull();
    expect(await enter(fleet.members[1], tokenOf('carol'))).not.toBeNull();
  });

  it('show no name to who watches Redis', async () => {
    const fleet = await startFleet(server, '{sessions_per_day: 9, tokens_per_day: 9000}');
    const [a, b] = fleet.members;
    const monitor = spawn('redis-cli', ['-p', String(server.port), 'MONITOR']);
    onTestFinished(() => void monitor.kill());
    let seen = '';
    monitor.stdout.on('data', (chunk) => {
      seen += chunk;
    });
    await once(monitor.stdout, 'data');
    const token = tokenOf('alice-the-user', { jti: 'the-token-id' }, 'acme-the-tenant');
    const secret = await mintAt(a, token);
    const client = await enter(b, String(secret));
    client?.ws.send(JSON.stringify({ type: 'response.create' }));
    await client?.next('response.done');
    expect(await revokeAt(a, 'alice-the-user')).toMatchObject({ status: 200, ended: 1 });
    client?.ws.terminate();
    await expect.poll(() => seen.includes('{rev}:x')).toBe(true);
    for (const name of ['alice', 'acme', 'the-token-id', 'issuer.test', 'relay-tests', String(secret).slice(7)]) {
      expect(seen).not.toContain(name);
    }
    expect(seen.length).toBeGreaterThan(1000);
  });

  it('give back the places of one that was killed, within a minute', async () => {
    const fleet = await startFleet(server, '{sessions_per_user: 1, minutes_per_day: 1}');
    const [a, b] = fleet.members;
    await enter(a, tokenOf('alice'));
    a.child.kill('SIGKILL');
    await a.exited;
    expect(await enter(b, tokenOf('alice'))).toBeNull();
    await age(server, fleet.prefix, 60_000);
    expect(await enter(b, tokenOf('alice'))).not.toBeNull();
  });

  it('go on while Redis stands still, and count right again afterwards', async () => {
    const fleet = await startFleet(server, '{sessions_per_user: 1}');
    const [a, b, c] = fleet.members;
    const talkers = await Promise.all(fleet.members.map((member, index) => enter(member, tokenOf(`user-${index}`))));
    server.pause();
    try {
      // So long that each of them notices.
      expect(await enter(b, tokenOf('user-0'))).not.toBeNull();
      expect(await enter(c, tokenOf('user-9'))).not.toBeNull();
      expect(await mintAt(a, tokenOf('user-0'))).toBeNull();
      await pause(100);
    } finally {
      server.resume();
    }
    for (const talker of talkers) {
      talker?.ws.send(JSON.stringify({ type: 'response.create' }));
      await talker?.next('response.done');
    }
    await Promise.all([a, b, c].map((member) => member.line((line) => line.includes('store.back'))));
    await expect.poll(async () => enter(a, tokenOf('user-9')), { timeout: 5000 }).toBeNull();
    expect(talkers.every((talker) => talker?.ws.readyState === talker?.ws.OPEN)).toBe(true);
  });

  it('end at once when told to, and have given back all that they held', async () => {
    const fleet = await startFleet(server, '{sessions_per_user: 1}');
    const [a, b] = fleet.members;
    await enter(a, tokenOf('alice'));
    a.child.kill('SIGTERM');
    expect(await a.exited).toBe(0);
    expect(await enter(b, tokenOf('alice'))).not.toBeNull();
    expect(await revokeAt(b, 'nobody')).toMatchObject({ status: 200 });
  });

  it('are one with a replica of several workers, of which one dies', async () => {
    const fleet = await startFleet(server, '{sessions_per_user: 1}', [0]);
    const [a] = fleet.members;
    const b = await fleet.start({ RELAY_WORKERS: '2' });
    const inside = await enter(b, tokenOf('alice'));
    expect(inside).not.toBeNull();
    expect(await enter(a, tokenOf('alice'))).toBeNull();
    const secret = await mintAt(a, tokenOf('bob'));
    expect(await enter(b, String(secret))).not.toBeNull();
    expect(await enter(a, String(secret))).toBeNull();
    expect(await revokeAt(a, 'alice')).toMatchObject({ status: 200, ended: 1 });
    expect((await inside?.closed)?.reason).toBe('revoked');
    await enter(b, tokenOf('carol'));
    const pids = b.lines
      .filter((line) => line.includes('worker.started'))
      .map((line) => JSON.parse(line).pid as number);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await expect.poll(() => enter(a, tokenOf('carol')), { timeout: 5000 }).not.toBeNull();
  });
});

import { describe, expect, it } from 'vitest';
import { type Running, relayEnv, run } from '../support/process.js';
import { hasRedis, keysOf, startRedis } from '../support/redis.js';

const redis = hasRedis ? await startRedis() : null;
const nowhere = 'redis://127.0.0.1:1';

function check(args: string[], url?: string): Running {
  const env = relayEnv('http://127.0.0.1:9', { RELAY_CONFIG: '', ...(url !== undefined && { RELAY_REDIS_URL: url }) });
  return run(['check', ...args], env);
}

describe('check without Redis', { timeout: 30_000 }, () => {
  it('says that it cannot be reached, which is no fault of the settings', async () => {
    const { exited, lines } = check([], nowhere);
    expect(await exited).toBe(0);
    expect(lines.join('\n')).toMatch(/warning: redis: not reachable \(ECONNREFUSED\); at 127\.0\.0\.1:1\./);
  });

  it('--redis fails in a few seconds where nothing answers, and is a wrong command line where there is none', async () => {
    const away = check(['--redis'], nowhere);
    expect(await away.exited).toBe(1);
    expect(away.lines).toContain('FAILED connect — ECONNREFUSED');
    expect(away.lines).toContain('Redis cannot be used.');
    const none = check(['--redis']);
    expect(await none.exited).toBe(64);
    expect(none.lines.join('\n')).toContain('RELAY_REDIS_URL');
  });
});

describe.skipIf(!redis)('check with Redis', { timeout: 60_000 }, () => {
  const server = redis as NonNullable<typeof redis>;

  it('says in one line what it is and what may be done there', async () => {
    const { exited, lines } = check([], server.url);
    expect(await exited).toBe(0);
    expect(lines.find((line) => line.startsWith('redis: '))).toMatch(
      /^redis: 127\.0\.0\.1:\d+, Redis \d[\d.]+, standalone, noeviction, without TLS, user default; may: read, write, scripts, streams$/,
    );
    expect(lines.join('\n')).toContain('warning: RELAY_REDIS_KEY is not set');
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'volatile-lru');
    await server.command('ACL', 'SETUSER', 'limited', 'on', '>secret', '~*', '+@all', '-@stream', '-xadd');
    const limited = check([], server.url.replace('//', '//limited:secret@'));
    expect(await limited.exited).toBe(0);
    const text = limited.lines.join('\n');
    expect(text).toContain('user limited; may: read, write, scripts\n');
    expect(text).toContain('warning: redis: streams: refused (NOPERM).');
    expect(text).toContain('maxmemory-policy is volatile-lru');
    expect(text).not.toContain('secret@');
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
  });

  it('--redis runs the races, says what came of each, and leaves nothing behind', async () => {
    await server.command('SET', 'rly:of-a-relay', 'stays');
    const { exited, lines } = check(['--redis'], server.url);
    expect(await exited, lines.join('\n')).toBe(0);
    const told = lines.filter((line) => /^(ok|FAILED) /.test(line));
    expect(told).toHaveLength(5);
    for (const line of told) expect(line).toMatch(/^ok .+ — .+, \d+ ms$/);
    expect(lines.at(-1)).toBe('Redis can be used.');
    expect(await keysOf(server, '')).toEqual(['rly:of-a-relay']);
  });

  it('--redis says which race went wrong', async () => {
    // Whoever has no streams hears of no withdrawal.
    const { exited, lines } = check(['--redis'], server.url.replace('//', '//limited:secret@'));
    expect(await exited).toBe(1);
    expect(lines.at(-1)).toBe('Redis cannot be used.');
    expect(lines.filter((line) => line.startsWith('FAILED'))).not.toEqual([]);
  });
});

import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect } from '../support/client.js';
import { relayEnv, run, serve } from '../support/process.js';
import { hasRedis, startRedis } from '../support/redis.js';
import { jwt, startTestEmulator } from '../support/relay.js';

const redis = hasRedis ? await startRedis() : null;

type Served = Awaited<ReturnType<typeof serve>>;

const sign = (subject: string, claims: Record<string, unknown> = {}) =>
  signToken({ ...jwt, subject, ttlSeconds: 600, claims });
const backend = sign('backend', { scope: 'relay.sessions.read relay.sessions.write' });

async function talking({ url }: Served, subject: string) {
  const client = await connect(`${url.replace('http', 'ws')}/v1/realtime?model=x`, {
    headers: { authorization: `Bearer ${sign(subject)}` },
  });
  const { session } = await client.next('session.created');
  return { client, id: (session as { id: string }).id };
}

/** What the command line prints. */
async function cli({ url }: Served, ...args: string[]): Promise<string> {
  const command = run(['sessions', ...args, '--url', url], { RELAY_TOKEN: backend });
  expect(await command.exited, command.lines.join('\n')).toBe(0);
  return command.lines.join('\n');
}

describe.skipIf(!redis)('three processes with Redis in common', () => {
  it('are one relay to the command line: listed, shown, spoken in and ended at any of them', {
    timeout: 60_000,
  }, async () => {
    const emulator = await startTestEmulator();
    const env = relayEnv(emulator.url, {
      RELAY_REDIS_URL: redis?.url ?? '',
      RELAY_REDIS_PREFIX: `processes-${process.pid}:`,
      RELAY_REDIS_KEY: randomBytes(32).toString('base64'),
    });
    const relays = await Promise.all([serve(env), serve(env), serve(env)]);
    const [a, b, c] = relays as [Served, Served, Served];
    const sessions = [];
    for (const [i, relay] of relays.entries()) sessions.push(await talking(relay, `user-${i}`));
    const list = await cli(b, 'list');
    for (const { id } of sessions) expect(list).toContain(id);
    const [first, second] = sessions as [(typeof sessions)[0], (typeof sessions)[0]];
    expect(await cli(c, 'show', first.id)).toContain('user-0');
    await cli(b, 'say', first.id, 'The shop closes in five minutes.');
    const { response } = await first.client.next('response.done');
    expect(response).toMatchObject({ status: 'completed' });
    await cli(a, 'end', second.id);
    expect(await second.client.closed).toEqual({ code: 1008, reason: 'ended_by_backend' });
    for (const { child } of relays) child.kill('SIGTERM');
    expect(await Promise.all(relays.map(({ exited }) => exited))).toEqual([0, 0, 0]);
  });
});

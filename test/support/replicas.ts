/** Relays that share one Redis, as replicas do; in this process, for what needs no process of its own. */

import { randomBytes } from 'node:crypto';
import { refused } from './client.js';
import type { RedisServer } from './redis.js';
import { startTestEmulator, startTestRelay, type TestRelay } from './relay.js';

export interface ReplicaOptions {
  readonly count?: number;
  readonly yaml?: string;
  readonly env?: Record<string, string>;
}

let fleets = 0;

/** Starts relays before one emulator, under a prefix of their own. */
export async function startReplicas(redis: RedisServer, { count = 2, yaml, env }: ReplicaOptions = {}) {
  const emulator = await startTestEmulator();
  const prefix = `fleet${++fleets}-${process.pid}:`;
  const key = randomBytes(32).toString('base64');
  const start = () =>
    startTestRelay({
      upstream: emulator.url,
      ...(yaml !== undefined && { yaml }),
      env: { RELAY_REDIS_URL: redis.url, RELAY_REDIS_PREFIX: prefix, RELAY_REDIS_KEY: key, ...env },
    });
  const relays: TestRelay[] = [];
  for (let i = 0; i < count; i++) relays.push(await start());
  return { emulator, relays: relays as [TestRelay, TestRelay, ...TestRelay[]], prefix, start };
}

/** A client secret for a user, or the answer that there is none. */
export async function mint(
  relay: TestRelay,
  token = relay.token(),
): Promise<{ status: number; value: string; body: unknown }> {
  const response = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
  });
  const body = (await response.json()) as { value?: string };
  return { status: response.status, value: body.value ?? '', body };
}

/** What a connect that is not let in is answered. */
export async function refusal(relay: TestRelay, token = relay.token()) {
  const { status, body, headers } = await refused(`${relay.address}/v1/realtime`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return { status, code: body.error.code, error: body.error, headers };
}

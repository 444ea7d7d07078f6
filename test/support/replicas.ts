/** Relays that share one Redis, as replicas do; in this process, for what needs no process of its own. */

import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { refused, type TestClient } from './client.js';
import type { RedisServer } from './redis.js';
import { startTestEmulator, startTestRelay, type TestRelay } from './relay.js';

export interface ReplicaOptions {
  readonly count?: number;
  readonly yaml?: string;
  readonly env?: Record<string, string>;
  /** How fast the emulator speaks; left out: all at once. */
  readonly speed?: number;
  /** Before this, and not before an emulator. */
  readonly upstream?: string;
}

let fleets = 0;

/** Starts relays before one emulator, under a prefix of their own. */
export async function startReplicas(
  redis: RedisServer,
  { count = 2, yaml, env, speed, upstream }: ReplicaOptions = {},
) {
  const emulator = await startTestEmulator(speed === undefined ? {} : { speed });
  const prefix = `fleet${++fleets}-${process.pid}:`;
  const key = randomBytes(32).toString('base64');
  const start = () =>
    startTestRelay({
      upstream: upstream ?? emulator.url,
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

/** Withdraws tokens, as a backend does. */
export async function withdraw(relay: TestRelay, what: object, claims: object = {}) {
  const token = relay.token({ subject: 'backend', claims: { scope: 'relay.revoke', ...claims } });
  const response = await fetch(`${relay.relay.url}/v1/relay/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(what),
  });
  const body = (await response.json()) as {
    ended?: number;
    issued_until?: number;
    error?: { code: string; message: string };
  };
  return { status: response.status, ...body };
}

/** A client that connects once there is a place for it: one that another replica gave back is free a moment later. */
export async function soon(relay: TestRelay, token = relay.token()): Promise<TestClient> {
  for (let left = 50; ; left--) {
    try {
      return await relay.connect({ token });
    } catch (error) {
      if (left === 0) throw error;
      await setTimeout(50);
    }
  }
}

/** Several relays in processes of their own that share one Redis, and what can go wrong between them. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import jsonwebtoken from 'jsonwebtoken';
import { onTestFinished } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, type TestClient } from './client.js';
import { type Running, relayEnv, serve } from './process.js';
import type { RedisServer } from './redis.js';
import { jwt, startTestEmulator } from './relay.js';

/** One of them. */
export interface Member extends Running {
  readonly url: string;
  readonly ops: string;
}

export interface Fleet {
  readonly members: readonly [Member, Member, Member, ...Member[]];
  readonly prefix: string;
  /** Starts another one. */
  start(env?: Record<string, string>): Promise<Member>;
}

const skewed = fileURLToPath(new URL('skewed.mjs', import.meta.url));
const { sign } = jsonwebtoken;
let fleets = 0;

/**
 * Starts three before one emulator.
 * @param limits of users, in YAML flow style
 * @param skewsMs by how much the clock of each is wrong
 */
export async function startFleet(
  redis: RedisServer,
  limits = '{}',
  skewsMs: readonly number[] = [0, 0, 0],
): Promise<Fleet> {
  const emulator = await startTestEmulator();
  const folder = mkdtempSync(join(tmpdir(), 'relay-fleet-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, 'relay.yaml');
  const often = 'connects_per_second: 1000, connects_burst: 10000';
  writeFileSync(
    config,
    `limits: { busy_delay_ms: 0, busy_percent: 0 }\nprofiles: { default: { limits: { ${often}, ${limits.slice(1, -1)} } } }\n`,
  );
  const prefix = `processes${++fleets}-${process.pid}:`;
  const start = (env: Record<string, string> = {}) => {
    const own = { RELAY_CONFIG: config, RELAY_REDIS_URL: redis.url, RELAY_REDIS_PREFIX: prefix, ...env };
    return env.SKEW_MS ? serve(relayEnv(emulator.url, own), skewed) : serve(relayEnv(emulator.url, own));
  };
  const members = await Promise.all(skewsMs.map((ms) => start(ms === 0 ? {} : { SKEW_MS: String(ms) })));
  return { members: members as unknown as Fleet['members'], prefix, start };
}

/** A token that is good for who has a clock that is wrong by five minutes, too. */
export function datedToken(subject: string): string {
  const iat = Math.floor(Date.now() / 1000) - 400;
  const { secret, issuer: iss, audience: aud } = jwt;
  return sign({ iss, aud, sub: subject, iat, exp: iat + 3600 }, secret, { algorithm: 'HS256' });
}

export function tokenOf(subject: string, claims: Record<string, unknown> = {}, tenant?: string): string {
  return signToken({ ...jwt, subject, ttlSeconds: 3600, claims, ...(tenant !== undefined && { tenant }) });
}

/** A client that was let in and has its session, or null. */
export async function enter({ url }: Member, credential: string): Promise<TestClient | null> {
  try {
    const client = await connect(`${url.replace('http', 'ws')}/v1/realtime`, {
      headers: { Authorization: `Bearer ${credential}` },
    });
    await client.next('session.created');
    return client;
  } catch {
    return null;
  }
}

/** How many of so many are let in who come at once, to all replicas in turn; those are gone afterwards. */
export async function race({ members }: Pick<Fleet, 'members'>, credential: string, rivals: number): Promise<number> {
  const all = await Promise.all(
    Array.from({ length: rivals }, (_, index) => enter(members[index % members.length] as Member, credential)),
  );
  const inside = all.filter((client) => client !== null);
  for (const client of inside) client.ws.terminate();
  return inside.length;
}

/** A client secret, or null. */
export async function mintAt({ url }: Member, token: string): Promise<string | null> {
  const answer = await fetch(`${url}/v1/realtime/client_secrets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
  });
  return answer.ok ? ((await answer.json()) as { value: string }).value : null;
}

/** Withdraws all tokens of a user. */
export async function revokeAt({ url }: Member, sub: string): Promise<{ status: number; ended?: number }> {
  const answer = await fetch(`${url}/v1/relay/revocations`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${tokenOf('backend', { scope: 'relay.revoke' })}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ sub }),
  });
  return { status: answer.status, ...((await answer.json()) as { ended?: number }) };
}

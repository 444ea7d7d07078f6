/** Client secrets that the relay mints for browsers: opaque, short-lived, good for one session. */

import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { RelayError } from '../errors.js';
import type { Store } from '../store/store.js';
import { type Principal, userKey } from './principal.js';

/** A minted secret. */
interface ClientSecret {
  /** `ek_` and opaque text: browser SDKs accept no other prefix without a "dangerous" flag. */
  readonly value: string;
  /** When it can no longer start a session, in unix seconds. */
  readonly expiresAt: number;
}

/** A secret that was not used up. */
export interface LookedAt {
  readonly credential: string;
  readonly principal: Principal;
  /** When it can no longer start a session, in unix seconds. */
  readonly expiresAt: number;
}

/** Mints and redeems client secrets. */
export interface ClientSecrets {
  /**
   * A secret with which one session can be started as `principal`, within `ttlSeconds` and never after the principal's own
   * end. Rejects with `token_expired` when that has passed, `rate_limited` when `most` of one user's are unused, and
   * `overloaded` when there is no room for any.
   */
  mint(principal: Principal, ttlSeconds: number, most?: number): Promise<ClientSecret>;
  /** What a secret is good for; null when it is unknown, used or run out. */
  look(credential: string): Promise<LookedAt | null>;
  /** The principal a secret was minted for, once: it is used up by this. */
  redeem(credential: string): Promise<Principal | null>;
  /** Makes one good again that was used up for nothing. */
  restore(looked: LookedAt): Promise<void>;
}

const prefix = 'rly_';
const shape = /^(?:ek_)?(rly_[A-Za-z0-9_-]{43})$/;
const mostUnused = 50;

const kept = z.strictObject({
  expiresAt: z.number(),
  principal: z.strictObject({
    issuer: z.string(),
    subject: z.string(),
    profile: z.string(),
    tenant: z.string().nullable(),
    scopes: z.array(z.string()),
    expiresAt: z.number(),
    claims: z.record(z.string(), z.unknown()),
  }),
});

/** Whether a credential is one of the relay's secrets rather than a JWT, with or without its `ek_`. */
export function looksLikeClientSecret(credential: string): boolean {
  return credential.startsWith(prefix) || credential.startsWith(`ek_${prefix}`);
}

/** Keeps what a secret is good for from who has the store. */
export interface SecretSeal {
  seal(secret: string, key: string, text: string): string;
  /** Null for what was not sealed for this secret. */
  open(secret: string, key: string, sealed: string): string | null;
}

/** What is sealed is at most this long, so that nobody fills the store that replicas share. */
const mostSealedBytes = 16 * 1024;

/**
 * Client secrets kept in `store`, by hash: who reads the store cannot start a session with what it holds.
 * @param options.seal for a store that others may read and write: then they learn nothing, and make nobody either
 */
export function createClientSecrets(
  store: Pick<Store, 'put' | 'look' | 'take'>,
  options: { now?: () => number; seal?: SecretSeal | null } = {},
): ClientSecrets {
  const { now = Date.now, seal = null } = options;

  async function read(get: 'look' | 'take', credential: string): Promise<LookedAt | null> {
    const secret = shape.exec(credential)?.[1];
    if (!secret) return null;
    const key = keyOf(secret);
    const found = await store[get](key);
    const value = found !== null && seal ? seal.open(secret, key, found) : found;
    if (value === null) return null;
    const { principal, expiresAt } = kept.parse(JSON.parse(value));
    // Whoever could make one would be a backend by it.
    if (seal) principal.scopes = principal.scopes.filter((scope) => !scope.startsWith('relay.'));
    if (principal.expiresAt * 1000 <= now()) return null;
    const claims = Object.assign(Object.create(null), principal.claims) as Record<string, unknown>;
    const frozen = { scopes: Object.freeze(principal.scopes), claims: Object.freeze(claims) };
    return { credential: secret, principal: Object.freeze({ ...principal, ...frozen }), expiresAt };
  }

  function keep({ credential, principal, expiresAt }: LookedAt, ttlSeconds: number, limit: number) {
    const text = JSON.stringify({ principal, expiresAt });
    if (seal && Buffer.byteLength(text) > mostSealedBytes) throw tooBigError(principal);
    const key = keyOf(credential);
    const value = seal ? seal.seal(credential, key, text) : text;
    return store.put({ key, value, ttlSeconds, of: userKey(principal), limit });
  }

  return {
    async mint(principal, ttlSeconds, most = mostUnused) {
      if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) throw new RangeError('ttlSeconds must be 1 or more');
      const nowSeconds = Math.floor(now() / 1000);
      const ttl = Math.min(ttlSeconds, principal.expiresAt - nowSeconds);
      if (ttl <= 0) throw new RelayError('token_expired', 'The token has run out; get a new one.');
      const secret = prefix + randomBytes(32).toString('base64url');
      const outcome = await keep({ credential: secret, principal, expiresAt: nowSeconds + ttl }, ttl, most);
      if (outcome !== 'kept') throw outcome === 'full' ? fullError() : tooManyError(most, ttl);
      return { value: `ek_${secret}`, expiresAt: nowSeconds + ttl };
    },
    look: (credential) => read('look', credential),
    redeem: async (credential) => (await read('take', credential))?.principal ?? null,
    async restore(looked) {
      const ttl = looked.expiresAt - now() / 1000;
      // It was one of their unused ones before, so that no limit is asked.
      if (ttl > 0) await keep(looked, ttl, Number.POSITIVE_INFINITY);
    },
  };
}

function tooManyError(most: number, ttlSeconds: number): RelayError {
  return new RelayError(
    'rate_limited',
    `At most ${most} client secrets of one user may be unused; use them or let them run out.`,
    { retryAfterMs: ttlSeconds * 1000 },
  );
}

function tooBigError({ claims }: Principal): RelayError {
  const [largest = ''] = Object.keys(claims).sort((a, b) => lengthOf(claims[b]) - lengthOf(claims[a]));
  return new RelayError(
    'bad_event',
    `The claims of the token are too large for a client secret: at most ${mostSealedBytes} bytes. The largest is ` +
      `"${largest.slice(0, 50)}".`,
  );
}

function lengthOf(claim: unknown): number {
  return JSON.stringify(claim)?.length ?? 0;
}

function fullError(): RelayError {
  return new RelayError('overloaded', 'This relay keeps as many unused client secrets as it may; try again shortly.', {
    retryAfterMs: 5000,
  });
}

function keyOf(secret: string): string {
  return `client_secret:${createHash('sha256').update(secret).digest('hex')}`;
}

/** Client secrets that the relay mints for browsers: opaque, short-lived, good for one session. */

import { createHash, randomBytes, randomUUID } from 'node:crypto';
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

/** Mints and redeems client secrets. */
export interface ClientSecrets {
  /**
   * A secret with which one session can be started as `principal`, within `ttlSeconds` and never after the principal's own
   * end. Rejects with `token_expired` when that has passed, `rate_limited` at 1000 unused secrets of one subject, and
   * `overloaded` when the store is full.
   */
  mint(principal: Principal, ttlSeconds: number): Promise<ClientSecret>;
  /** The principal a secret was minted for, once; null when the secret is unknown, used or run out. */
  redeem(credential: string): Promise<Principal | null>;
}

const prefix = 'rly_';
const shape = /^(?:ek_)?(rly_[A-Za-z0-9_-]{43})$/;
const maxUnused = 1000;

const kept = z.strictObject({
  place: z.strictObject({ key: z.string(), holder: z.string() }),
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

/** Client secrets kept in `store`, by hash: who reads the store cannot start a session with what it holds. */
export function createClientSecrets(store: Store, options: { now?: () => number } = {}): ClientSecrets {
  const now = options.now ?? Date.now;
  return {
    async mint(principal, ttlSeconds) {
      if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) throw new RangeError('ttlSeconds must be 1 or more');
      const nowSeconds = Math.floor(now() / 1000);
      const ttl = Math.min(ttlSeconds, principal.expiresAt - nowSeconds);
      if (ttl <= 0) throw new RelayError('token_expired', 'The token has run out; get a new one.');
      const place = {
        key: `unused_secrets:${userKey(principal)}`,
        holder: randomUUID(),
      };
      if (!(await store.acquire(place.key, place.holder, maxUnused, ttl))) {
        throw new RelayError(
          'rate_limited',
          'Too many client secrets of this user are unused; use them or let them run out.',
        );
      }
      const secret = prefix + randomBytes(32).toString('base64url');
      try {
        await store.put(keyOf(secret), JSON.stringify({ place, principal }), ttl);
      } catch (error) {
        await store.release(place.key, place.holder);
        throw error;
      }
      return { value: `ek_${secret}`, expiresAt: nowSeconds + ttl };
    },

    async redeem(credential) {
      const secret = shape.exec(credential)?.[1];
      if (!secret) return null;
      const value = await store.take(keyOf(secret));
      if (value === null) return null;
      const { place, principal } = kept.parse(JSON.parse(value));
      await store.release(place.key, place.holder);
      if (principal.expiresAt * 1000 <= now()) return null;
      const claims = Object.assign(Object.create(null), principal.claims) as Record<string, unknown>;
      return Object.freeze({ ...principal, scopes: Object.freeze(principal.scopes), claims: Object.freeze(claims) });
    },
  };
}

function keyOf(secret: string): string {
  return `client_secret:${createHash('sha256').update(secret).digest('hex')}`;
}

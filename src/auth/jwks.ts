/** Verifying keys from a JWKS endpoint: cached, refetched seldom, and kept through an outage. */

import type { KeyObject } from 'node:crypto';
import { RelayError } from '../errors.js';
import { isSafe } from '../outbound/addresses.js';
import { type Outbound, request } from '../outbound/request.js';
import { type KeySet, keysIn } from './jwk.js';
import { type FittingKeys, fitting, type KeySource, wrongAlgorithm } from './keys.js';

const freshMs = 10 * 60_000;
const usableMs = 4 * 3600_000;
const refetchEveryMs = 30_000;
const firstFetchEveryMs = 5_000;
const maxBodyBytes = 256 * 1024;
const asymmetric = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'] as const;

/** How keys are asked for; clocks are in milliseconds. */
interface JwksOptions {
  /** For ages of keys, which should not jump with the system's clock. */
  readonly now?: () => number;
  /** Since 1970, to compare with what a token says. */
  readonly wallClock?: () => number;
  readonly timeoutMs?: number;
  /** From `proxyFor`. */
  readonly proxy?: string | null;
}

/**
 * Keys from `uri`, which is https, or http on loopback; throws otherwise. The limits of the cache are one for all key ids,
 * so that tokens with invented ones cannot make the relay flood the issuer:
 *
 * - keys are asked for again when older than 10 minutes, and serve for 4 hours after the last good answer;
 * - an unknown key id, or an old set, leads to one refetch in 30 seconds at most; before the first answer, one in 5;
 * - until that refetch, a token with an unknown key id that may be younger than the set is told to come again;
 * - whoever needs keys while a fetch runs waits for that one, at most `timeoutMs` (default 5 s);
 * - redirects are not followed, answers over 256 KB or 100 keys are not read.
 */
export function jwksSource(uri: string, options: JwksOptions = {}): KeySource {
  requireSafe(uri);
  const { now = () => performance.now(), wallClock = Date.now, timeoutMs = 5_000, proxy = null } = options;
  const closing = new AbortController();
  let set: KeySet = { keys: [], leftOut: new Map() };
  /** When the last good answer was asked for, by the wall clock. */
  let setOf = Number.NEGATIVE_INFINITY;
  let answeredAt = Number.NEGATIVE_INFINITY;
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let refetchedAt = Number.NEGATIVE_INFINITY;
  let failure: unknown = null;
  let running: Promise<void> | null = null;

  const fetchOnce = (): Promise<void> => {
    attemptedAt = now();
    const askedAt = wallClock();
    running = fetchKeys(uri, { proxy, timeoutMs, signal: closing.signal })
      .then((fetched) => {
        set = fetched;
        setOf = askedAt;
        answeredAt = now();
        failure = null;
      })
      .catch((error: unknown) => {
        failure = error;
      })
      .finally(() => {
        running = null;
      });
    return running;
  };

  /** Joins the fetch that runs, or starts one if it is time for it. */
  const refetch = async (): Promise<void> => {
    if (running !== null) return running;
    if (now() - refetchedAt < refetchEveryMs) return;
    refetchedAt = now();
    return fetchOnce();
  };

  const ready = async (): Promise<void> => {
    if (answeredAt === Number.NEGATIVE_INFINITY) {
      if (running !== null || now() - attemptedAt >= firstFetchEveryMs) await (running ?? fetchOnce());
    } else if (now() - answeredAt >= freshMs) {
      await refetch();
    }
    if (now() - answeredAt >= usableMs) throw unavailable(failure);
  };

  /** Whether the key of a token may have been published after the set was asked for; `iat` is in whole seconds. */
  const mayBeNewer = (arrivedAt: number, issuedAt: number | null): boolean =>
    setOf < arrivedAt && (issuedAt === null || Math.floor(setOf / 1000) <= issuedAt);

  return {
    async find({ alg, kid }, issuedAt) {
      // Before anything is fetched for it: no key of a JWKS serves `none` or a shared secret.
      if (!asymmetric.some((one) => one === alg)) throw wrongAlgorithm(alg, asymmetric, 'A key set has keys for');
      const arrivedAt = wallClock();
      const before = answeredAt;
      await ready();
      if (kid === null) return only(fitting(set.keys, alg));
      const named = () => set.keys.filter((key) => key.kid === kid);
      if (named().length === 0 && (answeredAt === before || setOf < arrivedAt)) await refetch();
      if (named().length > 0) return distinct(fitting(named(), alg, 'The keys of its name (kid) verify'));
      const unusable = set.leftOut.get(kid);
      if (unusable !== undefined) {
        throw refusal(`The key that the token names (kid) is one that this relay cannot use: ${unusable}.`);
      }
      if (mayBeNewer(arrivedAt, issuedAt))
        throw unavailable(
          failure ?? new Error(`no key ${JSON.stringify(kid)} yet; they are asked for again soon`),
          Math.max(1000, refetchedAt + refetchEveryMs - now()),
        );
      throw refusal("The token's key id (kid) is not among the issuer's keys.");
    },
    warm: ready,
    close: () => closing.abort(),
  };
}

/** Each key once. A set may have several under one name, of which one must verify (RFC 7517 section 4.5). */
function distinct({ keys, algorithm }: FittingKeys): FittingKeys {
  const isFirst = (key: KeyObject, index: number) => keys.findIndex((other) => other.equals(key)) === index;
  return { keys: keys.filter(isFirst), algorithm };
}

/** The one key, which may be in the set several times. */
function only(fit: FittingKeys): FittingKeys {
  const one = distinct(fit);
  if (one.keys.length === 1) return one;
  throw refusal('The token must name its key (kid), since the issuer has more than one.');
}

async function fetchKeys(uri: string, asked: Pick<Outbound, 'proxy' | 'signal' | 'timeoutMs'>): Promise<KeySet> {
  const { status, body } = await request({
    url: uri,
    headers: { accept: 'application/json' },
    maxBytes: maxBodyBytes,
    ...asked,
  });
  if (status !== 200) throw new Error(`the JWKS endpoint answered ${status}`);
  return keysIn(JSON.parse(body.toString()));
}

function requireSafe(uri: string): void {
  if (!URL.canParse(uri)) throw new Error('The JWKS URI is not a URL.');
  const url = new URL(uri);
  if (!isSafe(url)) {
    throw new Error('The JWKS URI must be https (http only for loopback): who changes the keys can sign tokens.');
  }
  if (url.username || url.password) throw new Error('The JWKS URI must not contain a user name or password.');
}

function unavailable(cause: unknown, retryAfterMs = firstFetchEveryMs): RelayError {
  return new RelayError('overloaded', 'Keys to verify tokens are not available right now.', { cause, retryAfterMs });
}

function refusal(message: string): RelayError {
  return new RelayError('unauthorized', message);
}

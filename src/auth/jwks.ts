/** Verifying keys from a JWKS endpoint: cached, refetched seldom, and kept through an outage. */

import { createPublicKey } from 'node:crypto';
import type { Algorithm } from 'jsonwebtoken';
import jwksRsa, { type SigningKey } from 'jwks-rsa';
import { RelayError } from '../errors.js';
import { algorithmsOf, type KeySource, type VerifyingKey, wrongAlgorithm } from './keys.js';

const freshMs = 10 * 60_000;
const usableMs = 4 * 3600_000;
const refetchEveryMs = 30_000;
const firstFetchEveryMs = 5_000;
const maxBodyBytes = 256 * 1024;
const maxKeys = 100;

/**
 * Keys from `uri`, which is https, or http on loopback; throws otherwise. The cache differs from the one of jwks-rsa in
 * that its limits are one for all key ids, so that tokens with invented ones cannot make the relay flood the issuer:
 *
 * - keys are asked for again when older than 10 minutes, and serve for 4 hours after the last good answer;
 * - an unknown key id, or an old set, leads to one refetch in 30 seconds at most; before the first answer, one in 5;
 * - whoever needs keys while a fetch runs waits for that one, at most `timeoutMs` (default 5 s);
 * - redirects are not followed, answers over 256 KB or 100 keys are not read.
 */
export function jwksSource(uri: string, now: () => number, timeoutMs = 5_000): KeySource {
  requireSafe(uri);
  const closing = new AbortController();
  const client = jwksRsa({
    jwksUri: uri,
    cache: false,
    fetcher: () => fetchKeys(uri, AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)])),
  });
  let keys: readonly VerifyingKey[] = [];
  let answeredAt = Number.NEGATIVE_INFINITY;
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let refetchedAt = Number.NEGATIVE_INFINITY;
  let failure: unknown = null;
  let running: Promise<void> | null = null;

  const fetchOnce = (): Promise<void> => {
    attemptedAt = now();
    running = load(client.getSigningKeys())
      .then((loaded) => {
        keys = loaded;
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

  return {
    async find({ alg, kid }) {
      // Before anything is fetched for it: no key of a JWKS serves `none` or a shared secret.
      if (!/^(?:RS|PS|ES)(?:256|384|512)$/.test(alg)) throw wrongAlgorithm();
      const before = answeredAt;
      await ready();
      let named = select(keys, kid);
      if (named.length === 0 && kid !== null) {
        if (answeredAt === before) await refetch();
        named = select(keys, kid);
        if (named.length === 0 && failure) throw unavailable(failure);
      }
      if (named.length === 0) throw refusal("The token's key id (kid) is not among the issuer's keys.");
      const [fit, ...more] = named.filter(({ algorithms }) => algorithms.some((one) => one === alg));
      if (!fit) throw wrongAlgorithm();
      if (more.length > 0) throw refusal('The token must name its key (kid), since the issuer has more than one.');
      return { key: fit.key, algorithm: alg as Algorithm };
    },
    warm: ready,
    close: () => closing.abort(),
  };
}

/** The keys a token may mean: those with its key id, or any when it names none. */
function select(keys: readonly VerifyingKey[], kid: string | null): readonly VerifyingKey[] {
  return kid === null ? keys : keys.filter((key) => key.kid === kid);
}

async function load(signing: Promise<SigningKey[]>): Promise<readonly VerifyingKey[]> {
  const keys = (await signing).map((each): VerifyingKey => {
    const key = createPublicKey(each.getPublicKey());
    const possible = algorithmsOf(key);
    const algorithms = each.alg === undefined ? possible : possible.filter((one) => one === each.alg);
    return { kid: each.kid ?? null, algorithms, key };
  });
  const usable = keys.filter(({ algorithms }) => algorithms.length > 0);
  if (usable.length === 0) throw new Error('the JWKS holds no key that can verify a token');
  return usable;
}

async function fetchKeys(uri: string, signal: AbortSignal): Promise<{ keys: unknown }> {
  const response = await fetch(uri, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  if (response.status !== 200 || !response.body) {
    await response.body?.cancel();
    throw new Error(`the JWKS endpoint answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the body, and with it the connection.
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxBodyBytes) throw new Error('the JWKS is over 256 KB');
    chunks.push(chunk);
  }
  const { keys } = Object(JSON.parse(Buffer.concat(chunks).toString())) as { keys?: unknown };
  if (!Array.isArray(keys) || keys.length > maxKeys)
    throw new Error(`the JWKS is not a list of at most ${maxKeys} keys`);
  return { keys: keys.filter(isForVerifying) };
}

/** RFC 7517 section 4.3: a key published for other operations does not verify. `oct` and private keys jwks-rsa leaves out. */
function isForVerifying(jwk: unknown): boolean {
  if (typeof jwk !== 'object' || jwk === null) return false;
  const { key_ops: operations } = jwk as { key_ops?: unknown };
  return operations === undefined || (Array.isArray(operations) && operations.includes('verify'));
}

function requireSafe(uri: string): void {
  if (!URL.canParse(uri)) throw new Error('The JWKS URI is not a URL.');
  const { protocol, hostname, username, password } = new URL(uri);
  const isLoopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
  if (protocol !== 'https:' && !(protocol === 'http:' && isLoopback)) {
    throw new Error('The JWKS URI must be https (http only for loopback): who changes the keys can sign tokens.');
  }
  if (username || password) throw new Error('The JWKS URI must not contain a user name or password.');
}

function unavailable(cause: unknown): RelayError {
  return new RelayError('overloaded', 'Keys to verify tokens are not available right now.', {
    cause,
    retryAfterMs: firstFetchEveryMs,
  });
}

function refusal(message: string): RelayError {
  return new RelayError('unauthorized', message);
}

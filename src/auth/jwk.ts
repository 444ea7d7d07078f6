/** The keys of a JWK set (RFC 7517) that can verify a token; what cannot costs nobody but itself. */

import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { algorithmsOf, type VerifyingKey } from './keys.js';

/** What a JWK set holds. */
export interface KeySet {
  readonly keys: readonly VerifyingKey[];
  /** Why the other keys cannot be used, by key id. */
  readonly leftOut: ReadonlyMap<string, string>;
}

const maxKeys = 100;

/**
 * Takes a JWK set apart. Throws an Error fit for a report when it is none, when it has over 100 keys, and when no key of it
 * can verify a token; it says why for each.
 */
export function keysIn(json: unknown): KeySet {
  const { keys: listed, jwks_uri: elsewhere } = fieldsOf(json);
  if (!Array.isArray(listed) && typeof elsewhere === 'string') {
    throw new Error(`this is a discovery document and no JWKS; its jwks_uri is ${clean(elsewhere)}, set that instead`);
  }
  if (!Array.isArray(listed) || listed.length > maxKeys) {
    throw new Error(`the JWKS is not a list of at most ${maxKeys} keys`);
  }
  const keys: VerifyingKey[] = [];
  const leftOut = new Map<string, string>();
  for (const jwk of listed) {
    const key = keyOf(jwk);
    if (typeof key !== 'string') keys.push(key);
    else leftOut.set(kidOf(jwk) ?? '', key);
  }
  if (keys.length === 0) {
    const why = [...leftOut].map(([kid, reason]) => `${kid === '' ? 'a key without kid' : clean(kid)}: ${reason}`);
    throw new Error(['the JWKS holds no key that can verify a token', ...why].join('; ').slice(0, 1000));
  }
  return { keys, leftOut };
}

/** A key that can verify, or why it cannot. Members that are null count as absent: some providers write all of them. */
function keyOf(jwk: unknown): VerifyingKey | string {
  const { kty, crv, use, alg, d, key_ops: operations } = fieldsOf(jwk);
  if (typeof kty !== 'string') return 'it is no JWK';
  if (kty === 'oct') return 'it is a shared secret, which nobody should publish';
  if (d !== undefined && d !== null) return 'it is a private key, which nobody should publish';
  if (use !== undefined && use !== null && use !== 'sig') return `it is for another use (${clean(use)})`;
  // RFC 7517 section 4.3. An empty list is what some libraries write for none given.
  const isFor = operations ?? [];
  if (!Array.isArray(isFor) || (isFor.length > 0 && !isFor.includes('verify')))
    return 'its key_ops are not for verifying';
  const kind = `${clean(kty)}${typeof crv === 'string' ? ` ${clean(crv)}` : ''}`;
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
    const possible = algorithmsOf(key);
    if (possible.length === 0) return `keys of this kind are too weak or not supported (${kind})`;
    const algorithms = alg === undefined || alg === null ? possible : possible.filter((one) => one === alg);
    if (algorithms.length === 0) return `its algorithm (${clean(alg)}) is not supported for ${kind}`;
    return { kid: kidOf(jwk), algorithms, key };
  } catch {
    // What is wrong with it Node says in words for programmers.
    return `it cannot be read (${kind})`;
  }
}

function kidOf(jwk: unknown): string | null {
  const { kid } = fieldsOf(jwk);
  return typeof kid === 'string' ? kid : null;
}

function fieldsOf(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : {};
}

/** The issuer's text, fit for a log line. */
function clean(value: unknown): string {
  return String(typeof value === 'string' ? value : JSON.stringify(value))
    .replace(/[^\x21-\x7e]/g, '?')
    .slice(0, 200);
}

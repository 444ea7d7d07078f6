/** Decides whether a token is genuine, for this relay, and still good. */

import type { KeyObject } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { RelayError } from '../errors.js';
import { plainRules } from './claims.js';
import { jwksSource } from './jwks.js';
import { type FittingKeys, type KeySource, publicKeySource, type SharedSecret, secretSource } from './keys.js';
import { type Principal, principalFrom, type TrustedIssuer, unknownIssuer } from './principal.js';
import { readToken } from './structure.js';

export { checkSecret } from './keys.js';
export type { Principal } from './principal.js';

/** Where the keys of an issuer come from; the algorithms follow from this, never from a token. */
export type TrustedKeys =
  | { readonly kind: 'secrets'; readonly secrets: readonly SharedSecret[] }
  | { readonly kind: 'public_keys'; readonly pems: readonly string[] }
  | { readonly kind: 'jwks'; readonly uri: string; readonly proxy?: string | null };

/** What holds for the tokens of all issuers. */
export interface VerifierOptions {
  /** How far clocks may differ: 0 to 60, default 30. */
  readonly leewaySeconds?: number;
  /** How long a token may be good for at the most, default 400 days. */
  readonly maxSeconds?: number;
  /** Unix time in milliseconds; the system's by default. */
  readonly now?: () => number;
}

/** One issuer with one audience, whose claims have the names and values of the relay's own. */
export interface VerifierSettings extends VerifierOptions {
  readonly issuer: string;
  readonly audience: string;
  readonly source:
    | TrustedKeys
    | { readonly kind: 'secret'; readonly secret: string }
    | { readonly kind: 'public_key'; readonly pem: string };
}

/** Turns tokens into principals. */
export interface Verifier {
  /**
   * Who the token says this is. Rejects with `token_expired` for a genuine token that ran out, `overloaded` when the keys
   * are out of reach, `unauthorized` for anything else; messages tell a developer what to fix and quote no token.
   */
  verify(token: string): Promise<Principal>;
  /** Makes the keys ready before the first token comes. Rejects with `overloaded` when those of no issuer can be had. */
  warm(): Promise<void>;
  /** Gives up a fetch of keys that is under way. */
  close(): void;
}

/** A verifier for one issuer. Throws an Error that names the problem when the settings are not usable. */
export function createVerifier(settings: VerifierSettings): Verifier {
  const { issuer, audience, source, ...options } = settings;
  if (!issuer || !audience) throw new Error('The issuer and the audience of tokens must be configured.');
  const trusted = { ...plainRules, names: new Map([[issuer, null]]), audiences: [audience], clientIds: [] };
  return createVerifierOf([{ ...trusted, keys: keySource(many(source), options) }], options);
}

/** A verifier for several issuers, of which a token's claim `iss` chooses. Throws an Error for options out of range. */
export function createVerifierOf(
  issuers: readonly (TrustedIssuer & { readonly keys: KeySource })[],
  options: VerifierOptions = {},
): Verifier {
  const { leewaySeconds = 30, maxSeconds = 400 * 86_400, now = Date.now } = options;
  if (!(leewaySeconds >= 0 && leewaySeconds <= 60)) throw new Error('The leeway must be 0 to 60 seconds.');
  const byName = new Map(issuers.flatMap((issuer) => [...issuer.names.keys()].map((name) => [name, issuer] as const)));
  return {
    async verify(token) {
      const { header, claims } = readToken(token);
      const { iss, iat } = claims;
      // Not verified yet: it only chooses the keys that must.
      const issuer = typeof iss === 'string' ? byName.get(iss) : undefined;
      if (!issuer) throw unknownIssuer(iss);
      verifySignature(token, await issuer.keys.find(header, typeof iat === 'number' ? iat : null));
      return principalFrom(claims, issuer, { leewaySeconds, maxSeconds }, now() / 1000);
    },
    async warm() {
      // All of them are asked; the outage of one is no reason to turn away the users of the others.
      await Promise.any(issuers.map(({ keys }) => keys.warm())).catch(({ errors: [first] }: AggregateError) => {
        throw first;
      });
    },
    close() {
      for (const { keys } of issuers) keys.close();
    },
  };
}

function many(source: VerifierSettings['source']): TrustedKeys {
  if (source.kind === 'secret') return { kind: 'secrets', secrets: [source.secret] };
  return source.kind === 'public_key' ? { kind: 'public_keys', pems: [source.pem] } : source;
}

/** The keys of an issuer. Throws an Error that names the problem when they cannot verify anything. */
export function keySource(source: TrustedKeys, { now }: VerifierOptions = {}): KeySource {
  switch (source.kind) {
    case 'secrets':
      return secretSource(source.secrets);
    case 'public_keys':
      return publicKeySource(source.pems);
    case 'jwks':
      return jwksSource(source.uri, { proxy: source.proxy ?? null, ...(now && { now, wallClock: now }) });
  }
}

/**
 * The library judges the signature alone. Its checks of claims pass over a missing `exp` or an odd `aud`, and tell failures
 * apart by message text only, so principal.ts holds the claims against the settings after this.
 */
function verifySignature(token: string, { keys, algorithm, near = [] }: FittingKeys): void {
  const problemWith = (key: KeyObject): unknown => {
    try {
      jwt.verify(token, key, { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true });
      return null;
    } catch (error) {
      return error;
    }
  };
  let cause: unknown;
  for (const key of keys) {
    cause = problemWith(key);
    if (cause === null) return;
  }
  // For the log alone: whoever sent the token learns nothing of it.
  const meant = near.find(({ key }) => problemWith(key) === null);
  if (meant) cause = new Error(meant.hint);
  throw new RelayError('unauthorized', "The token's signature does not match the key this relay is configured for.", {
    cause,
  });
}

/** Decides whether a token is genuine, for this relay, and still good. */

import jwt from 'jsonwebtoken';
import { RelayError } from '../errors.js';
import { jwksSource } from './jwks.js';
import { type FittingKeys, type KeySource, publicKeySource, secretSource } from './keys.js';
import { type Principal, principalFrom } from './principal.js';
import { readToken } from './structure.js';

export { checkSecret } from './keys.js';
export type { Principal } from './principal.js';

/** How tokens are verified. The algorithms follow from `source`, never from the token. */
export interface VerifierSettings {
  /** Compared exactly with the claim `iss`. */
  readonly issuer: string;
  /** Must be among the claim `aud`, exactly. */
  readonly audience: string;
  /** How far clocks may differ: 0 to 60, default 30. */
  readonly leewaySeconds?: number;
  /** How long a token may be good for at the most, default 400 days. */
  readonly maxSeconds?: number;
  readonly source:
    | { readonly kind: 'secret'; readonly secret: string }
    | { readonly kind: 'public_key'; readonly pem: string }
    | { readonly kind: 'jwks'; readonly uri: string };
  /** Unix time in milliseconds; the system's by default. */
  readonly now?: () => number;
}

/** Turns tokens into principals. */
export interface Verifier {
  /**
   * Who the token says this is. Rejects with `token_expired` for a genuine token that ran out, `overloaded` when the keys
   * are out of reach, `unauthorized` for anything else; messages tell a developer what to fix and quote no token.
   */
  verify(token: string): Promise<Principal>;
  /** Makes the keys ready before the first token comes. Rejects with `overloaded` when they cannot be had. */
  warm(): Promise<void>;
  /** Gives up a fetch of keys that is under way. */
  close(): void;
}

/** A verifier for these settings. Throws an Error that names the problem when they are not usable. */
export function createVerifier(settings: VerifierSettings): Verifier {
  const { issuer, audience, leewaySeconds = 30, maxSeconds = 400 * 86_400, now = Date.now } = settings;
  if (!issuer || !audience) throw new Error('The issuer and the audience of tokens must be configured.');
  if (!(leewaySeconds >= 0 && leewaySeconds <= 60)) throw new Error('The leeway must be 0 to 60 seconds.');
  const keys = sourceOf(settings);
  return {
    async verify(token) {
      const { header, claims } = readToken(token);
      const { iat } = claims;
      verifySignature(token, await keys.find(header, typeof iat === 'number' ? iat : null));
      return principalFrom(claims, { issuer, audience, leewaySeconds, maxSeconds }, now() / 1000);
    },
    warm: () => keys.warm(),
    close: () => keys.close(),
  };
}

function sourceOf({ source, now }: VerifierSettings): KeySource {
  switch (source.kind) {
    case 'secret':
      return secretSource([source.secret]);
    case 'public_key':
      return publicKeySource([source.pem]);
    case 'jwks':
      return jwksSource(source.uri, now && { now, wallClock: now });
  }
}

/**
 * The library judges the signature alone. Its checks of claims pass over a missing `exp` or an odd `aud`, and tell failures
 * apart by message text only, so principal.ts holds the claims against the settings after this.
 */
function verifySignature(token: string, { keys, algorithm }: FittingKeys): void {
  let cause: unknown;
  for (const key of keys) {
    try {
      jwt.verify(token, key, { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true });
      return;
    } catch (error) {
      cause = error;
    }
  }
  throw new RelayError('unauthorized', "The token's signature does not match the key this relay is configured for.", {
    cause,
  });
}

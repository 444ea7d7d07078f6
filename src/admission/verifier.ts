/** Who the relay believes: the verifier of app tokens, and what the users of an issuer may have together. */

import { createVerifierOf, keySource, type Verifier } from '../auth/verify.js';
import type { Settings } from '../config/settings.js';
import { proxyFor } from '../outbound/proxy.js';
import { orConfigError } from '../problems.js';

/** What the users of one issuer may have together. */
export interface IssuerLimits {
  /** The name of the issuer in keys. */
  readonly key: string;
  /** Sessions at the same time. */
  readonly sessions: number;
  readonly connects_per_second?: number | undefined;
  readonly tokens_per_day?: number | undefined;
}

/**
 * The verifier of app tokens.
 * @throws ConfigError for a key that cannot verify anything
 */
export function createTokenVerifier({ auth, proxy }: Settings): Verifier {
  const { maxSeconds } = auth;
  const issuers = auth.issuers.map(({ source, keySetting, ...issuer }) => {
    const via = source.kind === 'jwks' ? { ...source, proxy: proxyFor(new URL(source.uri), proxy) } : source;
    return { ...issuer, keys: orConfigError(keySetting, () => keySource(via)) };
  });
  return createVerifierOf(issuers, { maxSeconds });
}

/** What the users of an issuer may have together, or null where nothing is said of it. */
export function issuerLimitsOf(issuers: Settings['auth']['issuers'], iss: string, all: number): IssuerLimits | null {
  const issuer = issuers.find(({ names }) => names.has(iss));
  const { sessions, connects_per_second, tokens_per_day } = issuer?.limits ?? {};
  const isFree = [sessions, connects_per_second, tokens_per_day].every((limit) => limit === undefined);
  if (!issuer || isFree) return null;
  return { key: issuer.issuer, sessions: partOf(sessions, all), connects_per_second, tokens_per_day };
}

/** Which issuer's a token is, and how many sidebands of all there may be its backends may have. */
export function sidebandsOf(
  issuers: Settings['auth']['issuers'],
  iss: string,
  all: number,
): { readonly key: string; readonly most: number } {
  const issuer = issuers.find(({ names }) => names.has(iss));
  return { key: issuer?.issuer ?? iss, most: partOf(issuer?.limits.sidebands, all) };
}

function partOf(limit: number | 'half' | undefined, all: number): number {
  return limit === 'half' ? Math.ceil(all / 2) : Math.min(limit ?? all, all);
}

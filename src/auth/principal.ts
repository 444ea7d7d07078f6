/** Who a verified token says this is. */

import { RelayError } from '../errors.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { type ClaimRules, detail, profileIn, refusal, scopesIn, tenantIn, textOf } from './claims.js';

/** Who a user is wherever users are compared: the same name at another issuer, or in another tenant, is somebody else. */
export interface User {
  /** The claim `iss`. */
  readonly issuer: string;
  readonly tenant: string | null;
  /** The claim `sub`: 1 to 256 characters without control characters. */
  readonly subject: string;
}

/** The user or service behind a credential: what a session may rely on. Frozen. */
export interface Principal extends User {
  /** The claim `profile`, or `default`. Whether such a profile exists is not checked here. */
  readonly profile: string;
  readonly scopes: readonly string[];
  /** The claim `exp`, in unix seconds: when the right to a session ends. */
  readonly expiresAt: number;
  /** All claims of the token; the object has no prototype, so that only what was signed is found in it. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Whose tokens are accepted, and what they say. */
export interface TrustedIssuer extends ClaimRules {
  /** The values of the claim `iss` that mean this issuer, compared exactly; those with a tenant in them, with that tenant. */
  readonly names: ReadonlyMap<string, string | null>;
  /** One of them must be among the claim `aud`, exactly; null for an issuer whose tokens have no audience. */
  readonly audiences: readonly string[] | null;
  /** The applications whose tokens are accepted; empty: all. There is one at least where there is no audience. */
  readonly clientIds: readonly string[];
}

/** What claims are held against, beside their issuer. */
export interface Expectations {
  readonly leewaySeconds: number;
  /** How long a token may be good for at the most. */
  readonly maxSeconds: number;
}

/** The name of a user in keys of places, budgets and whatever else is counted for each user. */
export function userKey({ issuer, tenant, subject }: User): string {
  return JSON.stringify([issuer, tenant, subject]);
}

/** The name of a user's tenant in such keys; null for a user without one. */
export function tenantKey({ issuer, tenant }: Pick<User, 'issuer' | 'tenant'>): string | null {
  return tenant === null ? null : JSON.stringify([issuer, tenant]);
}

/** What of a user's is counted together with that of others, in one step: all of a tenant, or of a user without one. */
export function groupOf(user: User): string {
  const tenant = tenantKey(user);
  return tenant === null ? `u:${userKey(user)}` : `t:${tenant}`;
}

/** Whose token it was that ran out, where that is why somebody was refused: it was genuine. */
export function expiredUser({ id, cause }: RelayError): User | null {
  return id === 'token_expired' && cause instanceof Error ? ((cause as { user?: User }).user ?? null) : null;
}

/**
 * The principal of claims whose signature was verified (RFC 7519 section 4.1). Throws `token_expired` for a token that ran
 * out, `forbidden` for a profile that its issuer may not name, and `unauthorized` for anything else that does not hold.
 */
export function principalFrom(
  claims: JsonObject,
  trusted: TrustedIssuer,
  expected: Expectations,
  nowSeconds: number,
): Principal {
  const { iss } = claims;
  if (typeof iss !== 'string' || !trusted.names.has(iss)) throw unknownIssuer(iss);
  const home = trusted.names.get(iss) ?? null;
  if (home !== null && claims.tid !== undefined && claims.tid !== home) {
    throw refusal("The token's tenant (tid) is not the one of its issuer (iss).", claims.tid);
  }
  checkAudience(claims, trusted);
  const subject = textOf(claims, 'sub', 256);
  if (subject === null) throw refusal('The token names no subject (sub).', claims.sub);
  // By it one token is withdrawn; one of another type could not be (RFC 7519 section 4.1.7).
  textOf(claims, 'jti', 256);
  const tenant = tenantIn(claims, trusted);
  const expiresAt = within(claims, expected, nowSeconds, { issuer: iss, tenant, subject });
  return Object.freeze({
    issuer: iss,
    subject,
    profile: profileIn(claims, trusted),
    tenant,
    scopes: Object.freeze(scopesIn(claims, tenant, trusted)),
    expiresAt,
    claims: Object.freeze(Object.assign(Object.create(null), claims) as Record<string, unknown>),
  });
}

/** The refusal of an issuer that is not configured. */
export function unknownIssuer(iss: Json | undefined): RelayError {
  if (iss === undefined || iss === null) return refusal('The token names no issuer (iss).', iss);
  return refusal("The token's issuer (iss) does not match; expected an issuer this relay is configured for.", iss);
}

function checkAudience({ aud, client_id, azp, appid }: JsonObject, { audiences, clientIds }: TrustedIssuer): void {
  const named = Array.isArray(aud) ? aud : [aud];
  if (audiences === null) {
    // What is meant for somebody else must not open this door.
    if (aud !== undefined && aud !== null) {
      throw refusal(
        'The token has an audience (aud), but this relay is configured for tokens of its issuer without.',
        aud,
      );
    }
  } else if (aud === undefined || aud === null) {
    throw refusal('The token names no audience (aud), and this relay is configured for one.', aud);
  } else if (!named.every((one) => typeof one === 'string') || !audiences.some((one) => named.includes(one))) {
    throw refusal(
      "The token's audience (aud) does not match; expected the audience this relay is configured for.",
      aud,
    );
  }
  if (clientIds.length === 0) return;
  // RFC 9068 section 2.2, OpenID Connect Core section 2, and what Entra ID writes in tokens of version 1.
  const apps = [client_id, azp, appid].filter((one) => one !== undefined && one !== null);
  if (apps.length === 0 || !apps.every((one) => clientIds.some((id) => id === one))) {
    throw refusal(
      "The token's application (client_id, azp or appid) is not one that this relay is configured for.",
      apps[0],
    );
  }
}

/** Holds `exp`, `nbf` and `iat` against the clock; returns `exp`. */
function within(
  claims: JsonObject,
  { leewaySeconds, maxSeconds }: Expectations,
  nowSeconds: number,
  user: User,
): number {
  const { exp, iat } = claims;
  if (typeof exp !== 'number' || !Number.isSafeInteger(exp) || exp <= 0) {
    throw refusal('The token must say when it runs out: exp, a whole number of seconds since 1970.', exp);
  }
  // Counted from iat, so that there is a time after which nothing issued before a moment is good any more.
  const since = typeof iat === 'number' && iat >= 0 ? Math.min(iat, nowSeconds) : nowSeconds;
  if (exp > since + maxSeconds + leewaySeconds) {
    throw refusal(
      `The token is good for more than ${span(maxSeconds)}, the most that this relay takes; exp is in seconds, not in milliseconds.`,
      exp,
    );
  }
  if (nowSeconds >= exp + leewaySeconds) {
    const cause = Object.assign(detail(exp), { user });
    throw new RelayError('token_expired', 'The token has run out; get a new one.', { cause });
  }
  for (const [name, meaning] of [
    ['nbf', 'is not valid yet'],
    ['iat', 'was issued in the future'],
  ] as const) {
    const time = claims[name];
    if (time === undefined || time === null) continue;
    if (typeof time !== 'number' || time < 0) {
      throw refusal(`The token's ${name} must be a number of seconds since 1970.`, time);
    }
    if (time > nowSeconds + leewaySeconds) {
      throw refusal(`The token ${meaning} (${name}); check the issuer's clock, and that it counts seconds.`, time);
    }
  }
  return exp;
}

function span(seconds: number): string {
  return seconds % 86_400 === 0 ? `${seconds / 86_400} days` : `${seconds} seconds`;
}

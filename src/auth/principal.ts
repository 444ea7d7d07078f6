/** Who a verified token says this is. */

import { RelayError } from '../errors.js';
import type { Json, JsonObject } from '../protocol/event.js';

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

/** What claims are held against. */
export interface Expectations {
  readonly issuer: string;
  readonly audience: string;
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

// Controls and line separators split log lines and headers; lone surrogates cannot be written as UTF-8.
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * The principal of claims whose signature was verified (RFC 7519 section 4.1). Throws `token_expired` for a token that ran
 * out, and `unauthorized` for anything else that does not hold.
 */
export function principalFrom(claims: JsonObject, expected: Expectations, nowSeconds: number): Principal {
  const { iss, aud } = claims;
  if (iss !== expected.issuer) {
    throw refusal("The token's issuer (iss) does not match; expected the issuer this relay is configured for.", iss);
  }
  const audiences = Array.isArray(aud) ? aud : [aud];
  if (!audiences.every((one) => typeof one === 'string') || !audiences.includes(expected.audience)) {
    throw refusal(
      "The token's audience (aud) does not match; expected the audience this relay is configured for.",
      aud,
    );
  }
  const subject = text(claims, 'sub', 256);
  if (subject === null) throw refusal('The token names no subject (sub).', claims.sub);
  // By it one token is withdrawn; one of another type could not be (RFC 7519 section 4.1.7).
  text(claims, 'jti', 256);
  const expiresAt = within(claims, expected, nowSeconds);
  return Object.freeze({
    issuer: expected.issuer,
    subject,
    profile: text(claims, 'profile', 128) ?? 'default',
    tenant: text(claims, 'tenant', 256),
    scopes: Object.freeze(scopesOf(claims.scope)),
    expiresAt,
    claims: Object.freeze(Object.assign(Object.create(null), claims) as Record<string, unknown>),
  });
}

/** Holds `exp`, `nbf` and `iat` against the clock; returns `exp`. */
function within(claims: JsonObject, { leewaySeconds, maxSeconds }: Expectations, nowSeconds: number): number {
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
    throw new RelayError('token_expired', 'The token has run out; get a new one.', { cause: detail(exp) });
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

function text(claims: JsonObject, name: string, maxLength: number): string | null {
  const value = claims[name];
  // Some libraries write what they do not set as null.
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string' || value === '' || value.length > maxLength || unprintable.test(value)) {
    throw refusal(
      `The token's ${name} must be a string of 1 to ${maxLength} characters, without control characters.`,
      value,
    );
  }
  return value;
}

/** Scopes as RFC 8693 section 4.2 writes them, separated by spaces, or as a list. */
function scopesOf(scope: Json | undefined): string[] {
  const scopes = typeof scope === 'string' ? scope.split(' ').filter((one) => one !== '') : (scope ?? []);
  if (!Array.isArray(scopes) || !scopes.every((one) => typeof one === 'string' && !unprintable.test(one))) {
    throw refusal("The token's scope must be a string or a list of strings, without control characters.", scope);
  }
  return scopes as string[];
}

function refusal(message: string, value: Json | undefined): RelayError {
  return new RelayError('unauthorized', message, { cause: detail(value) });
}

/** The value at fault, for the log: signed by a trusted issuer, yet cut short and escaped. */
function detail(value: Json | undefined): Error {
  return new Error(`the claim is ${(JSON.stringify(value) ?? 'missing').slice(0, 200)}`);
}

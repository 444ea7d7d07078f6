/** Which claims of a token say what, for each issuer: names, values and what they come to. */

import { RelayError } from '../errors.js';
import type { Json, JsonObject } from '../protocol/event.js';

/** Whether scopes that begin with `relay.` count: never, only with a tenant and for it, or as they are. */
type ControlReach = 'none' | 'tenant' | 'all';

/** How the claims of an issuer are read. */
export interface ClaimRules {
  /** Names of claims, each the claim of that name, or else the path to one in objects. Several are united. */
  readonly claims: {
    readonly profile: readonly string[];
    readonly tenant: readonly string[];
    readonly scope: readonly string[];
  };
  readonly profiles: {
    /** The profile for each value; null: the value is the profile's name. */
    readonly map: ReadonlyMap<string, string> | null;
    /** For tokens without such a claim. */
    readonly default: string;
  };
  /** Other names of scopes. */
  readonly scopes: ReadonlyMap<string, string>;
  readonly control: ControlReach;
}

/** The rules of an issuer that is configured by variables. */
export const plainRules: ClaimRules = {
  claims: { profile: ['profile'], tenant: ['tenant'], scope: ['scope'] },
  profiles: { map: null, default: 'default' },
  scopes: new Map(),
  control: 'all',
};

// Controls and line separators split log lines and headers; lone surrogates cannot be written as UTF-8.
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;
// OpenID Connect Core section 5.1 has a claim `profile`, too: the address of the user's page.
const pageOfUser = /^https?:\/\//i;

/** The profile that the claims come to. Throws `forbidden` for a value that the issuer may not use. */
export function profileIn(claims: JsonObject, { claims: names, profiles }: ClaimRules): string {
  const { map } = profiles;
  const values = names.profile.flatMap((name) =>
    texts(claims, name, 128).filter((value) => name !== 'profile' || map?.has(value) || !pageOfUser.test(value)),
  );
  const [first, ...more] = new Set(values);
  if (first === undefined) return profiles.default;
  if (map === null) {
    if (more.length === 0) return first;
    throw refusal("The token's claim of the profile is a list of several; profiles.map must say which counts.", values);
  }
  for (const [value, profile] of map) if (values.includes(value)) return profile;
  throw new RelayError(
    'forbidden',
    "No value of the token's claim of the profile is in the list of its issuer (profiles.map).",
    { cause: detail(values) },
  );
}

/** The tenant that the claims name, or null. */
export function tenantIn(claims: JsonObject, { claims: names }: ClaimRules): string | null {
  const values = new Set(names.tenant.flatMap((name) => texts(claims, name, 256)));
  const [tenant = null] = values;
  if (values.size > 1) throw refusal(`The token names several tenants (${names.tenant.join(', ')}).`, [...values]);
  return tenant;
}

/** The scopes of a token in this relay's names; those that its issuer has no right to give are left out. */
export function scopesIn(claims: JsonObject, tenant: string | null, rules: ClaimRules): string[] {
  const all = rules.claims.scope.flatMap((name) => scopesOf(name, claimAt(claims, name)));
  const named = [...new Set(all.map((scope) => rules.scopes.get(scope) ?? scope))];
  const hasControl = rules.control === 'all' || (rules.control === 'tenant' && tenant !== null);
  return hasControl ? named : named.filter((scope) => !scope.startsWith('relay.'));
}

/** The text of a claim, or null. Null counts as absent: some libraries write it for what they do not set. */
export function textOf(claims: JsonObject, name: string, maxLength: number): string | null {
  const value = claimAt(claims, name);
  return value === undefined || value === null ? null : checked(name, value, maxLength);
}

/** The texts of a claim that may be a list. */
function texts(claims: JsonObject, name: string, maxLength: number): string[] {
  const value = claimAt(claims, name);
  if (Array.isArray(value)) return value.map((one) => checked(name, one, maxLength));
  return value === undefined || value === null ? [] : [checked(name, value, maxLength)];
}

function checked(name: string, value: Json | undefined, maxLength: number): string {
  if (typeof value !== 'string' || value === '' || value.length > maxLength || unprintable.test(value)) {
    throw refusal(
      `The token's ${name} must be a string of 1 to ${maxLength} characters, without control characters.`,
      value,
    );
  }
  return value;
}

/** Scopes as RFC 8693 section 4.2 writes them, separated by spaces, or as a list. */
function scopesOf(name: string, value: Json | undefined): string[] {
  const scopes = typeof value === 'string' ? value.split(' ').filter((one) => one !== '') : (value ?? []);
  if (!Array.isArray(scopes) || !scopes.every((one) => typeof one === 'string' && !unprintable.test(one))) {
    throw refusal(`The token's ${name} must be a string or a list of strings, without control characters.`, value);
  }
  return scopes as string[];
}

/** A claim with dots in its own name, which may be a URL, comes before a path. */
function claimAt(claims: JsonObject, path: string): Json | undefined {
  if (Object.hasOwn(claims, path)) return claims[path];
  let at: Json | undefined = claims;
  for (const key of path.split('.')) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, key)) return undefined;
    at = at[key];
  }
  return at;
}

/** The refusal of a claim, with its value for the log. */
export function refusal(message: string, value: Json | undefined): RelayError {
  return new RelayError('unauthorized', message, { cause: detail(value) });
}

/** The value at fault, for the log: signed by a trusted issuer, yet cut short and escaped. */
export function detail(value: Json | undefined): Error {
  return new Error(`the claim is ${(JSON.stringify(value) ?? 'missing').slice(0, 200)}`);
}

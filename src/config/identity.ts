/** Whose tokens are accepted: the part `auth` of the YAML file, or the variables that are its short form. */

import { z } from 'zod';
import type { Profile } from '../policy/profile.js';
import { usesClaims } from '../policy/render.js';
import { text } from './shapes.js';
import { type KeySettings, keySet, onlyOne, pemOf, secrets } from './sources.js';
import { tellsOfUser } from './toolrules.js';

const profileName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'a profile has a name of A-Z, a-z, 0-9, - and _');
const oneOrMore = z.union([text, z.array(text).min(1).max(10)]);

const issuer = z.strictObject({
  issuer: text.describe('Required `iss`, compared exactly. `{tid}` stands for one of `tenants`.'),
  tenants: z.array(text).min(1).max(1000).optional().describe('Tenants that `{tid}` may be.'),
  audience: z
    .union([text, z.array(text).min(1).max(100), z.null()])
    .optional()
    .describe('`aud` must be or contain it, or one of them. `null` for a provider that sends none, with `client_ids`.'),
  client_ids: z
    .array(text)
    .min(1)
    .max(100)
    .optional()
    .describe('Applications whose tokens are accepted, by `client_id`, `azp` or `appid`.'),
  jwks_uri: text
    .refine((uri) => URL.canParse(uri), 'must be a URL')
    .optional()
    .describe('Address of the key set. Exactly one of this and the next two.'),
  public_keys: z.array(text).min(1).max(10).optional().describe('Public keys as PEM text, or paths of PEM files.'),
  secrets: z
    .array(z.union([text, z.strictObject({ base64: text })]))
    .min(1)
    .max(10)
    .optional()
    .describe('HS256 secrets: the current one first. As text, or `{ base64: … }` of the bytes.'),
  claims: z
    .strictObject({
      profile: oneOrMore.optional().describe('Claims that name the profile.'),
      tenant: oneOrMore.optional().describe('Claims that name the tenant.'),
      scope: oneOrMore.optional().describe('Claims with scopes.'),
    })
    .prefault({})
    .describe('Names of claims; several are united, each may be a list, `a.b` is b in a.'),
  profiles: z
    .strictObject({
      map: z.record(text, profileName).optional().describe('Profile by the value of the claim; the first that fits.'),
      default: profileName.default('default').describe('Profile of tokens without the claim.'),
    })
    .prefault({}),
  scopes: z
    .strictObject({ map: z.record(text, text).default({}).describe('Scopes by the names the issuer has for them.') })
    .prefault({}),
  control: z
    .enum(['none', 'tenant', 'all'])
    .optional()
    .describe('Whose `relay.*` scopes count: of nobody, of tokens with a tenant and only for it, or of all tokens.'),
  limits: z
    .strictObject({
      sessions: z
        .number()
        .int()
        .min(1)
        .optional()
        .describe('Sessions of all its users at the same time. Left out: of several issuers half of limits.sessions.'),
      sidebands: z
        .number()
        .int()
        .min(1)
        .optional()
        .describe(
          'Sidebands of all its backends at the same time. Left out: of several issuers half of limits.sidebands.',
        ),
      connects_per_second: z
        .number()
        .positive()
        .max(10_000)
        .optional()
        .describe(
          'Sessions that all its users may begin, at a process; ten seconds of them at once. Left out: no limit.',
        ),
      tokens_per_day: z.number().int().min(1).optional().describe('Tokens of all its users in a UTC day.'),
    })
    .prefault({}),
});

/** The part `auth` of the YAML file. */
export const authSchema = z.strictObject({
  issuers: z.array(issuer).min(1).max(50).optional().describe('Left out: one, made from the variables RELAY_JWT_….'),
  cookie: z
    .string()
    .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/, 'a cookie has a name without blanks, quotes, commas and semicolons')
    .optional()
    .describe('Cookie with an app token, for pages of an origin that is listed literally; looked at last.'),
});

type Auth = z.output<typeof authSchema>;
type IssuerEntry = z.output<typeof issuer>;

/** One issuer, as configured. */
export interface IssuerSettings {
  /** As it was written. */
  readonly issuer: string;
  /** Every `iss` that means it; those with a tenant in them, with that tenant. */
  readonly names: ReadonlyMap<string, string | null>;
  readonly audiences: readonly string[] | null;
  readonly clientIds: readonly string[];
  readonly source: KeySettings;
  /** The setting that names the keys, for reports. */
  readonly keySetting: string;
  readonly claims: Readonly<Record<'profile' | 'tenant' | 'scope', readonly string[]>>;
  readonly profiles: { readonly map: ReadonlyMap<string, string> | null; readonly default: string };
  readonly scopes: ReadonlyMap<string, string>;
  readonly control: 'none' | 'tenant' | 'all';
  /** Of all its users together. The first two may be a half of what the instance has. */
  readonly limits: {
    readonly sessions?: number | 'half' | undefined;
    readonly sidebands?: number | 'half' | undefined;
    readonly connects_per_second?: number | undefined;
    readonly tokens_per_day?: number | undefined;
  };
}

/** The variables that are the short form of one issuer. */
interface IssuerVariables {
  readonly RELAY_JWT_SECRET?: string | undefined;
  readonly RELAY_JWT_SECRET_ENCODING: 'text' | 'base64';
  readonly RELAY_JWT_PUBLIC_KEY?: string | undefined;
  readonly RELAY_JWT_JWKS_URI?: string | undefined;
  readonly RELAY_JWT_ISSUER?: string | undefined;
  readonly RELAY_JWT_AUDIENCE?: string | undefined;
}

/** The issuers of the file, or the one of the variables. What is wrong is added to `problems`. */
export function issuersOf(
  { issuers: listed }: Auth,
  env: IssuerVariables,
  problems: string[],
  warnings: string[],
): IssuerSettings[] {
  if (!listed) return [fromVariables(env, problems)];
  for (const name of ['RELAY_JWT_ISSUER', 'RELAY_JWT_AUDIENCE'] as const) {
    if (env[name]) warnings.push(`${name} is ignored: RELAY_CONFIG lists auth.issuers.`);
  }
  const issuers = listed.map((entry, index) => fromEntry(entry, `auth.issuers.${index}`, listed.length > 1, problems));
  const names = issuers.flatMap((one) => [...one.names.keys()]);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) problems.push(`auth.issuers: the issuer ${twice} is there twice.`);
  return issuers;
}

/** The cookie with an app token, or null. Any page could have a browser send it, so it is for listed origins only. */
export function cookieOf({ cookie }: Auth, origins: readonly string[] | '*', problems: string[]): string | null {
  if (cookie === undefined) return null;
  if (origins === '*') {
    problems.push('auth.cookie: not together with RELAY_ALLOWED_ORIGINS=*; every page could act as its visitors.');
  }
  return cookie;
}

/** Checks what issuers and profiles say of each other, and gives the profiles their issuers' names as tokens have them. */
export function bindProfiles(
  profiles: Map<string, Profile>,
  issuers: readonly IssuerSettings[],
  problems: string[],
): void {
  for (const { issuer: name, profiles: named } of issuers) {
    for (const target of new Set([...(named.map?.values() ?? []), named.default])) {
      if (!profiles.has(target))
        problems.push(`auth.issuers: ${name} leads to the profile "${target}", which does not exist.`);
    }
  }
  for (const [name, profile] of profiles) {
    if (profile.issuers === undefined) {
      if (issuers.length > 1 && (usesClaims(profile) || tellsOfUser(profile))) {
        problems.push(
          `profiles.${name}.issuers: missing; with several issuers a profile with {{claims.…}} or HTTP tools must say whose claims it takes.`,
        );
      }
      continue;
    }
    const unknown = profile.issuers.find((one) => !issuers.some(({ issuer: known }) => known === one));
    if (unknown !== undefined) problems.push(`profiles.${name}.issuers: there is no issuer ${unknown}.`);
    const own = issuers.filter(({ issuer: known }) => profile.issuers?.includes(known));
    profiles.set(name, { ...profile, issuers: own.flatMap(({ names }) => [...names.keys()]) });
  }
}

function fromVariables(env: IssuerVariables, problems: string[]): IssuerSettings {
  const sources: [string, KeySettings][] = [];
  if (env.RELAY_JWT_SECRET) {
    const { RELAY_JWT_SECRET: written, RELAY_JWT_SECRET_ENCODING: encoding } = env;
    const secret = encoding === 'base64' ? { base64: written } : written;
    sources.push(['RELAY_JWT_SECRET', secrets([secret], 'RELAY_JWT_SECRET', problems)]);
  }
  if (env.RELAY_JWT_PUBLIC_KEY) {
    const pems = [pemOf(env.RELAY_JWT_PUBLIC_KEY, 'RELAY_JWT_PUBLIC_KEY', problems)];
    sources.push(['RELAY_JWT_PUBLIC_KEY', { kind: 'public_keys', pems }]);
  }
  if (env.RELAY_JWT_JWKS_URI) {
    sources.push(['RELAY_JWT_JWKS_URI', keySet(env.RELAY_JWT_JWKS_URI, 'RELAY_JWT_JWKS_URI', problems)]);
  }
  const names = 'RELAY_JWT_SECRET, RELAY_JWT_PUBLIC_KEY, RELAY_JWT_JWKS_URI';
  const [keySetting, source] = onlyOne(sources, names, problems);
  for (const name of ['RELAY_JWT_ISSUER', 'RELAY_JWT_AUDIENCE'] as const) {
    if (!env[name]) problems.push(`${name}: missing; tokens are accepted only with exactly this value.`);
  }
  const { RELAY_JWT_ISSUER: name = '', RELAY_JWT_AUDIENCE: audience = '' } = env;
  return {
    issuer: name,
    names: new Map([[name, null]]),
    audiences: [audience],
    clientIds: [],
    source,
    keySetting,
    claims: { profile: ['profile'], tenant: ['tenant'], scope: ['scope'] },
    profiles: { map: null, default: 'default' },
    scopes: new Map(),
    control: 'all',
    limits: {},
  };
}

function fromEntry(entry: IssuerEntry, at: string, isOneOfSeveral: boolean, problems: string[]): IssuerSettings {
  const { audience, client_ids: clientIds = [], claims, profiles } = entry;
  const isForTenants = entry.issuer.includes('{tid}');
  if (isForTenants !== (entry.tenants !== undefined)) {
    problems.push(`${at}.tenants: belongs to an issuer with {tid} in it, and must be there then; list the tenants.`);
  }
  if (audience === undefined) {
    problems.push(`${at}.audience: missing; name what your tokens have as aud, or write null with client_ids.`);
  }
  if (audience === null && clientIds.length === 0) {
    problems.push(`${at}.client_ids: missing; without an audience it decides which applications' tokens are accepted.`);
  }
  const sources: [string, KeySettings][] = [];
  if (entry.jwks_uri) sources.push([`${at}.jwks_uri`, keySet(entry.jwks_uri, `${at}.jwks_uri`, problems)]);
  if (entry.public_keys) {
    const pems = entry.public_keys.map((pem, index) => pemOf(pem, `${at}.public_keys.${index}`, problems));
    sources.push([`${at}.public_keys`, { kind: 'public_keys', pems }]);
  }
  if (entry.secrets) sources.push([`${at}.secrets`, secrets(entry.secrets, `${at}.secrets`, problems)]);
  const [keySetting, source] = onlyOne(sources, `${at}: jwks_uri, public_keys, secrets`, problems);
  // Whose customers name their own users must not name their own profiles, unless the operator says which.
  const map = profiles.map ?? (isOneOfSeveral || isForTenants ? {} : null);
  return {
    issuer: entry.issuer,
    names: isForTenants
      ? new Map((entry.tenants ?? []).map((tenant) => [entry.issuer.replaceAll('{tid}', tenant), tenant]))
      : new Map<string, string | null>([[entry.issuer, null]]),
    audiences: audience === null ? null : list(audience ?? ''),
    clientIds,
    source,
    keySetting,
    claims: {
      profile: list(claims.profile ?? 'profile'),
      tenant: list(claims.tenant ?? (isForTenants ? 'tid' : 'tenant')),
      scope: list(claims.scope ?? 'scope'),
    },
    profiles: { map: map && new Map(Object.entries(map)), default: profiles.default },
    scopes: new Map(Object.entries(entry.scopes.map)),
    control: entry.control ?? controlOf(entry, isOneOfSeveral),
    limits: { ...(isOneOfSeveral && { sessions: 'half', sidebands: 'half' }), ...entry.limits },
  };
}

/** A misspelt claim of the tenant must not make a tenant's backend one for all tenants. */
function controlOf({ issuer: name, claims }: IssuerEntry, isOneOfSeveral: boolean): IssuerSettings['control'] {
  if (isOneOfSeveral) return 'none';
  return claims.tenant !== undefined || name.includes('{tid}') ? 'tenant' : 'all';
}

function list(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value;
}

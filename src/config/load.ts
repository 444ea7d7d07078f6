/**
 * Settings: environment for wiring and secrets, a YAML file for behaviour; here both become one, or a list of all that
 * is wrong with them.
 */

import { accessSync, constants } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { z } from 'zod';
import { isSafe } from '../outbound/addresses.js';
import { uselessEntries } from '../outbound/proxy.js';
import { type Profile, profileSchema } from '../policy/profile.js';
import { ConfigError } from '../problems.js';
import { type Environment, environment } from './environment.js';
import { type ConfigFile, configFile, limitsOf } from './file.js';
import { hintFor } from './hints.js';
import { bindProfiles, cookieOf, issuersOf } from './identity.js';
import { checkContinuity } from './lastingrules.js';
import { checkAnonymous, originsOf } from './origins.js';
import { redisOf } from './redis.js';
import { proxyOf, upstreamsOf, urlOf } from './resources.js';
import type { Settings } from './settings.js';
import { meant, misspelt } from './spelling.js';
import { checkTools } from './toolrules.js';
import { plain, readYaml } from './yaml.js';

/**
 * Reads and checks all settings, and reports all problems at once.
 * @throws ConfigError
 */
export function loadConfig(env: NodeJS.ProcessEnv): Settings {
  const problems: string[] = [];
  const warnings: string[] = [];
  const settings = Object.keys(environment.shape);
  const { variables: given, lookUp } = meant(env, (name) => name in environment.shape, problems, warnings);
  for (const name of ['HTTPS_PROXY', 'NO_PROXY']) {
    const lower = given[name.toLowerCase()];
    if (lower !== undefined) given[name] ??= lower;
  }
  const read = environment.safeParse(given);
  if (!read.success) problems.push(...read.error.issues.map((issue) => problemOf(issue, given)));
  // Go on with what is valid, so that the other problems are reported in the same run.
  const valid = read.success ? read.data : withoutInvalid(given, read.error);
  const unknown = misspelt(given, settings);
  warnings.push(...unknown);

  const path = valid.RELAY_CONFIG;
  const file = path ? readYaml('RELAY_CONFIG', path, configFile, lookUp, problems) : nothingWritten();
  const wrong: string[] = [];
  const odd: string[] = [];
  // A file that cannot be used might have listed upstreams, so that the environment's may be missing rightly.
  const upstreams = file ? upstreamsOf({ ...given, ...valid }, file.data.upstreams, wrong, odd) : [];
  const combined = combine(valid, file?.data ?? null, given, wrong, odd);
  const { locate } = file ?? nothingWritten();
  problems.push(...wrong.map(locate));
  warnings.push(...odd.map(locate));
  const loaded = { ...combined, upstreams, warnings: [...new Set(warnings)] };
  const isAbout = (warning: string) => problems.some((problem) => problem.startsWith(`${warning.split(':')[0]}:`));
  if (problems.length > 0) throw new ConfigError([...problems, ...warnings.filter(isAbout), ...unknown]);
  return loaded;
}

function withoutInvalid(given: Readonly<Record<string, string>>, error: z.ZodError): Environment {
  const rest: Record<string, string> = { ...given };
  for (const issue of error.issues) delete rest[String(issue.path[0])];
  return environment.parse(rest);
}

function problemOf(issue: z.core.$ZodIssue, given: Readonly<Record<string, string>>): string {
  const name = issue.path.join('.');
  const hint = issue.code === 'invalid_type' ? hintFor(issue.expected, given[name], name.toLowerCase()) : null;
  return `${name}: ${plain(issue.message)}${hint === null ? '' : `; ${hint}.`}`;
}

function nothingWritten() {
  return { data: configFile.parse({}), locate: (sentence: string) => sentence };
}

/** @param written null: there is a file, but it cannot be used */
function combine(
  env: Environment,
  written: ConfigFile | null,
  given: Readonly<Record<string, string>>,
  problems: string[],
  warnings: string[],
): Omit<Settings, 'upstreams' | 'warnings'> {
  const file = written ?? nothingWritten().data;
  if (!env.RELAY_TLS_CERT !== !env.RELAY_TLS_KEY) {
    problems.push('RELAY_TLS_CERT, RELAY_TLS_KEY: set both, or neither.');
  }
  for (const name of ['RELAY_TLS_CERT', 'RELAY_TLS_KEY'] as const) {
    if (!env[name]) continue;
    // May be a private key, which must not be shown.
    const isPem = env[name].includes('-----BEGIN');
    const problem = isPem ? null : unreadable(env[name]);
    if (isPem) problems.push(`${name}: holds PEM text; it must be the path of a file with it.`);
    if (problem) problems.push(`${name}: cannot read ${env[name].slice(0, 200)} (${problem}).`);
  }
  if (env.HTTPS_PROXY && !/^https?:$/.test(urlOf(env.HTTPS_PROXY)?.protocol ?? '')) {
    problems.push('HTTPS_PROXY: not an address; expected something like http://proxy.example:3128.');
  }
  const useless = env.HTTPS_PROXY && env.NO_PROXY ? uselessEntries(env.NO_PROXY) : [];
  for (const entry of useless) {
    warnings.push(`NO_PROXY: "${entry.slice(0, 100)}" is no name, address or network, and matches nothing.`);
  }
  const profiles = new Map<string, Profile>();
  for (const [name, profile] of Object.entries(file.profiles)) profiles.set(name, { ...profile, name });
  if (!profiles.has('default')) profiles.set('default', { ...profileSchema.parse({}), name: 'default' });
  const hasKeys = env.RELAY_JWT_SECRET ?? env.RELAY_JWT_PUBLIC_KEY ?? env.RELAY_JWT_JWKS_URI;
  // Such a file might have listed issuers, so that the environment's may be missing rightly.
  const issuers = issuersOf(file.auth, env, written || hasKeys ? problems : [], warnings);
  for (const profile of profiles.values()) {
    checkTools(profile, problems);
    checkContinuity(profile, warnings);
  }
  bindProfiles(profiles, issuers, problems);
  checkAnonymous(profiles.values(), problems);
  const origins = originsOf(env.RELAY_ALLOWED_ORIGINS, problems);
  return {
    host: env.HOST ?? null,
    port: env.PORT,
    opsPort: env.RELAY_OPS_PORT,
    workers: env.RELAY_WORKERS === 'auto' ? Math.min(availableParallelism(), 99) : Number(env.RELAY_WORKERS),
    tls: env.RELAY_TLS_CERT && env.RELAY_TLS_KEY ? { cert: env.RELAY_TLS_CERT, key: env.RELAY_TLS_KEY } : null,
    hsts: env.RELAY_HSTS,
    proxy: proxyOf(env),
    entra: { clientId: env.AZURE_CLIENT_ID ?? null, instanceDiscovery: env.RELAY_ENTRA_INSTANCE_DISCOVERY },
    auth: { issuers, maxSeconds: env.RELAY_JWT_MAX_SECONDS, cookie: cookieOf(file.auth, origins, problems) },
    origins,
    queryCredentials: env.RELAY_QUERY_CREDENTIALS,
    console: env.RELAY_CONSOLE,
    redis: redisOf(env, file, given, problems, warnings),
    logLevel: env.RELAY_LOG_LEVEL,
    profiles,
    limits: limitsOf(file),
    proxies: { count: file.trusted_proxies, addresses: file.trusted_proxy_addresses },
    usageWebhook: usageWebhookOf(file, problems),
    webhooks: webhooksOf(file, problems, warnings),
  };
}

function usageWebhookOf({ usage: { webhook } }: ConfigFile, problems: string[]): Settings['usageWebhook'] {
  if (!webhook) return null;
  checkWebhook('usage.webhook.url', webhook.url, problems);
  return webhook;
}

function webhooksOf(
  { webhooks = [], profiles }: ConfigFile,
  problems: string[],
  warnings: string[],
): Settings['webhooks'] {
  const isWanted = webhooks.some(({ events }) => events.includes('transcript.item'));
  for (const [name, { transcripts }] of Object.entries(profiles)) {
    if (!transcripts.webhook || isWanted) continue;
    warnings.push(`profiles.${name}.transcripts.webhook: none of the webhooks has transcript.item among its events.`);
  }
  return webhooks.map(({ url, secret, events }, index) => {
    checkWebhook(`webhooks.${index}.url`, url, problems);
    return { url, secrets: [secret].flat(), events };
  });
}

function checkWebhook(setting: string, written: string, problems: string[]): void {
  const url = urlOf(written);
  if (!url || !isSafe(url)) {
    problems.push(`${setting}: must be https://; plain http:// is for loopback only.`);
  } else if (url.username !== '' || url.password !== '') {
    problems.push(`${setting}: must not contain a credential; the signature proves who sends.`);
  }
}

/** The system's code for why a file cannot be read, or null when it can. */
function unreadable(path: string): string | null {
  try {
    accessSync(path, constants.R_OK);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

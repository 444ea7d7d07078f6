/** The configuration as it may be shown, and the secrets in it that may not. */

import type { RedisSettings, Settings } from './settings.js';

const masked = '********';

/** The effective configuration with secrets masked, for `realtime-relay check`. */
export function describeSettings(settings: Settings): object {
  return {
    ...settings,
    upstreams: settings.upstreams.map((one) => ({
      ...one,
      apiKey: one.apiKey ? masked : null,
      proxy: withoutLogin(one.proxy),
      credential: one.apiKey ? 'API key' : `Microsoft Entra, scope ${one.scope}`,
    })),
    auth: { ...settings.auth, issuers: settings.auth.issuers.map(describeIssuer) },
    proxy: { ...settings.proxy, url: withoutLogin(settings.proxy.url) },
    redis: settings.redis && describeRedis(settings.redis),
    usageWebhook: settings.usageWebhook && { ...settings.usageWebhook, secret: masked },
    webhooks: settings.webhooks.map((one) => ({ ...one, secrets: one.secrets.map(() => masked) })),
    profiles: Object.fromEntries([...settings.profiles].map(([name, profile]) => [name, maskSecrets(profile)])),
  };
}

/** Maps as objects, and no key but the address of public ones. */
function describeIssuer({
  names,
  source,
  keySetting: _,
  profiles,
  scopes,
  ...rest
}: Settings['auth']['issuers'][number]): object {
  const { kind } = source;
  return {
    ...rest,
    names: [...names.keys()],
    source:
      kind === 'secrets' ? { kind, secrets: source.secrets.map(() => masked) } : kind === 'jwks' ? source : { kind },
    profiles: { ...profiles, map: profiles.map && Object.fromEntries(profiles.map) },
    scopes: Object.fromEntries(scopes),
  };
}

/** Every secret of the settings, to keep them out of the log. */
export function secretsOf(settings: Settings): string[] {
  const { upstreams, auth, redis, profiles, usageWebhook, webhooks, proxy } = settings;
  const secrets = [
    ...upstreams.map(({ apiKey }) => apiKey ?? ''),
    ...passwordsOf(proxy.url),
    ...webhooks.flatMap((one) => one.secrets),
  ];
  for (const { source } of auth.issuers) {
    if (source.kind !== 'secrets') continue;
    secrets.push(...source.secrets.map((secret) => (typeof secret === 'string' ? secret : secret.base64)));
  }
  if (redis) secrets.push(...loginsOf(redis), ...(redis.keys ?? []));
  if (usageWebhook) secrets.push(usageWebhook.secret);
  const collect = (value: unknown, isSecret: boolean): void => {
    if (typeof value === 'string' && isSecret) secrets.push(value);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key !== open) collect(inner, isSecret || secretKeys.includes(key));
    }
  };
  for (const profile of profiles.values()) collect(profile, false);
  return secrets.filter(Boolean);
}

/** Where it leads, without whom it leads there as. */
function describeRedis({ addresses, tls, username, password, database, ...rest }: RedisSettings): object {
  const login = username || password ? `${masked}@` : '';
  const hosts = addresses.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`);
  const { scope, isCluster, prefix, keys, when_lost, ready } = rest;
  return {
    url: hosts.map((host) => `redis${tls ? 's' : ''}://${login}${host}/${database}`).join(','),
    entra: scope,
    cluster: isCluster,
    prefix,
    key: keys?.map(() => masked) ?? null,
    when_lost,
    ready,
  };
}

/** As they are, and as they stand in a URL; `default` is everybody's. */
function loginsOf({ username, password }: RedisSettings): string[] {
  const secret = username === 'default' ? [password] : [username, password];
  return [...new Set(secret.flatMap((one) => [one, encodeURIComponent(one)]))];
}

/** As it stands in the URL, and as it is. */
function passwordsOf(proxy: string | null): string[] {
  if (proxy === null) return [];
  const { password } = new URL(proxy);
  return [password, decodeURIComponent(password)];
}

function withoutLogin(proxy: string | null): string | null {
  return proxy?.replace(/\/\/[^@/]*@/, `//${masked}@`) ?? null;
}

const secretKeys = ['authorization', 'headers', 'api_key', 'bearer', 'secret'];
/** Names of arguments are no settings, whatever they are called. */
const open = 'parameters';

/** Tools may carry credentials of their own. */
function maskSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key === open) return [key, inner];
      return [key, secretKeys.includes(key) ? masked : maskSecrets(inner)];
    }),
  );
}

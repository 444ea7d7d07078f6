/** The configuration as it may be shown, and the secrets in it that may not. */

import type { Settings } from './config.js';

const masked = '********';

/** The effective configuration with secrets masked, for `realtime-relay check`. */
export function describeSettings(settings: Settings): object {
  const { jwt } = settings;
  const source =
    jwt.source.kind === 'secret'
      ? { ...jwt.source, secret: masked }
      : jwt.source.kind === 'public_key'
        ? { kind: 'public_key' }
        : jwt.source;
  return {
    ...settings,
    upstreams: settings.upstreams.map((one) => ({
      ...one,
      apiKey: one.apiKey ? masked : null,
      proxy: withoutLogin(one.proxy),
      credential: one.apiKey ? 'API key' : `Microsoft Entra, scope ${one.scope}`,
    })),
    jwt: { ...jwt, source },
    proxy: { ...settings.proxy, url: withoutLogin(settings.proxy.url) },
    redisUrl: settings.redisUrl ? masked : null,
    usageWebhook: settings.usageWebhook && { ...settings.usageWebhook, secret: masked },
    profiles: Object.fromEntries([...settings.profiles].map(([name, profile]) => [name, maskSecrets(profile)])),
  };
}

/** Every secret of the settings, to keep them out of the log. */
export function secretsOf({ upstreams, jwt, redisUrl, profiles, usageWebhook, proxy }: Settings): string[] {
  const secrets = [...upstreams.map(({ apiKey }) => apiKey ?? ''), ...passwordsOf(proxy.url)];
  if (jwt.source.kind === 'secret') secrets.push(jwt.source.secret);
  if (redisUrl) secrets.push(redisUrl);
  if (usageWebhook) secrets.push(usageWebhook.secret);
  const collect = (value: unknown, isSecret: boolean): void => {
    if (typeof value === 'string' && isSecret) secrets.push(value);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) collect(inner, isSecret || secretKeys.includes(key));
  };
  for (const profile of profiles.values()) collect(profile, false);
  return secrets.filter(Boolean);
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

const secretKeys = ['authorization', 'headers', 'api_key'];

/** MCP tools may carry credentials of their own. */
function maskSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, secretKeys.includes(key) ? masked : maskSecrets(inner)]),
  );
}

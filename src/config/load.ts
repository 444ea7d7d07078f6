/**
 * Settings: environment for wiring and secrets, a YAML file for behaviour. One schema is the parser, the type, the
 * published JSON Schema and the README's table. This is the only file that knows the environment.
 */

import { accessSync, constants } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { isLoopback, isNetwork } from '../outbound/addresses.js';
import { type ProxySettings, uselessEntries } from '../outbound/proxy.js';
import { type Profile, profileSchema } from '../policy/profile.js';
import { ConfigError } from '../problems.js';
import { logLevels } from '../telemetry/log.js';
import { hintFor, onOrOff } from './advice.js';
import { authSchema, bindProfiles, cookieOf, type IssuerSettings, issuersOf } from './identity.js';
import { originsOf } from './origins.js';
import { proxyOf, type UpstreamSettings, upstreamSchema, upstreamsOf, urlOf } from './resources.js';
import { meant, misspelt } from './spelling.js';
import { plain, readYaml } from './yaml.js';

const text = z.string().trim().min(1);
const port = z.coerce.number({ error: 'must be a number from 0 to 65535' }).int().min(0).max(65535);
const lowerCase = (value: unknown) => (typeof value === 'string' ? value.trim().toLowerCase() : value);
/** `on` and `off`, and what else people write for them. */
const onOff = z
  .preprocess(
    (value) => {
      const isOn = onOrOff(String(lowerCase(value)));
      return isOn === null ? value : isOn ? 'on' : 'off';
    },
    z.enum(['on', 'off']),
  )
  .transform((value) => value === 'on');

/** Every environment variable the relay reads. The README's table is made from this. */
export const environment = z.object({
  PORT: port.default(8080).describe('Public listener.'),
  HOST: text
    .refine(
      (host) => isIP(host) > 0 || /^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(host),
      'must be an address of this machine, such as 0.0.0.0',
    )
    .optional()
    .describe('Address both listeners bind to. Left out: all there are, of IPv6 and of IPv4.'),
  RELAY_OPS_PORT: port.default(9464).describe('Operations listener: `/metrics`, `/healthz`, `/readyz`.'),
  RELAY_WORKERS: z
    .string()
    .trim()
    .regex(/^(auto|[1-9]\d?)$/, 'must be a number from 1 to 99, or auto')
    .default('1')
    .describe('Processes that share the public port; `auto`: one for each core.'),
  RELAY_TLS_CERT: text
    .optional()
    .describe('PEM certificate chain file. With it and the key the public listener speaks TLS; reloaded on change.'),
  RELAY_TLS_KEY: text.optional().describe('PEM private key file that belongs to the certificate.'),
  RELAY_HSTS: z
    .enum(['on', 'subdomains', 'off'])
    .default('on')
    .describe(
      'Whether `Strict-Transport-Security` tells browsers to use TLS only, where the public listener speaks TLS; `subdomains`: for all names below its own, too.',
    ),
  AZURE_OPENAI_ENDPOINT: text
    .optional()
    .describe('Resource endpoint, such as `https://my-resource.openai.azure.com`. `http://` only for loopback.'),
  AZURE_OPENAI_REALTIME_DEPLOYMENT: text.optional().describe('Deployment of a realtime model.'),
  AZURE_OPENAI_DEPLOYMENT: text.optional().describe('Deployment, when the name above is not set.'),
  AZURE_OPENAI_DEPLOYMENT_NAME: text.optional().describe('Deployment, when neither name above is set.'),
  AZURE_OPENAI_API_KEY: text.optional().describe('API key. Left out: Microsoft Entra through DefaultAzureCredential.'),
  AZURE_OPENAI_API_VERSION: text.optional().describe('Dated API version, used by preview upstreams only.'),
  OPENAI_API_VERSION: text.optional().describe('The same, when the name above is not set.'),
  AZURE_OPENAI_SCOPE: text
    .optional()
    .describe('Entra scope of the upstream token. Left out: that of the cloud the endpoint is in, by its domain.'),
  AZURE_CLIENT_ID: text.optional().describe('Client id of a user-assigned managed identity.'),
  RELAY_ENTRA_INSTANCE_DISCOVERY: onOff
    .prefault('on')
    .describe('`off` for private clouds whose authority Microsoft does not know.'),
  RELAY_CONFIG: text.optional().describe('YAML file: upstreams, profiles, identity, limits.'),
  RELAY_JWT_SECRET: text.optional().describe("HS256 secret of your app's JWTs, at least 32 bytes."),
  RELAY_JWT_SECRET_ENCODING: z
    .preprocess(lowerCase, z.enum(['text', 'base64', 'base64url']))
    .prefault('text')
    .transform((value) => (value === 'text' ? value : 'base64'))
    .describe('`base64` (or `base64url`) where the secret is that of the bytes your provider signs with.'),
  RELAY_JWT_PUBLIC_KEY: text
    .optional()
    .describe('RSA or EC public key or certificate: PEM, also in one line or as base64, or the path of a PEM file.'),
  RELAY_JWT_JWKS_URI: z
    .url('not an address; expected something like https://login.example.com/keys.')
    .optional()
    .describe("Address of your identity provider's key set."),
  RELAY_JWT_ISSUER: text.optional().describe('Required `iss`, compared exactly.'),
  RELAY_JWT_AUDIENCE: text.optional().describe('Required `aud`, compared exactly.'),
  RELAY_JWT_MAX_SECONDS: z.coerce
    .number()
    .int()
    .min(1)
    .max(34_560_000)
    .default(34_560_000)
    .describe('Longest life of a token that is accepted; also how long a withdrawn one is remembered.'),
  RELAY_ALLOWED_ORIGINS: text
    .optional()
    .describe(
      'Comma-separated origins of web pages and apps that may connect, such as `https://app.example.com`, `https://*.example.com` (one label) and `tauri://localhost`; or `*`. Unset: none.',
    ),
  RELAY_QUERY_CREDENTIALS: onOff
    .prefault('on')
    .describe('`off` refuses credentials in the query string, which old SDKs and browser builds send.'),
  RELAY_CONSOLE: onOff.prefault('off').describe('`on` serves a page to try the relay with, at `/console/`.'),
  RELAY_REDIS_URL: text
    .optional()
    .describe('Shared state of several replicas. Not part of this version: setting it is an error.'),
  RELAY_LOG_LEVEL: z.preprocess(lowerCase, z.enum(logLevels)).prefault('info').describe('Log level.'),
  HTTPS_PROXY: text.optional().describe('Proxy for all connections of the relay: upstreams, key set, webhook.'),
  NO_PROXY: text
    .optional()
    .describe(
      'Hosts that are reached without the proxy: names with their subdomains, addresses, networks; a port may follow.',
    ),
});

const seconds = (byDefault: number, max = 3600) => z.number().positive().max(max).default(byDefault);

const bytes = z.number().int().min(16_384);
/** A minute of speech. */
const holdBytes = 4 * 1024 * 1024;

const instanceLimits = z.strictObject({
  sessions: z.number().int().min(1).default(500).describe('Sessions at the same time.'),
  handshake_seconds: seconds(10).describe('Time a client has to finish its handshake.'),
  keep_alive_seconds: seconds(90).describe('How long an idle HTTP connection is kept, on both ports.'),
  dial_seconds: seconds(10).describe('Time to open an upstream connection.'),
  second_dial_ms: z
    .number()
    .int()
    .min(100)
    .max(60_000)
    .default(1500)
    .describe(
      'How long the second upstream waits for the first; then both are dialled, and the first that opens is taken.',
    ),
  readiness: z
    .enum(['proven', 'lenient', 'off'])
    .default('proven')
    .describe(
      '`proven`: `/readyz` is 503 until one session was opened upstream. `lenient`: only while the fault is the relay’s own. `off`: never for that.',
    ),
  configure_seconds: seconds(10).describe('Time upstream has to accept the session configuration.'),
  drain_seconds: seconds(25).describe('Time running responses have to finish at shutdown.'),
  ping_seconds: seconds(25).describe('Interval of WebSocket pings on both legs.'),
  pong_seconds: seconds(10).describe('Time upstream has to answer a ping.'),
  silence_seconds: seconds(75).describe('How long nothing may be heard of a client, pongs included.'),
  stall_seconds: seconds(75).describe('How long a client may take nothing of what waits for it; upstream at most 10.'),
  answer_seconds: seconds(20).describe('How long upstream may be silent when an answer is due.'),
  hold_bytes: bytes.default(holdBytes).describe('What may wait of each side, held or unsent, before it is not read.'),
  buffer_bytes: bytes.optional().describe('The older name of hold_bytes.'),
  buffered_bytes: z
    .number()
    .int()
    .min(1_048_576)
    .optional()
    .describe(
      'Bytes that may wait in one process, over all sessions; over it the largest backlogs end. Left out: a third of the memory, shared by the workers.',
    ),
  busy_delay_ms: z
    .number()
    .min(0)
    .default(200)
    .describe(
      'How long an event may wait for the process, in three seconds in a row, before nobody new is let in; 0: no limit.',
    ),
  busy_percent: z
    .number()
    .min(0)
    .max(100)
    .default(90)
    .describe('Share of its time the process may be busy, likewise; 0: no limit.'),
  client_secret_seconds: seconds(60, 600).describe('Life of a client secret for a browser.'),
  revocations: z.number().int().min(1).max(100_000).default(20_000).describe('Withdrawn users and tokens remembered.'),
});

/** Standard Webhooks asks for keys of 24 to 64 bytes. */
const webhookSecret = /^(whsec_)?[A-Za-z0-9+/]{32,86}={0,2}$/;

const usage = z.strictObject({
  webhook: z
    .strictObject({
      url: text.describe('Where usage records are sent. `http://` only for loopback.'),
      secret: z
        .string()
        .regex(webhookSecret, 'a secret is 24 to 64 random bytes in base64, with or without the prefix whsec_')
        .describe('Key of the signature, in base64.'),
    })
    .optional(),
});

const privateNetworks = [
  ...['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16'],
  ...['::1', 'fc00::/7', 'fe80::/10'],
];

/** The YAML file. */
const configFile = z.strictObject({
  trusted_proxies: z
    .number()
    .int()
    .min(0)
    .max(10)
    .default(0)
    .describe('Proxies before the relay that add to `X-Forwarded-For`. 0: the header counts for nothing.'),
  trusted_proxy_addresses: z
    .array(z.string().refine(isNetwork, 'must be an address or a network such as 10.0.0.0/8'))
    .default(privateNetworks)
    .describe('Where such a proxy stands: addresses or networks. Default: the private ones.'),
  upstreams: z.array(upstreamSchema).min(1).optional(),
  profiles: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), profileSchema).default({}),
  auth: authSchema.prefault({}),
  usage: usage.prefault({}),
  limits: instanceLimits.prefault({}),
});

type InstanceLimits = Omit<z.output<typeof instanceLimits>, 'buffer_bytes'>;

/** The effective configuration. */
export interface Settings {
  /** Null: all addresses there are, of both families where there are both. */
  readonly host: string | null;
  readonly port: number;
  readonly opsPort: number;
  /** Processes that serve the public port; 1: this one, without any other. */
  readonly workers: number;
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** What browsers are told over TLS: to use nothing else for this host, or for all below it. */
  readonly hsts: 'on' | 'subdomains' | 'off';
  readonly upstreams: readonly UpstreamSettings[];
  /** The proxy for what the relay asks of others; each upstream has what comes of it already. */
  readonly proxy: ProxySettings;
  readonly entra: { readonly clientId: string | null; readonly instanceDiscovery: boolean };
  readonly auth: {
    /** One or more; the claim `iss` of a token chooses. */
    readonly issuers: readonly IssuerSettings[];
    readonly maxSeconds: number;
    /** Name of a cookie that may hold an app token, or null. */
    readonly cookie: string | null;
  };
  /** Origins of pages that may connect, `https://*.example.com` for those of one label before it; or `*`. */
  readonly origins: readonly string[] | '*';
  readonly queryCredentials: boolean;
  /** Whether the page to try the relay with is served. */
  readonly console: boolean;
  readonly redisUrl: string | null;
  readonly logLevel: (typeof logLevels)[number];
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly limits: InstanceLimits;
  /** The proxies that say from which address a client comes. */
  readonly proxies: { readonly count: number; readonly addresses: readonly string[] };
  /** Where usage records are sent besides the log, or null. */
  readonly usageWebhook: { readonly url: string; readonly secret: string } | null;
  /** Things that are probably not meant, for the log. */
  readonly warnings: readonly string[];
}

/** JSON Schema of the YAML file, for editors. */
export function configFileSchema(): object {
  return { ...z.toJSONSchema(configFile, { io: 'input' }), patternProperties: { '^x-': {} } };
}

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
  const combined = combine(valid, file?.data ?? null, wrong, odd);
  const { locate } = file ?? nothingWritten();
  problems.push(...wrong.map(locate));
  warnings.push(...odd.map(locate));
  const loaded = { ...combined, upstreams, warnings: [...new Set(warnings)] };
  const isAbout = (warning: string) => problems.some((problem) => problem.startsWith(`${warning.split(':')[0]}:`));
  if (problems.length > 0) throw new ConfigError([...problems, ...warnings.filter(isAbout), ...unknown]);
  return loaded;
}

type Environment = z.output<typeof environment>;

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
  written: z.output<typeof configFile> | null,
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
  bindProfiles(profiles, issuers, problems);
  const origins = originsOf(env.RELAY_ALLOWED_ORIGINS, problems);
  if (env.RELAY_REDIS_URL) problems.push('RELAY_REDIS_URL: shared state is not part of this version; unset it.');
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
    redisUrl: env.RELAY_REDIS_URL ?? null,
    logLevel: env.RELAY_LOG_LEVEL,
    profiles,
    limits: limitsOf(file),
    proxies: { count: file.trusted_proxies, addresses: file.trusted_proxy_addresses },
    usageWebhook: webhookOf(file, problems),
  };
}

function limitsOf({ limits: { buffer_bytes: older, ...limits } }: z.output<typeof configFile>): InstanceLimits {
  const isWritten = limits.hold_bytes !== holdBytes;
  return older === undefined || isWritten ? limits : { ...limits, hold_bytes: older };
}

function webhookOf({ usage }: z.output<typeof configFile>, problems: string[]): Settings['usageWebhook'] {
  const { webhook } = usage;
  if (!webhook) return null;
  const url = urlOf(webhook.url);
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && isLoopback(url.hostname))) {
    problems.push('usage.webhook.url: must be https://; plain http:// is for loopback only.');
  } else if (url.username !== '' || url.password !== '') {
    problems.push('usage.webhook.url: must not contain a credential; the signature proves who sends.');
  }
  return webhook;
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

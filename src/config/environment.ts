/** The environment: wiring and secrets. The schema is the parser, the type and the table of docs/configuration.md. */

import { isIP } from 'node:net';
import { z } from 'zod';
import { logLevels } from '../telemetry/log.js';
import { onOrOff } from './hints.js';
import { text } from './shapes.js';

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

/** Every environment variable the relay reads. The table of docs/configuration.md is made from this. */
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
    .describe(
      'What several replicas have in common: `redis[s]://[user[:password]@]host[:port][/db]`. Plain `redis://` only for loopback and private addresses.',
    ),
  RELAY_REDIS_ENTRA: onOff
    .prefault('off')
    .describe('`on`: Microsoft Entra in place of a password, as Azure Managed Redis wants it.'),
  RELAY_REDIS_SCOPE: text
    .default('https://redis.azure.com/.default')
    .describe('Entra scope of Redis tokens; that of other clouds differs.'),
  RELAY_REDIS_CLUSTER: onOff
    .prefault('off')
    .describe(
      '`on` where clients of Redis must know its nodes (OSS cluster policy); the URL may list several, by commas.',
    ),
  RELAY_REDIS_PREFIX: z
    .string()
    .trim()
    .regex(/^[A-Za-z0-9:_.-]{1,64}$/, 'must be 1 to 64 letters, digits and : _ . -')
    .default('rly:')
    .describe('What the names of all keys begin with. Relays of different prefixes know nothing of each other.'),
  RELAY_REDIS_KEY: z
    .string()
    .transform((value) => value.split(',').map((one) => one.trim()))
    .refine(
      (keys) => keys.length <= 2 && keys.every((one) => Buffer.from(one, 'base64').length === 32),
      'must be 32 bytes in base64, or two of them with a comma between, the new one first',
    )
    .optional()
    .describe('Key of what Redis must not see: 32 bytes in base64; or two, the new one first while it is exchanged.'),
  RELAY_LOG_LEVEL: z.preprocess(lowerCase, z.enum(logLevels)).prefault('info').describe('Log level.'),
  HTTPS_PROXY: text.optional().describe('Proxy for all connections of the relay: upstreams, key set, webhook.'),
  NO_PROXY: text
    .optional()
    .describe(
      'Hosts that are reached without the proxy: names with their subdomains, addresses, networks; a port may follow.',
    ),
});

/** The variables as they are once read. */
export type Environment = z.output<typeof environment>;

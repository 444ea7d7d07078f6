/** The YAML file: behaviour. The schema is the parser, the type and the published JSON Schema. */

import { z } from 'zod';
import { insideNetworks, isNetwork } from '../outbound/addresses.js';
import { profileSchema } from '../policy/profile.js';
import { signingSecret, signingSecrets } from '../policy/tools.js';
import { noticeTypes } from '../telemetry/records.js';
import { authSchema } from './identity.js';
import { redisSchema } from './redis.js';
import { upstreamSchema } from './resources.js';
import { text } from './shapes.js';

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
  tools_at_once: z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(1024)
    .describe('Calls of tools that run at the same time, over all sessions; others are refused.'),
  sidebands: z
    .number()
    .int()
    .min(0)
    .max(100_000)
    .default(1000)
    .describe('Sidebands by which backends follow sessions at the same time.'),
  sidebands_per_session: z.number().int().min(1).max(32).default(32).describe('Sidebands of one session.'),
  revocations: z.number().int().min(1).max(100_000).default(20_000).describe('Withdrawn users and tokens remembered.'),
});

const usage = z.strictObject({
  webhook: z
    .strictObject({
      url: text.describe('Where usage records are sent. `http://` only for loopback.'),
      secret: signingSecret.describe('Key of the signature, in base64.'),
    })
    .optional(),
});

const webhook = z.strictObject({
  url: text.describe('Where messages are sent. `http://` only for loopback.'),
  secret: signingSecrets.describe('Key of the signature, in base64; or two, the new one first while it is exchanged.'),
  events: z
    .array(z.enum(noticeTypes))
    .min(1)
    .default([...noticeTypes])
    .describe('Which types of messages. Left out: all.'),
});

/** The YAML file. */
export const configFile = z.strictObject({
  trusted_proxies: z
    .number()
    .int()
    .min(0)
    .max(10)
    .default(0)
    .describe('Proxies before the relay that add to `X-Forwarded-For`. 0: the header counts for nothing.'),
  trusted_proxy_addresses: z
    .array(z.string().refine(isNetwork, 'must be an address or a network such as 10.0.0.0/8'))
    .default(insideNetworks)
    .describe('Where such a proxy stands: addresses or networks. Default: the private ones.'),
  upstreams: z.array(upstreamSchema).min(1).optional(),
  profiles: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), profileSchema).default({}),
  auth: authSchema.prefault({}),
  usage: usage.prefault({}),
  webhooks: z
    .array(webhook)
    .max(20)
    .optional()
    .describe('Backends that are told of sessions, what was said in them, and calls of tools.'),
  redis: redisSchema.optional().describe('What holds while Redis is out of reach.'),
  limits: instanceLimits.prefault({}),
});

/** What is written in it, with the defaults. */
export type ConfigFile = z.output<typeof configFile>;

/** The limits of an instance, each under its one name. */
export type InstanceLimits = Omit<ConfigFile['limits'], 'buffer_bytes'>;

/** JSON Schema of the YAML file, for editors. */
export function configFileSchema(): object {
  return { ...z.toJSONSchema(configFile, { io: 'input' }), patternProperties: { '^x-': {} } };
}

/** The limits of the file, whichever of their names were written. */
export function limitsOf({ limits: { buffer_bytes: older, ...limits } }: ConfigFile): InstanceLimits {
  const isWritten = limits.hold_bytes !== holdBytes;
  return older === undefined || isWritten ? limits : { ...limits, hold_bytes: older };
}

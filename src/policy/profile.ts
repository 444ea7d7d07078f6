/** The configuration the relay imposes on a session: schema and types. What a profile does to events is in policy.ts. */

import { z } from 'zod';
import { continuity } from './continuity.js';
import { toolSchema } from './tools.js';

const format = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('audio/pcm'), rate: z.literal(24000).default(24000) }),
  z.strictObject({ type: z.literal('audio/pcmu') }),
  z.strictObject({ type: z.literal('audio/pcma') }),
]);

const responses = { create_response: z.boolean().optional(), interrupt_response: z.boolean().optional() };

const turnDetection = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('server_vad'),
    threshold: z.number().min(0).max(1).optional(),
    prefix_padding_ms: z.number().int().min(0).max(10_000).optional(),
    silence_duration_ms: z.number().int().min(0).max(60_000).optional(),
    idle_timeout_ms: z.number().int().min(5000).max(30_000).nullish(),
    ...responses,
  }),
  z.strictObject({
    type: z.literal('semantic_vad'),
    eagerness: z.enum(['low', 'medium', 'high', 'auto']).optional(),
    ...responses,
  }),
]);

const noiseReduction = z.strictObject({
  type: z.enum(['near_field', 'far_field']),
  strength: z.number().optional(),
});

const transcription = z.strictObject({
  model: z.string().optional(),
  language: z.string().optional(),
  prompt: z.string().optional(),
  languages: z.array(z.string()).optional(),
  keywords: z.array(z.string()).optional(),
  delay: z.union([z.string(), z.number()]).optional(),
});

/**
 * The values a session field may hold, by path. Used for the profile and, through `may_update`, for what a client may
 * set. Source: the GA session object of the Realtime API reference.
 */
export const sessionFields = {
  'audio.input.format': format,
  'audio.input.turn_detection': turnDetection.nullable(),
  'audio.input.noise_reduction': noiseReduction.nullable(),
  'audio.input.transcription': transcription.nullable(),
  'audio.output.format': format,
  'audio.output.voice': z.union([z.string(), z.strictObject({ id: z.string() })]),
  'audio.output.speed': z.number().min(0.25).max(1.5),
  output_modalities: z.tuple([z.enum(['audio', 'text'])]),
  max_output_tokens: z.union([z.number().int().min(1), z.literal('inf')]),
} as const;

/** Path of a session field that a client may be allowed to update. */
export type SessionField = keyof typeof sessionFields;

const session = z.strictObject({
  type: z.enum(['realtime', 'transcription']).default('realtime'),
  instructions: z.string().optional(),
  output_modalities: sessionFields.output_modalities.optional(),
  audio: z
    .strictObject({
      input: z
        .strictObject({
          format: format.optional(),
          transcription: transcription.nullish(),
          noise_reduction: noiseReduction.nullish(),
          turn_detection: turnDetection.nullish(),
        })
        .optional(),
      output: z
        .strictObject({
          format: format.optional(),
          voice: sessionFields['audio.output.voice'].optional(),
          speed: sessionFields['audio.output.speed'].optional(),
        })
        .optional(),
    })
    .optional(),
  tools: z.array(z.looseObject({ type: z.enum(['function', 'mcp']) })).optional(),
  tool_choice: z
    .union([z.enum(['auto', 'none', 'required']), z.looseObject({ type: z.enum(['function', 'mcp']) })])
    .optional(),
  max_output_tokens: sessionFields.max_output_tokens.optional(),
  parallel_tool_calls: z.boolean().optional(),
  reasoning: z.strictObject({ effort: z.enum(['minimal', 'low', 'medium', 'high', 'xhigh']) }).optional(),
  tracing: z.union([z.literal('auto'), z.record(z.string(), z.unknown())]).nullish(),
  truncation: z.union([z.enum(['auto', 'disabled']), z.looseObject({ type: z.literal('retention_ratio') })]).optional(),
  prompt: z
    .strictObject({
      id: z.string(),
      version: z.string().optional(),
      variables: z.record(z.string(), z.unknown()).optional(),
    })
    .nullish(),
  include: z.array(z.string()).nullish(),
});

/**
 * What a client may update when the profile does not say: what a device must be able to say about its own audio. A field
 * that the profile sets stays locked then; only a `may_update` written by the operator unlocks it.
 */
export const defaultMayUpdate: readonly SessionField[] = [
  'output_modalities',
  'audio.input.format',
  'audio.input.turn_detection',
  'audio.input.noise_reduction',
  'audio.output.format',
  'audio.output.speed',
];

const client = z.strictObject({
  trust: z.enum(['end_user', 'trusted']).default('end_user'),
  may_update: z
    .array(z.enum(Object.keys(sessionFields) as [SessionField, ...SessionField[]]))
    .describe('Left out: what a device must be able to say about its own audio. Written: also unlocks these fields.')
    .optional(),
  may_seed: z
    .boolean()
    .default(false)
    .describe(
      'Whether a client may bring the history of its conversation: text of user and assistant, before the first response.',
    ),
  injected: z
    .enum(['hidden', 'messages'])
    .default('hidden')
    .describe(
      'What a client is shown of what backends put into its conversation: nothing, or the messages of user and assistant.',
    ),
  tool_results: z
    .enum(['voicerag'])
    .optional()
    .describe('Sends the sources of an answer as the front end of the sample VoiceRAG reads them.'),
  report_only: z.boolean().default(false),
  unknown_events: z.enum(['drop', 'forward']).default('drop'),
});

/** Budgets of a UTC day; left out: no limit. */
const daily = {
  sessions_per_day: z.number().int().min(1).optional(),
  minutes_per_day: z.number().positive().optional(),
  tokens_per_day: z.number().int().min(1).optional(),
};

const limits = z.strictObject({
  sessions_per_user: z.number().int().min(1).default(3),
  connects_per_second: z.number().positive().default(1).describe('Sessions that one user may begin, on average.'),
  connects_burst: z.number().int().min(1).default(10).describe('Sessions that one user may begin at once.'),
  client_secrets: z.number().int().min(1).default(50).describe('Unused client secrets of one user.'),
  client_secrets_per_second: z.number().positive().default(5).describe('Client secrets minted for one user.'),
  client_secrets_burst: z.number().int().min(1).default(50).describe('Client secrets minted for one user at once.'),
  session_seconds: z.number().int().min(1).optional(),
  idle_seconds: z.number().int().min(1).default(600),
  event_bytes: z.number().int().min(1024).optional(),
  events_per_second: z.number().positive().default(50),
  events_burst: z.number().int().min(1).default(1200),
  responses_per_second: z.number().positive().default(1),
  responses_burst: z.number().int().min(1).default(20),
  audio_realtime_factor: z.number().positive().default(2),
  audio_burst_seconds: z.number().positive().default(10),
  items: z.number().int().min(1).default(1000),
  refusals: z.number().int().min(1).default(50),
  tools_at_once: z.number().int().min(1).default(4).describe('Calls of tools that run at once; others wait.'),
  tool_calls_per_response: z
    .number()
    .int()
    .min(1)
    .default(8)
    .describe('Calls of tools in one response; others are refused.'),
  tool_calls_per_minute: z.number().int().min(1).default(60).describe('Calls of tools for one user.'),
  tool_rounds: z
    .number()
    .int()
    .min(1)
    .default(8)
    .describe('Answers in a row that the relay asks for after calls of tools, before the user says something.'),
  ...daily,
  tenant: z.strictObject(daily).optional(),
});

const webrtc = z.strictObject({
  enabled: z.boolean().default(true),
  tools: z
    .literal('exposed')
    .optional()
    .describe(
      'Lets calls and ephemeral keys be had although the profile has tools that the server runs: a browser then sees what they are called with and what comes of it.',
    ),
  injected: z
    .literal('exposed')
    .optional()
    .describe(
      'Lets backends say things to the model of a call, and ask it beside the conversation, although a browser then sees that.',
    ),
  violations: z.number().int().min(1).default(3).describe('Forbidden changes of the session that end a call.'),
  ephemeral_keys: z
    .boolean()
    .default(false)
    .describe("Hands out upstream's own ephemeral keys, with which clients are out of the relay's control."),
});

/** What a backend of one tenant may set only where its profile says so, since it would be used at the operator's expense. */
const backendFields = ['prompt', 'mcp', 'tracing'] as const;
export type BackendField = (typeof backendFields)[number];

const control = z.strictObject({
  may_update: z
    .array(z.enum(backendFields))
    .default([])
    .describe("What backends of one tenant may set in live sessions beside the rest: it uses the operator's resource."),
});

const anonymous = z.strictObject({
  origins: z
    .array(z.string())
    .min(1)
    .max(50)
    .describe('Origins of pages whose visitors come in without a credential, exactly as browsers send them.'),
  sessions: z.number().int().min(1).default(10).describe('Their sessions at the same time, all together.'),
  session_seconds: z.number().int().min(1).default(300).describe('How long one of their sessions may last.'),
  per_address: z.number().int().min(1).default(2).describe('Their sessions at the same time from one address.'),
});

const transcripts = z.strictObject({
  webhook: z
    .boolean()
    .default(false)
    .describe('Tells the webhooks that ask for `transcript.item` what is said. Tell your users.'),
  log: z.boolean().default(false).describe('Writes what is said to the log, as `session.transcript`.'),
  sideband: z.boolean().default(false).describe('Tells backends that follow a session what is said.'),
  include: z
    .array(z.enum(['user', 'assistant', 'tools', 'full_text', 'no_deleted']))
    .min(1)
    .default(['user', 'assistant', 'tools'])
    .describe(
      'Whose words, and the names of called functions; `full_text`: also what was not heard of an answer; `no_deleted`: no words of items that were deleted.',
    ),
});

/** One entry under `profiles:` of the YAML file. */
export const profileSchema = z
  .strictObject({
    issuers: z
      .array(z.string().trim().min(1))
      .min(1)
      .optional()
      .describe('Issuers (auth.issuers) whose tokens may have this profile. Left out: all.'),
    anonymous: anonymous
      .optional()
      .describe('Lets visitors of these pages in who have no credential. Left out: nobody comes in without one.'),
    aliases: z.array(z.string().regex(/^[A-Za-z0-9_.:/-]{1,128}$/)).default([]),
    session: session.prefault({}),
    tools: z.array(toolSchema).max(128).default([]),
    client: client.prefault({}),
    limits: limits.prefault({}),
    webrtc: webrtc.prefault({}),
    transcripts: transcripts.prefault({}),
    continuity: continuity.prefault({}),
    control: control.prefault({}),
  })
  .superRefine(({ session, tools, client, anonymous }, context) => {
    const problem = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    const again = tools.findIndex(({ name }, index) => tools.findIndex((tool) => tool.name === name) < index);
    if (again >= 0) problem(['tools', again, 'name'], `there are two tools called ${tools[again]?.name}.`);
    const twice = tools.find(({ name }) => session.tools?.some((tool) => tool.name === name));
    if (twice)
      problem(['tools'], `the tool ${twice.name} is in session.tools as well; who runs it must be one place's word.`);
    if (anonymous && client.trust === 'trusted') {
      problem(['client', 'trust'], 'not trusted, where anybody comes in without a credential (anonymous).');
    }
    if (session.type !== 'transcription') return;
    // Upstream refuses these in a transcription session, which would end every session of the profile at its start.
    for (const field of Object.keys(session)) {
      if (!['type', 'audio', 'include'].includes(field))
        problem(['session', field], 'a transcription session has no such field.');
    }
    if (session.audio?.output) problem(['session', 'audio', 'output'], 'a transcription session has no output.');
    if (tools.length > 0) problem(['tools'], 'a transcription session calls no tools.');
    if (!session.audio?.input?.transcription?.model) {
      problem(['session', 'audio', 'input', 'transcription', 'model'], 'missing; name the transcription deployment.');
    }
  });

/** The configuration the relay imposes on every session of one kind. */
export type Profile = z.output<typeof profileSchema> & { readonly name: string };

/** A live session as backends see it: never what its token claims, what it is instructed with, or where it is connected to. */

import { z } from 'zod';
import type { Registered } from '../session/registry.js';

const seconds = z.int().describe('Seconds since 1970.');
const audio = z.number().nullable().describe('Null for a call, whose sound does not pass the relay.');

/** A session in a list or by itself. */
export const description = z.strictObject({
  object: z.literal('relay.session'),
  id: z.string().describe('The id of `session.created`, of the log and of usage records.'),
  call_id: z.string().nullable().describe('Of a WebRTC call: the id in its Location; taken wherever `id` is.'),
  issuer: z.string().optional().describe('Only where the relay takes tokens of several issuers.'),
  subject: z.string(),
  tenant: z.string().nullable(),
  profile: z.string(),
  transport: z.enum(['websocket', 'webrtc']),
  dialect: z.enum(['ga', 'preview']),
  upstream: z.string().nullable().describe('Null before there is one.'),
  state: z.enum(['opening', 'open', 'draining']),
  started_at: seconds,
  expires_at: seconds,
  last_event_at: seconds,
  turns: z.int().describe('Answers that are over.'),
  tokens: z.int().describe('Of answers and transcriptions, as budgets count them.'),
  input_audio_seconds: audio,
  output_audio_seconds: audio,
  azure: z
    .strictObject({ session_id: z.string().nullable(), request_ids: z.array(z.string()).max(10) })
    .describe('What support of Azure asks for.'),
  detached: z.boolean().describe('Whether it has lost its client and waits for it to come back.'),
  taken_over: z.boolean(),
  sidebands: z.int(),
  replica: z.string().describe('Which process group of the relay has it.'),
});
export type Description = z.output<typeof description>;

/** What every description of a process says alike. */
export interface Home {
  readonly replica: string;
  /** Whether a subject says who somebody is only together with its issuer. */
  readonly hasSeveralIssuers: boolean;
}

/** Describes a session of this process. */
export function describe(session: Registered, { replica, hasSeveralIssuers }: Home, sidebands: number): Description {
  const { issuer, subject, tenant } = session.admission.principal;
  const { azure, audioSecondsUp, audioSecondsDown, ...seen } = session.overview();
  return {
    object: 'relay.session',
    id: session.id,
    call_id: session.callId ?? null,
    ...(hasSeveralIssuers && { issuer }),
    subject,
    tenant,
    profile: seen.profile,
    transport: session.callId === undefined ? 'websocket' : 'webrtc',
    dialect: seen.dialect,
    upstream: seen.upstream,
    state: seen.state,
    started_at: wholeSeconds(seen.startedAt),
    expires_at: wholeSeconds(seen.expiresAt),
    last_event_at: wholeSeconds(seen.lastEventAt),
    turns: seen.turns,
    tokens: seen.tokens,
    input_audio_seconds: audioSecondsUp,
    output_audio_seconds: audioSecondsDown,
    azure: { session_id: azure.sessionId, request_ids: [...azure.requestIds] },
    detached: session.resumption?.isDetached === true,
    taken_over: session.backend.takeover.isOn,
    sidebands,
    replica,
  };
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000);
}

/** A policy on a bench: bodies in, bodies out, and what it told its session. */

import { Buffer } from 'node:buffer';
import { type Decision, Policy } from '../../src/policy/policy.js';
import { type Profile, profileSchema } from '../../src/policy/profile.js';
import type { Direction } from '../../src/protocol/catalogue.js';
import { eventOf, type Json, type JsonObject, type RealtimeEvent, type Refusal } from '../../src/protocol/event.js';
import { createImposed, type Impositions } from '../../src/session/imposed.js';

export interface Bench {
  readonly policy: Policy;
  readonly imposed: Impositions;
  readonly profile: Profile;
  /** What goes upstream for an event of the client. */
  up(body: JsonObject): JsonObject | null;
  /** What the client gets for an event of upstream. */
  down(body: JsonObject): JsonObject[];
  /** What the client gets for several. */
  all(...bodies: JsonObject[]): JsonObject[];
  readonly answered: JsonObject[];
  readonly refusals: (Refusal & { race: boolean })[];
  readonly decisions: [Direction, string, Decision][];
  /** What `report_only` let pass, as it is told to the log. */
  readonly reports: string[];
}

export function profileOf(settings: Record<string, unknown> = {}): Profile {
  return { ...profileSchema.parse(settings), name: 'default' };
}

export function bench(settings: Record<string, unknown> = {}): Bench {
  const profile = profileOf(settings);
  const answered: JsonObject[] = [];
  const refusals: (Refusal & { race: boolean })[] = [];
  const decisions: [Direction, string, Decision][] = [];
  const reports: string[] = [];
  let made = 0;
  const imposed = createImposed(profile, {});
  const policy = new Policy(imposed, 'public-model', {
    answer: (body) => void answered.push(body),
    refuse: (refusal, race) => void refusals.push({ ...refusal, race }),
    decided: (direction, type, decision) => void decisions.push([direction, type, decision]),
    reported: (message) => void reports.push(message),
    eventId: () => `event_made_${++made}`,
  });
  policy.sessionCreated(effective(), 'sess_relay', 1795341600);
  const bodies = (result: ReturnType<Policy['down']>): JsonObject[] => {
    if (result === null) return [];
    return ('type' in result ? [result] : result).map((event) => event.body as JsonObject);
  };
  const down = (body: JsonObject): JsonObject[] => bodies(policy.down(eventOf(body)));
  return {
    policy,
    imposed,
    profile,
    up: (body) => bodies(policy.up(eventOf(body)))[0] ?? null,
    down,
    all: (...list) => list.flatMap(down),
    answered,
    refusals,
    decisions,
    reports,
  };
}

/** A session object as upstream reports it, with fields replaced. */
export function effective(fields: JsonObject = {}): JsonObject {
  return {
    type: 'realtime',
    object: 'realtime.session',
    id: 'sess_upstream',
    model: 'secret-deployment',
    output_modalities: ['audio'],
    instructions: 'secret instructions',
    tools: [{ type: 'function', name: 'secret_tool', parameters: { type: 'object' } }],
    tool_choice: 'required',
    max_output_tokens: 777,
    tracing: { workflow_name: 'secret workflow' },
    truncation: 'disabled',
    prompt: { id: 'pmpt_secret', variables: { a: 'secret variable' } },
    expires_at: 1,
    audio: {
      input: {
        format: { type: 'audio/pcm', rate: 24000 },
        transcription: { model: 'secret-transcriber', prompt: 'secret words' },
        noise_reduction: null,
        turn_detection: { type: 'server_vad', threshold: 0.5, create_response: true },
      },
      output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'marin', speed: 1 },
    },
    include: ['secret include'],
    ...fields,
  };
}

export const added = (item: JsonObject, previous: string | null = null): JsonObject => ({
  type: 'conversation.item.added',
  event_id: 'event_added',
  previous_item_id: previous,
  item,
});

export const userItem = (id: string, text = 'hello'): JsonObject => ({
  id,
  type: 'message',
  status: 'completed',
  role: 'user',
  content: [{ type: 'input_text', text }],
});

export const assistantItem = (id: string): JsonObject => ({
  id,
  type: 'message',
  status: 'in_progress',
  role: 'assistant',
  content: [],
});

export const callItem = (id: string, name: string, callId: string): JsonObject => ({
  id,
  type: 'function_call',
  status: 'completed',
  call_id: callId,
  name,
  arguments: '{"secret":"argument"}',
});

export const created = (id: string, metadata: Json = null): JsonObject => ({
  type: 'response.created',
  event_id: 'event_created',
  response: { object: 'realtime.response', id, status: 'in_progress', output: [], conversation_id: 'conv_1', metadata },
});

export const done = (id: string, fields: JsonObject = {}): JsonObject => ({
  type: 'response.done',
  event_id: 'event_done',
  response: {
    object: 'realtime.response',
    id,
    status: 'completed',
    status_details: null,
    output: [],
    usage: null,
    ...fields,
  },
});

export const outputItem = (responseId: string, item: JsonObject): JsonObject => ({
  type: 'response.output_item.added',
  event_id: 'event_output',
  response_id: responseId,
  output_index: 0,
  item,
});

/** Raw speech of the model, as the scan would have read it. */
export function speech(itemId: string | null, responseId: string | null): RealtimeEvent {
  const raw = Buffer.from('{"type":"response.output_audio.delta"}');
  return { type: 'response.output_audio.delta', raw, body: null, audioBytes: 4, itemId, responseId, framed: false };
}

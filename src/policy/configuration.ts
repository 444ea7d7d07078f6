/** The session object as a client sees it, and as it may change it. */

import type { Json, JsonObject } from '../protocol/event.js';
import { type Fault, faultOf } from './faults.js';
import { type Locks, setFields, withoutLocked } from './locks.js';
import { type SessionField, sessionFields } from './profile.js';
import {
  anything,
  either,
  type Fields,
  fieldOf,
  fieldsOf,
  flag,
  isObject,
  list,
  nullable,
  number,
  object,
  oneOf,
  type Shape,
  setAt,
  text,
  valueAt,
  whole,
} from './shape.js';

/** What the relay says of a session in place of what upstream said. */
export interface PublicSession {
  /** The relay's own id of the session. */
  readonly id: string;
  /** The model the client may know of. */
  readonly model: string;
  /** When the session ends at the latest, in seconds since 1970; 0 while that is not known. */
  readonly expiresAt: number;
  /** For a trusted client, the profile's session: all that it does not set is shown. Left out: an end user's view. */
  readonly owned?: JsonObject | undefined;
}

const pcm: JsonObject = { type: 'audio/pcm', rate: 24000 };
const turns: JsonObject = {
  type: 'server_vad',
  threshold: 0.5,
  prefix_padding_ms: 300,
  silence_duration_ms: 200,
  idle_timeout_ms: null,
  create_response: true,
  interrupt_response: true,
};

const format = object({ type: text, rate: number });
const turnDetection = object({
  type: text,
  threshold: number,
  prefix_padding_ms: number,
  silence_duration_ms: number,
  idle_timeout_ms: nullable(number),
  eagerness: text,
  create_response: flag,
  interrupt_response: flag,
});
const noiseReduction = object({ type: text, strength: number });

function orElse(shape: Shape, fallback: Json): Shape {
  return (value) => shape(value) ?? fallback;
}

function nullOrElse(shape: Shape, fallback: Json): Shape {
  return (value) => (value === null ? null : (shape(value) ?? fallback));
}

/** The defaults are those of the GA session object in the Realtime API reference. */
const inputFields: Fields = {
  format: orElse(format, pcm),
  transcription: () => null,
  noise_reduction: nullOrElse(noiseReduction, null),
  turn_detection: nullOrElse(turnDetection, turns),
};
const outputFields: Fields = {
  format: orElse(format, pcm),
  voice: orElse(either(text, object({ id: text })), 'alloy'),
  speed: orElse(number, 1),
};

const owned: Fields = {
  instructions: () => '',
  tools: () => [],
  tool_choice: () => 'auto',
  max_output_tokens: () => 'inf',
  tracing: () => null,
  truncation: () => 'auto',
  prompt: () => null,
  include: () => null,
};

const modalities = orElse(whole(oneOf('audio', 'text')), ['audio']);

/**
 * The GA session object a client gets to see, built from permitted fields of the effective configuration, with GA's
 * defaults where that says nothing: never instructions, tools, prompt, tracing or transcription settings of the server.
 */
export function publicSession(effective: JsonObject, options: PublicSession): JsonObject {
  const { id, model, expiresAt } = options;
  const input = fieldsOf(objectAt(effective, 'audio', 'input'), inputFields);
  if (fieldOf(effective, 'type') === 'transcription') {
    const object = 'realtime.transcription_session';
    return { type: 'transcription', object, id, expires_at: expiresAt, include: null, audio: { input } };
  }
  const session: JsonObject = {
    type: 'realtime',
    object: 'realtime.session',
    id,
    model,
    output_modalities: modalities(fieldOf(effective, 'output_modalities')) ?? null,
    ...fieldsOf(effective, owned),
    expires_at: expiresAt,
    audio: { input, output: fieldsOf(objectAt(effective, 'audio', 'output'), outputFields) },
  };
  return options.owned === undefined ? session : withFree(session, effective, options.owned);
}

const freeFields: Fields = {
  instructions: text,
  tool_choice: either(text, object({ type: text, name: text, server_label: text })),
  max_output_tokens: either(number, oneOf('inf')),
  parallel_tool_calls: flag,
  reasoning: object({ effort: text }),
  tracing: nullable(anything),
  truncation: anything,
  prompt: nullable(object({ id: text, version: text, variables: anything })),
  include: nullable(whole(text)),
};

const tool = object({
  type: text,
  name: text,
  description: text,
  parameters: anything,
  server_label: text,
  server_description: text,
  allowed_tools: anything,
  allowed_callers: anything,
  defer_loading: flag,
  require_approval: anything,
});

/** Adds what a trusted client may know: everything that is not of the profile. */
function withFree(session: JsonObject, effective: JsonObject, profile: JsonObject): JsonObject {
  const set = new Set(setFields(profile));
  // Upstream echoes the instructions of a stored prompt as the session's own.
  if (set.has('prompt')) set.add('instructions');
  if (set.has('instructions') || set.has('tools')) set.add('prompt');
  const free = Object.entries(freeFields).filter(([name]) => !set.has(name));
  const shown = { ...session, ...fieldsOf(effective, Object.fromEntries(free)) };
  if (!set.has('tools')) shown.tools = list(tool)(fieldOf(effective, 'tools')) ?? [];
  return shown;
}

function objectAt(value: JsonObject, ...path: string[]): JsonObject {
  const found = valueAt(value, path);
  return isObject(found) ? found : {};
}

/** What each field accepts, for the person who reads the error. */
const accepts: Record<SessionField, string> = {
  'audio.input.format': "an object of type 'audio/pcm' (rate 24000), 'audio/pcmu' or 'audio/pcma'",
  'audio.input.turn_detection': "null, or an object of type 'server_vad' or 'semantic_vad'",
  'audio.input.noise_reduction': "null, or an object of type 'near_field' or 'far_field'",
  'audio.input.transcription': 'null, or an object with model, language and prompt',
  'audio.output.format': "an object of type 'audio/pcm' (rate 24000), 'audio/pcmu' or 'audio/pcma'",
  'audio.output.voice': 'the name of a voice, or an object with its id',
  'audio.output.speed': 'a number from 0.25 to 1.5',
  output_modalities: "['audio'] or ['text']",
  max_output_tokens: "a whole number from 1, or 'inf'",
};

/** Checks a value against what a session field may hold; returns it rebuilt, or what is wrong with it. */
export function checkField(field: SessionField, value: Json, under: string): { value: Json } | { fault: Fault } {
  const candidate = structuredClone(value);
  let result = sessionFields[field].safeParse(candidate);
  // Fields that we do not know are left out, like everything else a client may not set; a wrong value is an error.
  for (const issue of result.error?.issues ?? []) {
    if (issue.code !== 'unrecognized_keys') continue;
    const holder = valueAt(candidate, issue.path);
    if (isObject(holder)) for (const key of issue.keys) delete holder[key];
  }
  if (!result.success) result = sessionFields[field].safeParse(candidate);
  if (result.success) return { value: result.data as Json };
  return { fault: faultOf(result.error, candidate, `${under}.${field}`, `Expected ${accepts[field]}.`) };
}

/** What of an end user's session update may go upstream: only `type` when nothing is left. */
export function permittedUpdate(
  session: JsonObject,
  type: Json,
  locks: Locks,
): { session: JsonObject } | { fault: Fault } {
  const permitted: JsonObject = { type };
  for (const field of locks.mayUpdate) {
    const path = field.split('.');
    const value = valueAt(session, path);
    if (value === undefined) continue;
    const checked = checkField(field, value, 'session');
    if ('fault' in checked) return checked;
    setAt(permitted, path, checked.value);
  }
  return { session: permitted };
}

const readOnly = ['object', 'id', 'model', 'expires_at', 'client_secret'];

/** What of a trusted client's session update may go upstream: everything the profile does not set. */
export function trustedUpdate(session: JsonObject, type: Json, locks: Locks): JsonObject {
  const rest = withoutLocked(session, locks);
  for (const field of readOnly) delete rest[field];
  return { ...rest, type };
}

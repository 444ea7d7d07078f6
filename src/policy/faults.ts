/** What is said to a client when an event of its own is not carried out, by the relay or by upstream. */

import type { z } from 'zod';
import type { Json, JsonObject } from '../protocol/event.js';
import { fieldOf, isObject, valueAt } from './shape.js';

/** What is wrong with a client's event. */
export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  /** A well-behaved client can run into this when its event crosses one of the server's on the way. */
  readonly race?: true;
}

/** An event type or field name of a client, fit to be quoted back at it. */
export function quoted(value: Json | undefined, otherwise: string): string {
  return typeof value === 'string' && /^[A-Za-z0-9_.:-]{1,64}$/.test(value) ? `'${value}'` : otherwise;
}

export function missing(param: string): Fault {
  return { code: 'missing_required_parameter', message: `Missing required parameter: '${param}'.`, param };
}

export function invalid(param: string, expected: string): Fault {
  return { code: 'invalid_value', message: `Invalid value for '${param}'. Expected ${expected}.`, param };
}

export function unknownItem(param: string): Fault {
  const message = `'${param}' does not name an item of this conversation that this client may refer to.`;
  return { code: 'unknown_item', message, param };
}

/** The first problem a schema found in `value`, which stands at `at` in the client's event. */
export function faultOf(error: z.ZodError, value: Json, at: string, expected = ''): Fault {
  const [issue] = error.issues;
  if (issue === undefined) return invalid(at, 'something else');
  const param = issue.path.reduce<string>(
    (path, key) => (typeof key === 'number' ? `${path}[${key}]` : `${path}.${String(key)}`),
    at,
  );
  if (issue.path.length > 0 && valueAt(value, issue.path) === undefined) return missing(param);
  const message = `Invalid value for '${param}': ${issue.message.slice(0, 256)}. ${expected}`.trimEnd();
  return { code: 'invalid_value', message, param };
}

/** What a response that is asked for while another one runs is refused with, by upstream and by the relay. */
export const busyCode = 'conversation_already_has_active_response';

/** What the output of a call is refused with that upstream does not know, or not any more. */
export const unknownCallCode = 'invalid_tool_call_id';

const unexplained = 'The model service could not carry out a request.';

/** Codes of upstream that tell a client about its own doing, with words of ours: upstream's may quote the configuration. */
const upstreamCodes = new Map([
  ['unknown_parameter', 'The event has a parameter that the model service does not know.'],
  ['missing_required_parameter', 'The event lacks a required parameter.'],
  ['invalid_value', 'A value in the event is not valid.'],
  ['invalid_type', 'A value in the event has the wrong type.'],
  ['invalid_parameter', 'A parameter of the event is not valid.'],
  ['invalid_event', 'The event is not valid.'],
  ['invalid_json', 'The event is not valid JSON.'],
  ['cannot_update_voice', 'The voice cannot be changed once audio was produced.'],
  [busyCode, 'The conversation already has an active response. Wait until it is finished before creating another.'],
  ['response_cancel_not_active', 'Cancellation failed: no active response was found.'],
  ['input_audio_buffer_commit_empty', 'The input audio buffer is too small to commit: at least 100 ms are needed.'],
  ['item_truncate_invalid_item_id', 'The item to truncate does not exist or cannot be truncated.'],
  ['item_truncate_invalid_audio_end_ms', "'audio_end_ms' is past the end of the item's audio."],
  ['item_already_truncated', 'The item was truncated before.'],
  ['item_retrieve_invalid_item_id', 'The item to retrieve does not exist.'],
  ['item_delete_invalid_item_id', 'The item to delete does not exist.'],
  ['item_not_found', 'The item does not exist.'],
  ['session_expired', 'The session reached its maximum length.'],
  ['rate_limit_exceeded', 'Too many requests at the moment. Try again later.'],
  ['audio_unintelligible', 'The audio could not be understood.'],
  ['internal_error', 'The model service had an internal error.'],
]);

const upstreamTypes = new Set(['invalid_request_error', 'server_error', 'transcription_error']);

/** What a client may know of an error of upstream: a known type and code, and a message of ours. */
export function publicError(error: Json | undefined): JsonObject {
  const { type, code } = isObject(error) ? error : {};
  const known = typeof code === 'string' ? upstreamCodes.get(code) : undefined;
  return {
    type: typeof type === 'string' && upstreamTypes.has(type) ? type : 'server_error',
    code: known === undefined ? 'upstream_error' : (code ?? null),
    message: known ?? unexplained,
  };
}

/** The words of an utterance that are not to be had any more: another connection was told its sound. */
export const wordsLost = {
  type: 'server_error',
  code: 'words_lost',
  message: 'The words of this utterance were lost with a connection; the model has heard it.',
  param: null,
} as const;

/** Why an utterance has no words; that its model is not deployed is the server's matter, and said as such. */
export function publicTranscriptionError(error: Json | undefined): JsonObject {
  const { code } = isObject(error) ? error : {};
  if (code === wordsLost.code) return { ...wordsLost };
  if (code !== 'DeploymentNotFound') return { ...publicError(error), param: null };
  return {
    type: 'server_error',
    code: 'transcription_unavailable',
    message:
      "The server's settings name a transcription model that is not deployed; " +
      'the conversation goes on without the words of the user. Tell the operator of this service.',
    param: null,
  };
}

const clientParam =
  /^(?:type|event_id|item_id|previous_item_id|response_id|content_index|audio_end_ms|audio|item(?:\.(?:id|type|role|status|content(?:\[\d{1,3}\](?:\.(?:type|text|audio|transcript))?)?|call_id|output))?|response(?:\.(?:output_modalities|max_output_tokens))?)$/;

/** The parameter an upstream error names, if it is one a client may set; `mayUpdate` are its session fields. */
export function publicParam(error: JsonObject, mayUpdate: readonly string[]): string | null {
  const param = fieldOf(error, 'param');
  if (typeof param !== 'string' || param.length > 128) return null;
  if (clientParam.test(param) || param === 'session' || param === 'session.type') return param;
  const isOwn = mayUpdate.some((field) => param === `session.${field}` || fieldBelow(param, `session.${field}.`));
  return isOwn ? param : null;
}

function fieldBelow(param: string, prefix: string): boolean {
  return param.startsWith(prefix) && /^[a-z_]{1,32}$/.test(param.slice(prefix.length));
}

/** What is wrong with a `response.create` while somebody else says when the model answers. */
export const takenOver: Fault = {
  code: 'taken_over',
  message: 'Somebody has taken over this session: the model answers when they ask it to.',
  param: null,
  race: true,
};

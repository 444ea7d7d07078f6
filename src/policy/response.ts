/** The response object as a client sees it. */

import type { Json, JsonObject } from '../protocol/event.js';
import { publicError } from './faults.js';
import { kindOf, publicItem } from './items.js';
import { judgeItem, type Memory } from './memory.js';
import { either, type Fields, fieldsOf, isObject, list, nullable, number, object, oneOf, own, text } from './shape.js';

const cachedTokens = object({ text_tokens: number, audio_tokens: number, image_tokens: number });

const usage = object({
  total_tokens: number,
  input_tokens: number,
  output_tokens: number,
  input_token_details: nullable(
    object({
      text_tokens: number,
      audio_tokens: number,
      image_tokens: number,
      cached_tokens: number,
      cached_tokens_details: nullable(cachedTokens),
    }),
  ),
  output_token_details: nullable(object({ text_tokens: number, audio_tokens: number })),
});

/** What a transcription cost, in tokens or in seconds. */
export const transcriptionUsage = object({
  type: oneOf('tokens', 'duration'),
  total_tokens: number,
  input_tokens: number,
  input_token_details: nullable(object({ text_tokens: number, audio_tokens: number })),
  output_tokens: number,
  seconds: number,
});

const fields: Fields = {
  object: oneOf('realtime.response'),
  id: text,
  status: oneOf('in_progress', 'completed', 'cancelled', 'incomplete', 'failed'),
  conversation_id: nullable(text),
  output_modalities: list(oneOf('audio', 'text')),
  audio: object({
    output: object({
      format: object({ type: text, rate: number }),
      voice: either(text, object({ id: text })),
    }),
  }),
  usage: nullable(usage),
};

/** Rebuilds a response: items the client may not see are left out of `output`, and `metadata` is the client's own. */
export function responseOf(response: JsonObject, memory: Memory): JsonObject {
  const id = own(response, 'id');
  const limit = memory.trusted ? either(number, oneOf('inf'))(own(response, 'max_output_tokens')) : 'inf';
  return {
    ...fieldsOf(response, fields),
    max_output_tokens: limit ?? 'inf',
    status_details: details(own(response, 'status_details')),
    output: output(own(response, 'output'), memory),
    metadata: typeof id === 'string' ? memory.responses.metadata(id) : null,
  };
}

function details(value: Json | undefined): JsonObject | null {
  if (!isObject(value)) return null;
  const shown = fieldsOf(value, {
    type: oneOf('completed', 'cancelled', 'incomplete', 'failed'),
    reason: oneOf('turn_detected', 'client_cancelled', 'max_output_tokens', 'content_filter'),
  });
  const error = own(value, 'error');
  return isObject(error) ? { ...shown, error: publicError(error) } : shown;
}

function output(value: Json | undefined, memory: Memory): JsonObject[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item) => {
    const shown = isObject(item) && judgeItem(memory, item, kindOf(item)) ? publicItem(item) : null;
    return shown === null ? [] : [shown];
  });
}

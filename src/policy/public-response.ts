/** The response object as a client sees it. */

import type { Json, JsonObject } from '../protocol/event.js';
import { publicError } from './faults.js';
import { kindOf, publicItem } from './items.js';
import {
  either,
  type Fields,
  fieldOf,
  fieldsOf,
  isObject,
  nullable,
  number,
  object,
  oneOf,
  type Shape,
  text,
  whole,
} from './shape.js';
import { judgeOutput, type Memory } from './state.js';

/** More than any service counts of one answer. */
const countsKept = 32;
const countName = /^[a-z][a-z0-9_]{0,63}$/;

/** Counts under whatever name, one within another at most so often: what something cost is no secret of the server. */
function counts(depth: number): Shape {
  return (value) => {
    if (!isObject(value)) return undefined;
    const shown: JsonObject = {};
    for (const name of Object.keys(value).slice(0, countsKept)) {
      const given = value[name];
      if (!countName.test(name)) continue;
      if (typeof given === 'number' || given === null) shown[name] = given;
      else if (depth > 1 && isObject(given)) shown[name] = counts(depth - 1)(given);
    }
    return shown;
  };
}

const usage = counts(3);

/** What a transcription cost, in tokens or in seconds. */
export const transcriptionUsage: Shape = (value) => {
  const shown = usage(value);
  if (!isObject(shown) || !isObject(value)) return undefined;
  const type = oneOf('tokens', 'duration')(fieldOf(value, 'type'));
  return type === undefined ? shown : { type, ...shown };
};

const fields: Fields = {
  object: oneOf('realtime.response'),
  id: text,
  status: oneOf('in_progress', 'completed', 'cancelled', 'incomplete', 'failed'),
  conversation_id: nullable(text),
  output_modalities: whole(oneOf('audio', 'text')),
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
  const id = fieldOf(response, 'id');
  const limit = memory.trusted ? either(number, oneOf('inf'))(fieldOf(response, 'max_output_tokens')) : 'inf';
  return {
    ...fieldsOf(response, fields),
    max_output_tokens: limit ?? 'inf',
    status_details: details(fieldOf(response, 'status_details')),
    output: output(fieldOf(response, 'output'), memory),
    metadata: typeof id === 'string' ? memory.responses.metadata(id) : null,
  };
}

function details(value: Json | undefined): JsonObject | null {
  if (!isObject(value)) return null;
  const shown = fieldsOf(value, {
    type: oneOf('completed', 'cancelled', 'incomplete', 'failed'),
    reason: oneOf('turn_detected', 'client_cancelled', 'max_output_tokens', 'content_filter'),
  });
  const error = fieldOf(value, 'error');
  return isObject(error) ? { ...shown, error: publicError(error) } : shown;
}

function output(value: Json | undefined, memory: Memory): JsonObject[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item) => {
    const shown = isObject(item) && judgeOutput(memory, item, kindOf(item)) ? publicItem(item) : null;
    return shown === null ? [] : [shown];
  });
}

/** Server events of types that did not exist when this was written, for profiles that opt in to them. */

import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { kindOf, looksLikeItem } from './items.js';
import { fieldOf, isObject } from './shape.js';
import { judgeItem, type Memory } from './state.js';

/** Fields that carry the server's configuration, its tools or its credentials, wherever they occur. */
const serverOwned: ReadonlySet<string> = new Set([
  'instructions',
  'tools',
  'tool',
  'tool_choice',
  'tool_name',
  'prompt',
  'tracing',
  'transcription',
  'parameters',
  'input_schema',
  'arguments',
  'authorization',
  'headers',
  'server_url',
  'server_label',
  'connector_id',
  'tunnel_id',
  'client_secret',
  'metadata',
  'session',
  'model',
  'deployment',
  'rate_limits',
  'error',
  'logprobs',
]);

const refersToItem: ReadonlySet<string> = new Set(['item_id', 'previous_item_id']);

/**
 * Whether an unknown event holds nothing that a known event would have been stripped of. It is judged by what it
 * carries: one forbidden field, hidden item or hidden response anywhere in it and the whole event is kept back.
 */
export function isHarmless(body: JsonObject, memory: Memory): boolean {
  return Object.entries(body).every(([key, value]) => fieldIsHarmless(key, value, memory));
}

function fieldIsHarmless(key: string, value: Json | undefined, memory: Memory): boolean {
  if (serverOwned.has(key)) return false;
  if (value === null) return true;
  if (refersToItem.has(key)) return memory.items.shown(value) !== undefined;
  if (key === 'response_id') return memory.responses.shows(value);
  if (key === 'call_id') return typeof value === 'string' && memory.calls.has(value);
  return valueIsHarmless(value, memory);
}

function valueIsHarmless(value: Json | undefined, memory: Memory): boolean {
  if (typeof value === 'string') return !memory.items.isHidden(value) && !value.startsWith(relayPrefix);
  if (Array.isArray(value)) return value.every((element) => valueIsHarmless(element, memory));
  if (!isObject(value)) return true;
  if (looksLikeItem(value) && !judgeItem(memory, value, kindOf(value))) return false;
  if (fieldOf(value, 'object') === 'realtime.response' && !memory.responses.shows(fieldOf(value, 'id'))) return false;
  return isHarmless(value, memory);
}

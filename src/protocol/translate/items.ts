/** Conversation items and responses in both dialects, as services send them and as clients create them. */

import type { Json, JsonObject } from '../event.js';
import { firstVersionOnly, responseFields, responseRequestFields, withoutForeign } from './session.js';
import { flatten, isObject, nest, omit } from './tables.js';

const spoken = [
  ['text', 'output_text'],
  ['audio', 'output_audio'],
] as const;

/** Whether an item belongs to the Model Context Protocol, which preview does not know. */
export function isMcpItem(item: Json | undefined): boolean {
  return isObject(item) && typeof item.type === 'string' && item.type.startsWith('mcp_');
}

/** A preview item as GA: content parts get their GA names and lose their ids. */
export function itemToGa(item: Json): Json {
  return mapContent(item, (part, role) => {
    const bare = omit(part, 'id');
    if (role === 'assistant') return retyped(bare, spoken.find(([preview]) => preview === part.type)?.[1]);
    return part.type === 'text' && (role === 'user' || role === 'system') ? retyped(bare, 'input_text') : bare;
  });
}

/** A GA item as preview. */
export function itemToPreview(item: Json): Json {
  return mapContent(item, (part, role) => {
    if (role !== 'assistant') return part;
    return retyped(part, spoken.find(([, ga]) => ga === part.type)?.[0]);
  });
}

/** A GA item of a service as preview, where every item says what it is; live GA items often do not. */
export function shownItemToPreview(item: Json): Json {
  const mapped = itemToPreview(item);
  return isObject(mapped) && mapped.object === undefined
    ? { object: 'realtime.item', ...omit(mapped, 'object') }
    : mapped;
}

/** `response` of a GA service as preview. */
export function responseToPreview(response: JsonObject, temperature: number): JsonObject {
  const flat: JsonObject = { ...flatten(response, responseFields), temperature };
  if (Array.isArray(response.output)) {
    flat.output = response.output.filter((item) => !isMcpItem(item)).map(shownItemToPreview);
  }
  if (isObject(response.usage)) flat.usage = usageToPreview(response.usage);
  return flat;
}

/** `response` of a preview service as GA. */
export function responseToGa(response: JsonObject): JsonObject {
  const nested = nest(omit(response, 'temperature'), responseFields);
  return Array.isArray(response.output) ? { ...nested, output: response.output.map(itemToGa) } : nested;
}

/** `response` of a preview client's response.create as GA. */
export function responseRequestToGa(request: JsonObject): JsonObject {
  const nested = nest(omit(request, 'temperature', ...firstVersionOnly), responseRequestFields);
  return Array.isArray(request.input) ? { ...nested, input: request.input.map(itemToGa) } : nested;
}

/** `response` of a GA response.create as preview. */
export function responseRequestToPreview(request: JsonObject): JsonObject {
  const flat = flatten(
    omit(withoutForeign(request), 'prompt', 'reasoning', 'parallel_tool_calls'),
    responseRequestFields,
  );
  return Array.isArray(request.input) ? { ...flat, input: request.input.map(itemToPreview) } : flat;
}

function mapContent(item: Json, convert: (part: JsonObject, role: Json | undefined) => JsonObject): Json {
  if (!isObject(item) || !Array.isArray(item.content)) return item;
  return { ...item, content: item.content.map((part) => (isObject(part) ? convert(part, item.role) : part)) };
}

function retyped(part: JsonObject, type: string | undefined): JsonObject {
  return type === undefined ? part : { ...part, type };
}

function usageToPreview(usage: JsonObject): JsonObject {
  const input = usage.input_token_details;
  if (!isObject(input)) return usage;
  const details = omit(input, 'image_tokens');
  const cached = details.cached_tokens_details;
  return {
    ...usage,
    input_token_details: isObject(cached)
      ? { ...details, cached_tokens_details: omit(cached, 'image_tokens') }
      : details,
  };
}

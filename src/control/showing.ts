/** What somebody who follows a session is shown of it: all in GA, but for credentials of others, and sound that was not asked for. */

import { relayPrefix } from '../protocol/catalogue.js';
import { isObject, type Json, type JsonObject, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Registered } from '../session/registry.js';

const redacted = '[redacted]';

/** The session object of the first event, and of every later one. */
export function greetingOf(session: JsonObject, { id, overview }: Registered): JsonObject {
  const own = { id, expires_at: Math.floor(overview().expiresAt / 1000) };
  return { ...withoutKeys(session), ...own };
}

/** An event of upstream's as it is shown; null where it is not. */
export function asSeen(
  { type, raw, body }: RealtimeEvent,
  session: Registered,
  audio: boolean,
): JsonObject | Buffer | null {
  if (type === family.down.audio && !audio) return null;
  if (body === null) return raw;
  const { session: told, response } = body;
  const shown = isObject(told)
    ? { ...body, session: greetingOf(told, session) }
    : isObject(response) && Array.isArray(response.tools)
      ? { ...body, response: withoutKeys(response) }
      : body;
  return audio ? shown : withoutSound(shown);
}

/** An event of the client's as it is shown; null where it is not. `eventId` is its own, where it has one. */
export function asClientSent({ type, raw, body }: RealtimeEvent, eventId: unknown, audio: boolean): JsonObject | null {
  if (type === family.up.audio && !audio) return null;
  // Speech is passed on as it came, its id included.
  if (body === null) return JSON.parse(String(raw)) as JsonObject;
  const { event_id: _, ...event } = body;
  const { response, session } = event;
  const shown: JsonObject = {
    ...event,
    ...(typeof eventId === 'string' && { event_id: eventId }),
    ...(isObject(response) && { response: withoutKeys(withoutTag(response)) }),
    ...(isObject(session) && { session: withoutKeys(session) }),
  };
  return audio ? shown : withoutSound(shown);
}

/** What the relay knows an answer by. */
function withoutTag(response: JsonObject): JsonObject {
  if (!isObject(response.metadata)) return response;
  const { metadata: given, ...rest } = response;
  const { [relayPrefix.slice(0, -1)]: _, ...metadata } = given as JsonObject;
  return Object.keys(metadata).length > 0 ? { ...rest, metadata } : rest;
}

/** Who may see a session, or what is asked of it, may not use what its tools use. */
function withoutKeys(owner: JsonObject): JsonObject {
  const { tools } = owner;
  return Array.isArray(tools) ? { ...owner, tools: tools.map(withoutKey) } : owner;
}

function withoutKey(tool: Json): Json {
  if (!isObject(tool) || tool.type !== 'mcp') return tool;
  const has = (field: string) => (tool[field] ?? null) !== null;
  return {
    ...tool,
    ...(has('authorization') && { authorization: redacted }),
    ...(has('headers') && { headers: redacted }),
  };
}

function withoutSound(body: JsonObject): JsonObject {
  const { item, response, part } = body;
  if (isObject(item)) return { ...body, item: quiet(item) };
  if (isObject(part)) return { ...body, part: silent(part) };
  if (!isObject(response)) return body;
  const { output, input } = response;
  return {
    ...body,
    response: { ...response, ...(output && { output: quietAll(output) }), ...(input && { input: quietAll(input) }) },
  };
}

function quietAll(items: Json): Json {
  return Array.isArray(items) ? items.map((one) => (isObject(one) ? quiet(one) : one)) : items;
}

function quiet(item: JsonObject): JsonObject {
  const { content } = item;
  return Array.isArray(content) ? { ...item, content: content.map(silent) } : item;
}

function silent(part: Json): Json {
  if (!isObject(part) || typeof part.audio !== 'string') return part;
  const { audio: _, ...rest } = part;
  return rest;
}

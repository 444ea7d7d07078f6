/** What a trusted client may send: every known event as it was parsed, but never what the profile has set. */

import { clientEvents } from '../protocol/catalogue.js';
import type { JsonObject } from '../protocol/event.js';
import { checkField, trustedUpdate } from './configuration.js';
import {
  metadataFault,
  notAllowed,
  notIssued,
  type Ruling,
  sessionType,
  underProfile,
  updateFault,
} from './end-user.js';
import { invalid, missing } from './faults.js';
import { idFault } from './items.js';
import { withoutLocked } from './locks.js';
import { fieldOf, isObject } from './shape.js';
import type { Memory } from './state.js';

const known: ReadonlySet<string> = new Set(clientEvents);

/** Judges one event of a trusted client. */
export function judgeTrusted(body: JsonObject, memory: Memory): Ruling {
  const type = fieldOf(body, 'type');
  if (typeof type !== 'string' || type === '') return { fault: missing('type') };
  if (!known.has(type)) return { fault: notAllowed(type) };
  switch (type) {
    case 'session.update':
      return updateSession(body, memory);
    case 'response.create':
      return createResponse(body, memory);
    case 'conversation.item.create':
      return createItem(body, memory);
    default:
      return { body: { ...body } };
  }
}

function updateSession(body: JsonObject, memory: Memory): Ruling {
  const session = fieldOf(body, 'session');
  const fault = updateFault(session, memory);
  if (fault !== null || !isObject(session)) return { fault: fault ?? missing('session') };
  return { body: { ...body, session: trustedUpdate(session, sessionType(memory), memory.imposed.locks) } };
}

function createItem(body: JsonObject, memory: Memory): Ruling {
  const item = fieldOf(body, 'item');
  if (!isObject(item)) return { fault: item === undefined ? missing('item') : invalid('item', 'an object') };
  const fault = idFault(fieldOf(item, 'id'), memory.items);
  if (fault !== null) return { fault };
  // Shown to it, but answered by the server: the model must not get two outputs.
  const isOurs =
    fieldOf(item, 'type') === 'function_call_output' && memory.served.has(String(fieldOf(item, 'call_id')));
  return isOurs ? { fault: notIssued() } : { body: { ...body } };
}

function createResponse(body: JsonObject, memory: Memory): Ruling {
  const wish = fieldOf(body, 'response') ?? {};
  if (!isObject(wish)) return { fault: invalid('response', 'an object') };
  const response = withoutLocked(wish, memory.imposed.locks);
  for (const field of ['output_modalities', 'max_output_tokens'] as const) {
    const value = fieldOf(wish, field);
    if (value === undefined || value === null) continue;
    // What the profile sets is compared with it, and that takes a value of a known form.
    const known = memory.imposed.locks.isLocked(field) ? checkField(field, value, 'response') : { value };
    const allowed = 'value' in known ? underProfile(field, known.value, memory) : undefined;
    if (allowed !== undefined) response[field] = allowed;
  }
  const metadata = fieldOf(wish, 'metadata');
  const fault = metadata === undefined || metadata === null ? null : metadataFault(metadata);
  return fault === null ? { body: { ...body, response } } : { fault };
}

/** What an end user may send. Every rule builds a new event from permitted fields; what has no rule is refused. */

import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { checkField, permittedUpdate } from './configuration.js';
import { exclusionFault } from './excluded.js';
import { type Fault, invalid, missing, quoted, unknownItem } from './faults.js';
import { idFault, permittedItem } from './items.js';
import { root } from './leading.js';
import { seedFault } from './seeds.js';
import { exactBase64For, fieldOf, isExactBase64, isObject } from './shape.js';
import type { Memory } from './state.js';
import { maxUpdates } from './updates.js';

/** An event that may go upstream, rebuilt and still without an `event_id`, or what is wrong with it. */
export type Ruling = { readonly body: JsonObject } | { readonly fault: Fault };

type Rule = (body: JsonObject, memory: Memory) => Ruling;

const clientRules = new Map<Json | undefined, Rule>([
  ['session.update', updateSession],
  ['input_audio_buffer.append', appendAudio],
  ['input_audio_buffer.commit', () => ({ body: { type: 'input_audio_buffer.commit' } })],
  ['input_audio_buffer.clear', () => ({ body: { type: 'input_audio_buffer.clear' } })],
  ['conversation.item.create', createItem],
  ['conversation.item.retrieve', retrieveItem],
  ['conversation.item.truncate', truncateItem],
  ['conversation.item.delete', deleteItem],
  ['response.create', createResponse],
  ['response.cancel', cancelResponse],
]);

/** Judges one event of an end user. */
export function judgeEndUser(body: JsonObject, memory: Memory): Ruling {
  const type = fieldOf(body, 'type');
  if (typeof type !== 'string' || type === '') return { fault: missing('type') };
  const rule = clientRules.get(type);
  return rule === undefined ? { fault: notAllowed(type) } : rule(body, memory);
}

/** An event type that is not for clients of this profile. */
export function notAllowed(type: string): Fault {
  const allowed = [...clientRules.keys()].join(', ');
  const message = `Events of type ${quoted(type, 'this kind')} are not allowed. Allowed are: ${allowed}.`;
  return { code: 'event_not_allowed', message, param: 'type' };
}

/** A client's `event_id` when it can stand in a log and is not of the relay's own; null when it has to be dropped. */
export function clientEventId(eventId: Json | undefined): string | null {
  if (typeof eventId !== 'string' || eventId.startsWith(relayPrefix)) return null;
  return /^[A-Za-z0-9_.:-]{1,512}$/.test(eventId) ? eventId : null;
}

function updateSession(body: JsonObject, memory: Memory): Ruling {
  const session = fieldOf(body, 'session');
  const fault = updateFault(session, memory);
  if (fault !== null || !isObject(session)) return { fault: fault ?? missing('session') };
  const permitted = permittedUpdate(session, sessionType(memory), memory.imposed.locks);
  return 'fault' in permitted ? permitted : { body: { type: 'session.update', session: permitted.session } };
}

/** What keeps a session update from being looked at, for any client. */
export function updateFault(session: Json | undefined, memory: Memory): Fault | null {
  if (session === undefined) return missing('session');
  if (!isObject(session)) return invalid('session', 'an object');
  const type = fieldOf(session, 'type');
  // GA wants a type in every update. One that is left out can only mean the type the session has.
  if (type !== undefined && type !== sessionType(memory)) {
    return invalid('session.type', `'${sessionType(memory)}': the type of a session cannot change`);
  }
  if (memory.updates.size >= maxUpdates) {
    const message = 'Too many session updates await an answer. Wait for session.updated before sending another.';
    return { code: 'too_many_updates', message, param: null };
  }
  return null;
}

/** The type every session of the profile has. */
export function sessionType(memory: Memory): string {
  return memory.profile.session.type;
}

function appendAudio(body: JsonObject): Ruling {
  const audio = fieldOf(body, 'audio');
  if (audio === undefined) return { fault: missing('audio') };
  if (typeof audio !== 'string') return { fault: invalid('audio', 'exact base64') };
  if (!isExactBase64(audio)) return { fault: invalid('audio', exactBase64For(audio)) };
  return { body: { type: 'input_audio_buffer.append', audio } };
}

function createItem(body: JsonObject, memory: Memory): Ruling {
  const item = fieldOf(body, 'item');
  if (item === undefined) return { fault: missing('item') };
  if (!isObject(item)) return { fault: invalid('item', 'an object') };
  const seeding = fieldOf(item, 'role') === 'assistant' ? seedingFault(item, memory) : null;
  if (seeding !== null) return { fault: seeding };
  const permitted = permittedItem(item);
  if ('fault' in permitted) return permitted;
  const fault = idFault(permitted.item.id, memory.items) ?? answerFault(permitted.item, memory) ?? budgetFault(memory);
  if (fault !== null) return { fault };
  const rebuilt: JsonObject = { type: 'conversation.item.create', item: permitted.item };
  const previous = fieldOf(body, 'previous_item_id');
  if (previous !== undefined && previous !== null) {
    if (previous !== root && memory.items.shown(previous) === undefined)
      return { fault: unknownItem('previous_item_id') };
    rebuilt.previous_item_id = previous;
  }
  return { body: rebuilt };
}

function seedingFault(item: JsonObject, { profile, seeds, responses }: Memory): Fault | null {
  if (fieldOf(item, 'type') !== 'message') return null;
  return seedFault(item, seeds, { seed: profile.client.may_seed, begun: responses.begun });
}

function answerFault(item: JsonObject, memory: Memory): Fault | null {
  if (item.type !== 'function_call_output') return null;
  const answered = memory.calls.get(String(item.call_id));
  if (answered === false) return null;
  return answered === true ? callFault('was already answered') : notIssued();
}

/** Of the output of a call that is not for this client to answer, whether there is such a call or not. */
export function notIssued(): Fault {
  return callFault('was not issued to this client');
}

function callFault(why: string): Fault {
  return { code: 'item_not_allowed', message: `The call named by 'item.call_id' ${why}.`, param: 'item.call_id' };
}

function budgetFault(memory: Memory): Fault | null {
  const { items } = memory.profile.limits;
  if (memory.created < items) return null;
  return { code: 'too_many_items', message: `A session may create at most ${items} items.`, param: null };
}

function retrieveItem(body: JsonObject, memory: Memory): Ruling {
  const itemId = fieldOf(body, 'item_id');
  if (itemId === undefined) return { fault: missing('item_id') };
  if (memory.items.shown(itemId) === undefined) return { fault: unknownItem('item_id') };
  return { body: { type: 'conversation.item.retrieve', item_id: itemId } };
}

function truncateItem(body: JsonObject, memory: Memory): Ruling {
  const itemId = fieldOf(body, 'item_id');
  const contentIndex = fieldOf(body, 'content_index');
  const audioEndMs = fieldOf(body, 'audio_end_ms');
  if (itemId === undefined) return { fault: missing('item_id') };
  const item = memory.items.shown(itemId);
  if (item === undefined) return { fault: unknownItem('item_id') };
  if (item.kind !== 'assistant') return { fault: invalid('item_id', 'the id of a message of the assistant') };
  if (contentIndex === undefined) return { fault: missing('content_index') };
  if (contentIndex !== 0) return { fault: invalid('content_index', '0') };
  if (audioEndMs === undefined) return { fault: missing('audio_end_ms') };
  if (typeof audioEndMs !== 'number' || !Number.isSafeInteger(audioEndMs) || audioEndMs < 0) {
    return { fault: invalid('audio_end_ms', 'a whole number of milliseconds from 0') };
  }
  return {
    body: {
      type: 'conversation.item.truncate',
      item_id: itemId,
      content_index: contentIndex,
      audio_end_ms: audioEndMs,
    },
  };
}

function deleteItem(body: JsonObject, memory: Memory): Ruling {
  const itemId = fieldOf(body, 'item_id');
  if (itemId === undefined) return { fault: missing('item_id') };
  const item = memory.items.shown(itemId);
  if (item === undefined) return { fault: unknownItem('item_id') };
  if (item.byClient) return { body: { type: 'conversation.item.delete', item_id: itemId } };
  const message = 'Only items that this client created may be deleted.';
  return { fault: { code: 'item_not_allowed', message, param: 'item_id' } };
}

function createResponse(body: JsonObject, memory: Memory): Ruling {
  if (sessionType(memory) === 'transcription') {
    const message = 'A transcription session gives no responses; transcripts come by themselves.';
    return { fault: { code: 'event_not_allowed', message, param: 'type' } };
  }
  const given = fieldOf(body, 'response') ?? null;
  if (given !== null && !isObject(given)) return { fault: invalid('response', 'an object') };
  const wish = given ?? {};
  const excluded = exclusionFault(wish);
  if (excluded !== null) return { fault: excluded };
  const response: JsonObject = {};
  for (const field of ['output_modalities', 'max_output_tokens'] as const) {
    const value = fieldOf(wish, field);
    if (value === undefined || value === null) continue;
    const checked = checkField(field, value, 'response');
    if ('fault' in checked) return checked;
    const allowed = underProfile(field, checked.value, memory);
    if (allowed !== undefined) response[field] = allowed;
  }
  const metadata = fieldOf(wish, 'metadata');
  if (metadata !== undefined && metadata !== null) {
    const fault = metadataFault(metadata);
    if (fault !== null) return { fault };
    response.metadata = metadata;
  }
  if (memory.responses.busy) return { fault: busy };
  return { body: given === null ? { type: 'response.create' } : { type: 'response.create', response } };
}

const busy: Fault = {
  code: 'conversation_already_has_active_response',
  message: 'The conversation already has an active response. Wait until it is finished before creating another.',
  param: null,
  race: true,
};

const draining: Fault = {
  code: 'not_while_draining',
  message: 'The relay is shutting down and gives no new answers; connect again to reach another instance.',
  param: null,
  race: true,
};

/** The ruling on a `response.create` that comes when no new answer is begun any more. */
export function notWhileDraining(): Ruling {
  return { fault: draining };
}

/** A value for one response held under what the profile sets; undefined when the profile leaves no room for it. */
export function underProfile(
  field: 'output_modalities' | 'max_output_tokens',
  value: Json,
  { imposed: { session, locks } }: Memory,
): Json | undefined {
  if (!locks.isLocked(field)) return value;
  const set = fieldOf(session, field);
  if (field === 'max_output_tokens') {
    if (typeof set !== 'number') return value;
    return typeof value === 'number' ? Math.min(value, set) : set;
  }
  // Audio always comes with its transcript, so text is less than audio and may be had instead.
  const textOnly = Array.isArray(set) && !set.includes('audio');
  return textOnly && Array.isArray(value) && value.includes('audio') ? undefined : value;
}

/** What is wrong with a client's metadata. The limits are those of the Realtime API reference. */
export function metadataFault(metadata: Json): Fault | null {
  const expected = 'at most 16 pairs of strings, keys up to 64 characters and values up to 512';
  if (!isObject(metadata)) return invalid('response.metadata', expected);
  const pairs = Object.entries(metadata);
  const isFine = pairs.every(([key, value]) => key.length <= 64 && typeof value === 'string' && value.length <= 512);
  return isFine && pairs.length <= 16 ? null : invalid('response.metadata', expected);
}

function cancelResponse(body: JsonObject, memory: Memory): Ruling {
  const responseId = fieldOf(body, 'response_id');
  if (responseId === undefined || responseId === null) return { body: { type: 'response.cancel' } };
  if (!memory.responses.shows(responseId)) {
    const message = "'response_id' does not name a response that this client was shown.";
    return { fault: { code: 'unknown_response', message, param: 'response_id' } };
  }
  return { body: { type: 'response.cancel', response_id: responseId } };
}

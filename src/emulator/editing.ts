/** The client's own doings in a conversation: create, retrieve, truncate and delete items. */
import type { Json, JsonObject } from '../protocol/event.js';
import { newId } from './ids.js';
import { type Complaint, complaint } from './schema.js';
import type { Script } from './script.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs } from './speech.js';
import { type Conversation, type Item, textOf } from './thread.js';

type Emit = (event: JsonObject) => void;

/** An item in events, from a validated one of a client; `id` is made up when the client chose none. */
function itemFrom(given: JsonObject, format: AudioFormat): Item {
  const id = typeof given.id === 'string' && given.id !== '' ? given.id : newId('item');
  const { id: _id, object: _object, status: _status, type, ...rest } = given;
  if (type !== 'message') {
    const calls = type === 'function_call' && rest.call_id === undefined ? { call_id: newId('call') } : {};
    // Outputs have no status (source: recordings of live sessions), nor have MCP's items (source: openai-node's types).
    const status = type === 'function_call' ? { status: 'completed' } : {};
    return { id, shown: { id, type, ...status, ...calls, ...rest }, heard: null, spoken: null };
  }
  const content = rest.content as JsonObject[];
  const sounds = content.flatMap(({ audio }) => (typeof audio === 'string' ? [Buffer.from(audio, 'base64')] : []));
  const heard = sounds.length > 0 ? { bytes: Buffer.concat(sounds), format } : null;
  const shown = { id, type, status: 'completed', role: rest.role, content: content.map(withoutAudio) };
  return { id, shown, heard, spoken: null };
}

/** Carries out `conversation.item.create`. */
export function createItem(
  event: JsonObject,
  conversation: Conversation,
  format: AudioFormat,
  emit: Emit,
): Complaint | null {
  const item = itemFrom(event.item as JsonObject, format);
  const previous = event.previous_item_id ?? undefined;
  if (conversation.find(item.id)) {
    return complaint('invalid_value', `Error adding item: an item with id '${item.id}' already exists.`, 'item.id');
  }
  if (typeof previous === 'string' && previous !== 'root' && !conversation.find(previous)) {
    const message = `Error adding item: the previous item with id '${previous}' does not exist.`;
    return complaint('invalid_value', message, 'previous_item_id');
  }
  const { type, call_id } = item.shown;
  const requests = (one: Item) =>
    one.shown.type === 'mcp_approval_request' && one.id === item.shown.approval_request_id;
  if (type === 'mcp_approval_response' && !conversation.items.some(requests)) {
    const message = `Approval request with id '${String(item.shown.approval_request_id)}' not found in conversation.`;
    return complaint('invalid_value', message, 'item.approval_request_id');
  }
  const answers = (one: Item) => one.shown.type === 'function_call' && one.shown.call_id === call_id;
  if (type === 'function_call_output' && !conversation.items.some(answers)) {
    return complaint('invalid_tool_call_id', `Tool call ID '${String(call_id)}' not found in conversation.`);
  }
  conversation.insert(item, previous === 'root' ? null : (previous as string | undefined));
  announce(item, conversation, emit);
  return null;
}

/** What the model reads for a response: the conversation, or what its `input` names and brings along. */
export function itemsToRead(
  input: Json | undefined,
  conversation: Conversation,
  format: AudioFormat,
): readonly Item[] | Complaint {
  if (!Array.isArray(input)) return conversation.items;
  const items: Item[] = [];
  for (const [index, one] of (input as JsonObject[]).entries()) {
    const known = one.type === 'item_reference' ? conversation.find(String(one.id)) : null;
    if (known === undefined) {
      const message = `The item with id '${String(one.id)}' does not exist.`;
      return complaint('item_not_found', message, `response.input[${index}].id`);
    }
    items.push(known ?? itemFrom(one, format));
  }
  return items;
}

/** Puts in what a script wants to stand before its response. */
export function insertScripted(script: Script, conversation: Conversation, emit: Emit): void {
  const system: JsonObject | null = script.systemItem
    ? { type: 'message', role: 'system', content: [{ type: 'input_text', text: script.systemItem }] }
    : null;
  for (const given of [system, script.serverInsertedItem]) {
    if (!given) continue;
    const id = typeof given.id === 'string' ? given.id : newId('item');
    const item: Item = { id, shown: { status: 'completed', ...given, id }, heard: null, spoken: null };
    conversation.insert(item);
    announce(item, conversation, emit);
  }
}

/** The two events that tell of an item that is complete as soon as it exists. */
export function announce(item: Item, conversation: Conversation, emit: Emit): void {
  const previous_item_id = conversation.before(item.id);
  emit({ type: 'conversation.item.added', previous_item_id, item: item.shown });
  emit({ type: 'conversation.item.done', previous_item_id, item: item.shown });
}

/** Carries out `conversation.item.retrieve`. */
export function retrieveItem(event: JsonObject, conversation: Conversation, emit: Emit): Complaint | null {
  const item = conversation.find(event.item_id as string);
  if (!item) return missing('retriev', 'item_retrieve_invalid_item_id', event);
  emit({ type: 'conversation.item.retrieved', item: withAudio(item) });
  return null;
}

/** Carries out `conversation.item.delete`. */
export function deleteItem(event: JsonObject, conversation: Conversation, emit: Emit): Complaint | null {
  if (!conversation.remove(event.item_id as string)) return missing('delet', 'item_delete_invalid_item_id', event);
  emit({ type: 'conversation.item.deleted', item_id: event.item_id });
  return null;
}

/** Carries out `conversation.item.truncate`. */
export function truncateItem(event: JsonObject, conversation: Conversation, emit: Emit): Complaint | null {
  const item = conversation.find(event.item_id as string);
  if (!item) return missing('truncat', 'item_truncate_invalid_item_id', event);
  const { spoken } = item;
  if (!spoken || event.content_index !== 0) {
    const message = 'Error truncating item: only model output audio messages can be truncated.';
    return complaint('item_truncate_invalid_item_id', message, spoken ? 'content_index' : 'item_id');
  }
  if (spoken.truncated) {
    return complaint('item_already_truncated', `Error truncating item: '${item.id}' is already truncated.`, 'item_id');
  }
  const perMs = bytesPerMs(spoken.clip.format);
  const lengthMs = Math.floor(spoken.bytes / perMs);
  const endMs = event.audio_end_ms as number;
  if (endMs > lengthMs) {
    const message = `Audio content of ${lengthMs}ms is already shorter than ${endMs}ms`;
    return complaint('item_truncate_invalid_audio_end_ms', message, 'audio_end_ms');
  }
  const transcript = textOf(item.shown);
  const kept = transcript.slice(0, Math.floor((transcript.length * endMs) / Math.max(1, lengthMs)));
  item.spoken = { clip: spoken.clip, bytes: endMs * perMs, truncated: true };
  item.shown = { ...item.shown, content: [{ type: 'output_audio', transcript: kept }] };
  emit({ type: 'conversation.item.truncated', item_id: item.id, content_index: 0, audio_end_ms: endMs });
  return null;
}

/** The server's full copy of an item. */
function withAudio(item: Item): JsonObject {
  const audio = item.heard?.bytes ?? item.spoken?.clip.slice(0, item.spoken.bytes);
  if (!audio) return item.shown;
  const content = (item.shown.content as JsonObject[]).map((part) =>
    part.type === 'input_audio' || part.type === 'output_audio' ? { ...part, audio: audio.toString('base64') } : part,
  );
  return { ...item.shown, content };
}

function withoutAudio(part: JsonObject): JsonObject {
  if (part.type !== 'input_audio') return part;
  return { type: 'input_audio', transcript: part.transcript ?? null };
}

function missing(verb: string, code: string, event: JsonObject): Complaint {
  const message = `Error ${verb}ing item: the item with id '${String(event.item_id)}' does not exist.`;
  return complaint(code, message, 'item_id');
}

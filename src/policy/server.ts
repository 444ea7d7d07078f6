/** What a client may see. Every event of upstream is rebuilt from permitted fields; what has no rule is kept back. */

import { heardDown, relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { publicTranscriptionError } from './faults.js';
import { kindOf, publicItem } from './items.js';
import { responseOf, transcriptionUsage } from './public-response.js';
import {
  either,
  type Fields,
  fieldOf,
  fieldsOf,
  isObject,
  nullable,
  number,
  object,
  type Shape,
  text,
  whole,
} from './shape.js';
import { judgeItem, judgeOutput, type Memory } from './state.js';

/** The client's version of an event, without `type` and `event_id`; null when it may not see it. */
export type View = (body: JsonObject, memory: Memory) => JsonObject | null;

const part = object({ type: text, text, transcript: nullable(text), audio: text });
const index: Fields = { output_index: number, content_index: number };
/** Upstream pads words; what hides their length from who watches the wire does so on the client's wire, too. */
const padding: Shape = (value) => (typeof value === 'string' && /^[A-Za-z0-9]{0,128}$/.test(value) ? value : undefined);
const words: Fields = { delta: text, obfuscation: padding };

function plain(fields: Fields): View {
  return (body) => fieldsOf(body, fields);
}

function onlyTrusted(view: View): View {
  return (body, memory) => (memory.trusted ? view(body, memory) : null);
}

/** Of one item, which the client must have been shown, as must be the response it names, if it names one. */
function aboutItem(fields: Fields): View {
  const permitted = { item_id: text, ...fields };
  return (body, memory) => {
    const responseId = fieldOf(body, 'response_id');
    if (responseId !== undefined && !memory.responses.shows(responseId)) return null;
    return memory.items.shown(fieldOf(body, 'item_id')) === undefined ? null : fieldsOf(body, permitted);
  };
}

/** Of one response, which the client must have been shown. */
function aboutResponse(fields: Fields): View {
  const permitted = { response_id: text, ...fields };
  return (body, memory) => (memory.responses.shows(fieldOf(body, 'response_id')) ? fieldsOf(body, permitted) : null);
}

/** Of one item that one response brings forth: the client must have been shown both. */
function aboutOutput(fields: Fields): View {
  const inner = aboutItem({ response_id: text, ...index, ...fields });
  return (body, memory) => (fieldOf(body, 'response_id') === undefined ? null : inner(body, memory));
}

/** Of one function call: nothing but a call shown to the client may carry a call's arguments. */
function aboutCall(fields: Fields): View {
  const inner = aboutOutput({ call_id: text, ...fields });
  return (body, memory) => {
    if (memory.trusted) return inner(body, memory);
    const name = fieldOf(body, 'name');
    if (name !== undefined && !(typeof name === 'string' && memory.clientTools.has(name))) return null;
    return memory.items.shown(fieldOf(body, 'item_id'))?.kind === 'function_call' ? inner(body, memory) : null;
  };
}

/** Of an utterance: its item is announced here before it is added to the conversation. */
function aboutSpeech(fields: Fields): View {
  return (body, memory) => {
    const id = fieldOf(body, 'item_id');
    if (typeof id !== 'string') return fieldsOf(body, fields);
    const previous = fieldOf(body, 'previous_item_id');
    if (id.startsWith(relayPrefix) || !memory.items.show(id, { kind: 'user', byClient: true }, previous)) return null;
    return withPrevious({ item_id: id, ...fieldsOf(body, fields) }, body, memory);
  };
}

/** Adds the nearest predecessor that the client knows. */
function withPrevious(view: JsonObject, body: JsonObject, memory: Memory): JsonObject {
  const previous = fieldOf(body, 'previous_item_id');
  return previous === undefined ? view : { ...view, previous_item_id: memory.items.nearest(previous) };
}

const inConversation: View = (body, memory) => {
  const item = fieldOf(body, 'item');
  if (!isObject(item) || !judgeItem(memory, item, kindOf(item), fieldOf(body, 'previous_item_id'))) return null;
  const shown = publicItem(item);
  return shown === null ? null : withPrevious({ item: shown }, body, memory);
};

const retrieved: View = (body, memory) => {
  const item = fieldOf(body, 'item');
  if (!isObject(item)) return null;
  const id = fieldOf(item, 'id');
  if (typeof id !== 'string' || !memory.retrieving.delete(id) || !judgeItem(memory, item, kindOf(item))) return null;
  const shown = publicItem(item);
  return shown === null ? null : { item: shown };
};

const deleted: View = (body, memory) => {
  const id = fieldOf(body, 'item_id');
  if (typeof id !== 'string') return null;
  const wasShown = memory.items.shown(id) !== undefined;
  memory.items.remove(id);
  return wasShown ? { item_id: id } : null;
};

const outputItem: View = (body, memory) => {
  const item = fieldOf(body, 'item');
  if (!isObject(item)) return null;
  if (!memory.responses.shows(fieldOf(body, 'response_id'))) {
    // What a hidden response brings forth is hidden wherever it turns up next.
    const id = fieldOf(item, 'id');
    if (typeof id === 'string') memory.items.hide(id, undefined);
    return null;
  }
  if (!judgeOutput(memory, item, kindOf(item))) return null;
  const shown = publicItem(item);
  return shown === null ? null : { ...fieldsOf(body, { response_id: text, output_index: number }), item: shown };
};

const responseCreated: View = (body, memory) => {
  const response = fieldOf(body, 'response');
  if (!isObject(response)) return null;
  const id = fieldOf(response, 'id');
  if (typeof id !== 'string' || !memory.responses.created(id, fieldOf(response, 'metadata'))) return null;
  return { response: responseOf(response, memory) };
};

const responseDone: View = (body, memory) => {
  const response = fieldOf(body, 'response');
  if (!isObject(response)) return null;
  const id = fieldOf(response, 'id');
  if (typeof id !== 'string' || !memory.responses.shows(id)) return null;
  const view = { response: responseOf(response, memory) };
  memory.responses.done(id);
  return view;
};

const failedTranscription: View = (body, memory) => {
  const view = aboutItem({ content_index: number })(body, memory);
  return view === null ? null : { ...view, error: publicTranscriptionError(fieldOf(body, 'error')) };
};

/** Services send names and, some of them, objects. */
const language = object({ code: text, name: text, confidence: number, probability: number });
const languages = whole(
  either(text, (value) => (isObject(value) && fieldOf(value, 'code') !== undefined ? language(value) : undefined)),
);

const rateLimit = object({ name: text, limit: number, remaining: number, reset_seconds: number });

/** Every server event a client may see, and what of it. `error` and `session.updated` answer something: see answer.ts. */
export const views: ReadonlyMap<Json | undefined, View> = new Map<Json | undefined, View>([
  ['conversation.created', plain({ conversation: object({ id: text, object: text }) })],
  ['conversation.item.added', inConversation],
  ['conversation.item.done', inConversation],
  ['conversation.item.created', inConversation],
  ['conversation.item.retrieved', retrieved],
  ['conversation.item.truncated', aboutItem({ content_index: number, audio_end_ms: number })],
  ['conversation.item.deleted', deleted],
  [heardDown, aboutItem({ content_index: number, ...words })],
  [
    'conversation.item.input_audio_transcription.completed',
    aboutItem({ content_index: number, transcript: text, languages, usage: nullable(transcriptionUsage) }),
  ],
  ['conversation.item.input_audio_transcription.failed', failedTranscription],
  [
    'conversation.item.input_audio_transcription.segment',
    aboutItem({ content_index: number, id: text, text, speaker: text, start: number, end: number }),
  ],
  ['input_audio_buffer.committed', aboutSpeech({})],
  ['input_audio_buffer.cleared', plain({})],
  ['input_audio_buffer.speech_started', aboutSpeech({ audio_start_ms: number })],
  ['input_audio_buffer.speech_stopped', aboutSpeech({ audio_end_ms: number })],
  ['input_audio_buffer.timeout_triggered', aboutSpeech({ audio_start_ms: number, audio_end_ms: number })],
  ['input_audio_buffer.dtmf_event_received', plain({ event: text, received_at: number })],
  ['output_audio_buffer.started', aboutResponse({})],
  ['output_audio_buffer.stopped', aboutResponse({})],
  ['output_audio_buffer.cleared', aboutResponse({})],
  ['response.created', responseCreated],
  ['response.done', responseDone],
  ['response.output_item.added', outputItem],
  ['response.output_item.done', outputItem],
  ['response.content_part.added', aboutOutput({ part })],
  ['response.content_part.done', aboutOutput({ part })],
  ['response.output_text.delta', aboutOutput(words)],
  ['response.output_text.done', aboutOutput({ text })],
  ['response.output_audio.delta', aboutOutput({ delta: text })],
  ['response.output_audio.done', aboutOutput({})],
  ['response.output_audio_transcript.delta', aboutOutput(words)],
  ['response.output_audio_transcript.done', aboutOutput({ transcript: text })],
  ['response.function_call_arguments.delta', aboutCall(words)],
  ['response.function_call_arguments.done', aboutCall({ name: text, arguments: text })],
  ['response.mcp_call_arguments.delta', onlyTrusted(aboutOutput(words))],
  ['response.mcp_call_arguments.done', onlyTrusted(aboutOutput({ arguments: text }))],
  ['response.mcp_call.in_progress', onlyTrusted(aboutItem({ output_index: number }))],
  ['response.mcp_call.completed', onlyTrusted(aboutItem({ output_index: number }))],
  ['response.mcp_call.failed', onlyTrusted(aboutItem({ output_index: number }))],
  ['mcp_list_tools.in_progress', onlyTrusted(aboutItem({}))],
  ['mcp_list_tools.completed', onlyTrusted(aboutItem({}))],
  ['mcp_list_tools.failed', onlyTrusted(aboutItem({}))],
  ['rate_limits.updated', onlyTrusted(plain({ rate_limits: whole(rateLimit) }))],
]);

/** One item that a response brings forth: its events from `added` to `done`, in the order of the service. */
import type { JsonObject } from '../protocol/event.js';
import type { Output } from './answer.js';
import { newId } from './ids.js';
import { padded, pieces } from './padding.js';
import type { Conversation, Item } from './thread.js';

/** Whose manners an emulator has, where the two services differ. */
export type Personality = 'azure' | 'openai';

/** Where an output item is shown. */
export interface Showing {
  readonly responseId: string;
  /** Null when the item stays outside the conversation. */
  readonly conversation: Conversation | null;
  readonly like: Personality;
  /** What newer models say of a message; absent otherwise. */
  readonly phase: 'commentary' | 'final_answer' | null;
  emit(event: JsonObject): void;
}

const wordEvents = {
  text: 'response.output_text.delta',
  audio: 'response.output_audio_transcript.delta',
  call: 'response.function_call_arguments.delta',
  mcp: 'response.mcp_call_arguments.delta',
} as const;

export class OutputItem {
  readonly output: Output;
  readonly item: Item;
  readonly #index: number;
  readonly #showing: Showing;
  readonly #callId = newId('call');
  readonly #previousId: string | null;
  #text = '';
  #isOpen = true;
  #isRunning = false;

  constructor(output: Output, index: number, showing: Showing) {
    this.output = output;
    this.#index = index;
    this.#showing = showing;
    const { conversation, responseId } = showing;
    const shown = shownFirst(output, this.#callId, showing.phase);
    this.item = { id: String(shown.id), shown, heard: null, spoken: null };
    this.#previousId = conversation?.lastId ?? null;
    showing.emit({ type: 'response.output_item.added', response_id: responseId, output_index: index, item: shown });
    if (conversation) {
      conversation.insert(this.item);
      showing.emit({ type: 'conversation.item.added', previous_item_id: this.#previousId, item: shown });
    }
    if (output.kind === 'text' || output.kind === 'audio') this.#part('added', '');
  }

  /** Says words: of a text, of what is spoken, or of a call's arguments. */
  words(text: string): void {
    this.#text += text;
    const { kind } = this.output;
    // A request for approval is shown whole.
    if (kind === 'approval') return;
    for (const piece of pieces(text)) {
      this.#showing.emit({ type: wordEvents[kind], ...this.#at(), ...padded(piece) });
    }
  }

  audio(delta: string): void {
    this.#showing.emit({ type: 'response.output_audio.delta', ...this.#at(), delta });
  }

  /** The arguments of a call by the service are whole: the call begins. */
  run(): void {
    this.#isRunning = true;
    this.item.shown = { ...this.item.shown, arguments: this.#text };
    this.#showing.emit({ type: 'response.mcp_call_arguments.done', ...this.#at(), arguments: this.#text });
    this.#showing.emit({ type: 'response.mcp_call.in_progress', ...this.#place() });
  }

  /** Ends it; returns the item as `response.done` shows it. Ending it twice changes nothing. */
  close(status: 'completed' | 'incomplete'): JsonObject {
    if (!this.#isOpen) return this.item.shown;
    this.#isOpen = false;
    const { item } = this;
    const { emit, conversation, responseId } = this.#showing;
    item.shown = { ...item.shown, ...this.#ending(status) };
    if (conversation) {
      // Live services name no predecessor here for the second item of a conversation. Source: recordings.
      const isSecond = this.#previousId !== null && conversation.before(this.#previousId) === null;
      const previous_item_id = isSecond ? null : this.#previousId;
      emit({ type: 'conversation.item.done', previous_item_id, item: item.shown });
    }
    emit({ type: 'response.output_item.done', response_id: responseId, output_index: this.#index, item: item.shown });
    return item.shown;
  }

  /** Says what there is to say at the end, and returns the fields that change with it. */
  #ending(status: 'completed' | 'incomplete'): JsonObject {
    const { output } = this;
    const { emit } = this.#showing;
    const text = this.#text;
    const at = this.#at();
    switch (output.kind) {
      case 'text':
        emit({ type: 'response.output_text.done', ...at, text });
        this.#part('done', text);
        return { status, content: [{ type: 'output_text', text }] };
      case 'audio':
        emit({ type: 'response.output_audio.done', ...at });
        emit({ type: 'response.output_audio_transcript.done', ...at, transcript: text });
        this.#part('done', text);
        // What was cut already has the words that are left.
        if (this.item.spoken?.truncated) return { status };
        return { status, content: [{ type: 'output_audio', transcript: text }] };
      case 'call':
        emit({ type: 'response.function_call_arguments.done', ...at, name: output.name, arguments: text });
        return { status, arguments: text };
      case 'approval':
        return {};
      case 'mcp': {
        if (!this.#isRunning) {
          emit({ type: 'response.mcp_call_arguments.done', ...at, arguments: text });
          return { arguments: text };
        }
        const stopped = { type: 'tool_execution_error', message: 'The call was stopped.' };
        const error = status === 'completed' ? output.error : stopped;
        emit({ type: `response.mcp_call.${error ? 'failed' : 'completed'}`, ...this.#place() });
        return { arguments: text, output: error ? null : output.output, error };
      }
    }
  }

  /** Azure says the part twice, under two names. */
  #part(moment: 'added' | 'done', said: string): void {
    const part = this.output.kind === 'text' ? { type: 'text', text: said } : { type: 'audio', transcript: said };
    const twice = this.#showing.like === 'azure' ? { content: part } : {};
    this.#showing.emit({ type: `response.content_part.${moment}`, ...this.#at(), part, ...twice });
  }

  #at(): JsonObject {
    const ids = { response_id: this.#showing.responseId, ...this.#place() };
    if (this.output.kind === 'mcp') return ids;
    return this.output.kind === 'call' ? { ...ids, call_id: this.#callId } : { ...ids, content_index: 0 };
  }

  #place(): JsonObject {
    return { item_id: this.item.id, output_index: this.#index };
  }
}

/** An item as it is shown before anything was said. */
function shownFirst(output: Output, callId: string, phase: Showing['phase']): JsonObject {
  const id = newId('item');
  switch (output.kind) {
    case 'call':
      return { id, type: 'function_call', status: 'in_progress', name: output.name, call_id: callId, arguments: '' };
    case 'mcp': {
      const { label: server_label, name, approvalId: approval_request_id } = output;
      const result = { output: null, error: null };
      return { id, type: 'mcp_call', server_label, name, arguments: '', approval_request_id, ...result };
    }
    case 'approval': {
      const { label: server_label, name, arguments: given } = output;
      return { id, type: 'mcp_approval_request', server_label, name, arguments: given };
    }
    default:
      return { id, type: 'message', status: 'in_progress', role: 'assistant', content: [], ...(phase && { phase }) };
  }
}

/** One item that a response brings forth: its events from `added` to `done`, in the order of the service. */
import type { JsonObject } from '../protocol/event.js';
import type { Output } from './answer.js';
import type { Conversation, Item } from './conversation.js';
import { newId } from './ids.js';
import { padded, pieces } from './padding.js';

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

  constructor(output: Output, index: number, showing: Showing) {
    this.output = output;
    this.#index = index;
    this.#showing = showing;
    const id = newId('item');
    const { phase, conversation, responseId } = showing;
    const shown: JsonObject =
      output.kind === 'call'
        ? { id, type: 'function_call', status: 'in_progress', name: output.name, call_id: this.#callId, arguments: '' }
        : { id, type: 'message', status: 'in_progress', role: 'assistant', content: [], ...(phase && { phase }) };
    this.item = { id, shown, heard: null, spoken: null };
    this.#previousId = conversation?.lastId ?? null;
    showing.emit({ type: 'response.output_item.added', response_id: responseId, output_index: index, item: shown });
    if (conversation) {
      conversation.insert(this.item);
      showing.emit({ type: 'conversation.item.added', previous_item_id: this.#previousId, item: shown });
    }
    if (output.kind !== 'call') this.#part('added', '');
  }

  /** Says words: of a text, of what is spoken, or of a call's arguments. */
  words(text: string): void {
    this.#text += text;
    for (const piece of pieces(text)) {
      this.#showing.emit({ type: wordEvents[this.output.kind], ...this.#at(), ...padded(piece) });
    }
  }

  audio(delta: string): void {
    this.#showing.emit({ type: 'response.output_audio.delta', ...this.#at(), delta });
  }

  /** Ends it; returns the item as `response.done` shows it. Ending it twice changes nothing. */
  close(status: 'completed' | 'incomplete'): JsonObject {
    if (!this.#isOpen) return this.item.shown;
    this.#isOpen = false;
    const { output, item } = this;
    const { emit, conversation, responseId } = this.#showing;
    const text = this.#text;
    const at = this.#at();
    if (output.kind === 'text') {
      emit({ type: 'response.output_text.done', ...at, text });
      this.#part('done', text);
    } else if (output.kind === 'audio') {
      emit({ type: 'response.output_audio.done', ...at });
      emit({ type: 'response.output_audio_transcript.done', ...at, transcript: text });
      this.#part('done', text);
    } else {
      emit({ type: 'response.function_call_arguments.done', ...at, name: output.name, arguments: text });
    }
    const content = output.kind === 'text' ? { type: 'output_text', text } : { type: 'output_audio', transcript: text };
    const wasCut = item.spoken?.truncated === true;
    const told = output.kind === 'call' ? { arguments: text } : wasCut ? {} : { content: [content] };
    item.shown = { ...item.shown, status, ...told };
    if (conversation) {
      // Live services name no predecessor here for the second item of a conversation. Source: recordings.
      const isSecond = this.#previousId !== null && conversation.before(this.#previousId) === null;
      const previous_item_id = isSecond ? null : this.#previousId;
      emit({ type: 'conversation.item.done', previous_item_id, item: item.shown });
    }
    emit({ type: 'response.output_item.done', response_id: responseId, output_index: this.#index, item: item.shown });
    return item.shown;
  }

  /** Azure says the part twice, under two names. */
  #part(moment: 'added' | 'done', said: string): void {
    const part = this.output.kind === 'text' ? { type: 'text', text: said } : { type: 'audio', transcript: said };
    const twice = this.#showing.like === 'azure' ? { content: part } : {};
    this.#showing.emit({ type: `response.content_part.${moment}`, ...this.#at(), part, ...twice });
  }

  #at(): JsonObject {
    const ids = { response_id: this.#showing.responseId, item_id: this.item.id, output_index: this.#index };
    return this.output.kind === 'call' ? { ...ids, call_id: this.#callId } : { ...ids, content_index: 0 };
  }
}

/** Puts together what each side says, from the pieces that the protocol tells it in. */

import type { RealtimeEvent } from './transport.js';

/** What was said so far in one item; `isFinal` when nothing will be added. */
export interface Transcript {
  readonly itemId: string;
  readonly role: 'user' | 'assistant';
  readonly text: string;
  readonly isFinal: boolean;
  /**
   * The item before it, null for the first of the conversation; there once the service has given the item its place, which
   * may be after its first words, and then it stays. No order follows from when words come.
   */
  readonly previousItemId?: string | null;
}

/** Items whose words are still coming; far more than can be at once. */
const maxOpen = 200;

interface Item {
  readonly id: string;
  readonly role?: string;
  readonly content?: readonly { readonly text?: string; readonly transcript?: string | null }[];
}

/** The items of one session whose words are still coming. */
export class Transcripts {
  readonly #open = new Map<string, string>();
  readonly #places = new Map<string, string | null>();

  clear(): void {
    this.#open.clear();
    this.#places.clear();
  }

  /** The transcript that an event changed, or null. */
  after(event: RealtimeEvent): Transcript | null {
    const itemId = String(event.item_id);
    switch (event.type) {
      // These two name the predecessor; what `conversation.item.done` says of it is not always true.
      case 'input_audio_buffer.committed':
        this.#place(itemId, event.previous_item_id);
        return this.#more(itemId, 'user', '');
      case 'conversation.item.added':
        this.#place(String((event.item as Item).id), event.previous_item_id);
        return this.#added(event.item as Item);
      case 'conversation.item.input_audio_transcription.delta':
        return this.#more(itemId, 'user', String(event.delta));
      case 'conversation.item.input_audio_transcription.completed':
        return this.#whole(itemId, 'user', String(event.transcript));
      case 'conversation.item.input_audio_transcription.failed':
        return this.#whole(itemId, 'user', '');
      case 'response.output_audio_transcript.delta':
      case 'response.output_text.delta':
        return this.#more(itemId, 'assistant', String(event.delta));
      case 'response.output_audio_transcript.done':
        return this.#whole(itemId, 'assistant', String(event.transcript));
      case 'response.output_text.done':
        return this.#whole(itemId, 'assistant', String(event.text));
      default:
        return null;
    }
  }

  /** An item takes its place in the conversation before its words are known. */
  #added({ id, role, content }: Item): Transcript | null {
    if (role !== 'user' && role !== 'assistant') return null;
    const text = (content ?? [])
      .map((part) => part.text ?? part.transcript ?? '')
      .join(' ')
      .trim();
    return text === '' ? this.#more(id, role, '') : this.#whole(id, role, text);
  }

  #more(itemId: string, role: Transcript['role'], delta: string): Transcript {
    const text = (this.#open.get(itemId) ?? '') + delta;
    this.#open.set(itemId, text);
    const [oldest] = this.#open.keys();
    if (this.#open.size > maxOpen && oldest !== undefined) this.#open.delete(oldest);
    return { itemId, role, text, isFinal: false, ...this.#placeOf(itemId) };
  }

  #whole(itemId: string, role: Transcript['role'], text: string): Transcript {
    this.#open.delete(itemId);
    return { itemId, role, text: text.trim(), isFinal: true, ...this.#placeOf(itemId) };
  }

  #place(itemId: string, previous: unknown): void {
    if (previous !== null && typeof previous !== 'string') return;
    this.#places.set(itemId, previous);
    const [oldest] = this.#places.keys();
    if (this.#places.size > maxOpen && oldest !== undefined) this.#places.delete(oldest);
  }

  #placeOf(itemId: string): Pick<Transcript, 'previousItemId'> {
    const previousItemId = this.#places.get(itemId);
    return previousItemId === undefined ? {} : { previousItemId };
  }
}

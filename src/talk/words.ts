/** What the other side understood of the user, utterance by utterance. */

import type { JsonObject } from '../protocol/event.js';
import { text } from './reading.js';

const maxUtterances = 1000;
const maxLength = 100_000;

/** The words of one conversation's user. */
export class Words {
  /** What was understood of each utterance, by its item; in the order in which the items were committed. */
  readonly #said = new Map<string, string>();
  /** Words of utterances that are not committed yet. */
  readonly #coming = new Map<string, string>();
  readonly #incomplete = new Set<string>();
  #due: 'no' | 'perhaps' | 'yes' = 'no';

  /** How sure it is that a transcript is still to come. */
  get due(): 'no' | 'perhaps' | 'yes' {
    return this.#due;
  }

  /** Whether there are utterances, and the words of each are complete. */
  get areComplete(): boolean {
    return this.#said.size > 0 && this.#incomplete.size === 0;
  }

  /** Whether there are utterances whose words are not complete. */
  get areAwaited(): boolean {
    return this.#incomplete.size > 0;
  }

  /** All of them, in the order in which they were said. */
  get all(): string {
    return [...this.#said.values(), ...this.#coming.values()].filter(Boolean).join(' ');
  }

  /** A turn has ended: there may be a transcript. */
  expect(): void {
    if (this.#due === 'no') this.#due = 'perhaps';
  }

  /** Takes `input_audio_buffer.committed`. */
  commit(event: JsonObject): void {
    const id = text(event.item_id);
    if (this.#said.size < maxUtterances && !this.#said.has(id)) {
      this.#said.set(id, this.#coming.get(id) ?? '');
      this.#incomplete.add(id);
    }
    this.#coming.delete(id);
  }

  /** Takes a piece of a transcript; it may come before its utterance is committed, and those of two in turn. */
  add(event: JsonObject): void {
    this.#due = 'yes';
    const words = this.#of(event);
    const told = words.get(text(event.item_id)) ?? '';
    if (told.length < maxLength) words.set(text(event.item_id), told + text(event.delta));
  }

  /** Takes a whole transcript, and returns it. */
  complete(event: JsonObject): string {
    const transcript = text(event.transcript).trim();
    this.commit(event);
    if (this.#said.has(text(event.item_id))) this.#said.set(text(event.item_id), transcript);
    this.fail(event);
    return transcript;
  }

  /** Nothing more comes of an utterance. */
  fail(event: JsonObject): void {
    this.#due = 'no';
    this.#incomplete.delete(text(event.item_id));
  }

  #of({ item_id }: JsonObject): Map<string, string> {
    return this.#said.has(text(item_id)) ? this.#said : this.#coming;
  }
}

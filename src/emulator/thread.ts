/** The items of one conversation, in order, within a bound. */
import type { JsonObject } from '../protocol/event.js';
import type { AudioFormat } from './settings.js';
import type { Clip } from './speech.js';

/** One entry of a conversation: what clients see of it, and the sound behind it. */
export interface Item {
  readonly id: string;
  /** As it is shown in events; replaced as a whole when it changes. */
  shown: JsonObject;
  /** The user's recorded speech, in wire bytes of `format`. */
  heard: { bytes: Buffer; format: AudioFormat } | null;
  /** The assistant's speech so far. */
  spoken: { clip: Clip; bytes: number; truncated: boolean } | null;
}

/** The service keeps a context window; what falls out of it at the front is forgotten. */
const maxItems = 1000;
const maxWeight = 8 * 1024 * 1024;

/** An ordered list of items that forgets the oldest when it grows too heavy. */
export class Conversation {
  #items: Item[] = [];
  #weights = new Map<string, number>();
  #weight = 0;

  get items(): readonly Item[] {
    return this.#items;
  }

  get lastId(): string | null {
    return this.#items.at(-1)?.id ?? null;
  }

  find(id: string): Item | undefined {
    return this.#weights.has(id) ? this.#items.find((item) => item.id === id) : undefined;
  }

  /** The id of the item before this one, or null when it is the first. */
  before(id: string): string | null {
    const index = this.#items.findIndex((item) => item.id === id);
    return this.#items[index - 1]?.id ?? null;
  }

  /** Puts an item behind another one, at the front for null, at the end when `after` is not given. */
  insert(item: Item, after: string | null | undefined = this.lastId): void {
    const index = after === null ? 0 : this.#items.findIndex((one) => one.id === after) + 1;
    this.#items.splice(index, 0, item);
    const weight = (item.heard?.bytes.length ?? 0) + weigh(item.shown);
    this.#weights.set(item.id, weight);
    this.#weight += weight;
    this.#trim();
  }

  remove(id: string): boolean {
    const index = this.#items.findIndex((item) => item.id === id);
    if (index < 0) return false;
    this.#forget(index);
    return true;
  }

  #trim(): void {
    // The newest item always stays, however heavy it is: the turn it belongs to is still going on.
    while (this.#items.length > 1 && (this.#items.length > maxItems || this.#weight > maxWeight)) this.#forget(0);
  }

  #forget(index: number): void {
    const [item] = this.#items.splice(index, 1);
    if (!item) return;
    this.#weight -= this.#weights.get(item.id) ?? 0;
    this.#weights.delete(item.id);
  }
}

/** The text parts of an item: what it says, or what its sound is known to say. */
export function textOf(item: JsonObject): string {
  if (typeof item.output === 'string') return item.output;
  // A call that failed at a tool's server has no output.
  if (item.error) return JSON.stringify(item.error);
  if (typeof item.arguments === 'string') return item.arguments;
  if (!Array.isArray(item.content)) return '';
  const parts = item.content as JsonObject[];
  return parts
    .map((part) => part.text ?? part.transcript ?? '')
    .filter((text) => text !== '')
    .join(' ');
}

function weigh(item: JsonObject): number {
  const parts = Array.isArray(item.content) ? (item.content as JsonObject[]) : [];
  const images = parts.reduce((sum, part) => sum + String(part.image_url ?? '').length, 0);
  return 200 + textOf(item).length + images;
}

/** Which items of the conversation a client was shown, and which are kept from it. What is not known is not shown. */

import type { Json } from '../protocol/event.js';
import { Bounded } from './bounded.js';
import { createLeading } from './leading.js';

/** What is known of an item the client was shown. */
interface ShownItem {
  /** The role of a message, else the type of the item. */
  readonly kind: string;
  /** Whether this client made it, by an event or by speaking. */
  readonly byClient: boolean;
}

interface Record {
  readonly kind: string;
  byClient: boolean;
  before: string | null;
  gone: boolean;
}

const maxIds = 4096;
// Hidden items point to what was the nearest visible one when they came, so honest chains are short.
const maxHops = 64;

/** The items of one session, as its client may know them. */
export class Visibility {
  readonly #seen = new Bounded<Record>(maxIds);
  readonly #hidden = new Bounded<string | null>(maxIds);
  readonly #leading = createLeading();

  /** The last of the hidden items that the conversation begins with, or null when it begins with none. */
  get leading(): string | null {
    return this.#leading.last;
  }

  /** The item, when the client was shown it and it was not deleted since. */
  shown(id: Json | undefined): ShownItem | undefined {
    const record = typeof id === 'string' ? this.#seen.get(id) : undefined;
    return record === undefined || record.gone ? undefined : record;
  }

  /** Whether an id is taken, shown or not, deleted or not. */
  knows(id: string): boolean {
    return this.#seen.has(id) || this.#hidden.has(id);
  }

  /** Whether an id is kept from the client. */
  isHidden(id: string): boolean {
    return this.#hidden.has(id);
  }

  /** Notes that the client is shown an item; what is hidden stays hidden. Returns whether it may see it. */
  show(id: string, item: ShownItem, previous: Json | undefined): boolean {
    if (this.#hidden.has(id)) return false;
    this.#leading.shown();
    const record = this.#seen.get(id);
    if (record === undefined) {
      this.#seen.set(id, { ...item, before: this.nearest(previous), gone: false });
      return true;
    }
    record.before ??= this.nearest(previous);
    if (item.byClient) record.byClient = true;
    return !record.gone;
  }

  hide(id: string, previous: Json | undefined): void {
    const before = this.nearest(previous) ?? this.#hidden.get(id) ?? this.#seen.get(id)?.before ?? null;
    this.#leading.hidden(id, previous);
    this.#seen.delete(id);
    this.#hidden.set(id, before === id ? null : before);
  }

  /** Notes that an item was deleted from the conversation. */
  remove(id: string): void {
    this.#leading.removed(id);
    const record = this.#seen.get(id);
    if (record !== undefined) record.gone = true;
  }

  /** Forgets an item that never came to be. */
  forget(id: string): void {
    this.#seen.delete(id);
  }

  /** The nearest item at or before this one that the client may see; null at the start. */
  nearest(id: Json | undefined): string | null {
    let at: string | null = typeof id === 'string' ? id : null;
    for (let hops = 0; at !== null && hops < maxHops; hops++) {
      const record = this.#seen.get(at);
      if (record !== undefined && !record.gone) return at;
      at = record === undefined ? (this.#hidden.get(at) ?? null) : record.before;
    }
    return null;
  }
}

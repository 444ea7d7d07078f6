/**
 * The hidden items that a conversation begins with: nobody may get in front of them. Once known to lead, an item leads until
 * it is deleted; one whose place is not confirmed yet is taken to lead while nothing else is known to come before it.
 */

import type { Json } from '../protocol/event.js';

/** What the protocol calls the place before the first item. */
export const root = 'root';

/** The hidden items at the beginning of one conversation. */
export interface Leading {
  /** Notes where a hidden item stands: behind `previous`, first (null), or wherever upstream puts it (undefined). */
  hidden(id: string, previous: Json | undefined): void;
  /** Notes an item that the client is shown: what is added at the end from now on does not lead. */
  shown(): void;
  removed(id: string): void;
  /** The id behind which the beginning is, as far as a client is concerned; null where that is the very beginning. */
  readonly last: string | null;
}

// Who hides more items than this at the beginning keeps the last of them.
const most = 64;

/** Makes the memory of the beginning of one conversation. */
export function createLeading(): Leading {
  return new LeadingItems();
}

class LeadingItems implements Leading {
  /** Made at the first hidden item: most conversations begin with none. */
  #ids: string[] | null = null;
  #isAll = true;

  hidden(id: string, previous: Json | undefined): void {
    this.#ids ??= [];
    const ids = this.#ids;
    const at = ids.indexOf(id);
    if (previous === undefined) {
      if (at < 0 && this.#isAll) ids.push(id);
    } else if (previous === null || previous === root) {
      if (at < 0) ids.unshift(id);
    } else {
      const before = typeof previous === 'string' ? ids.indexOf(previous) : -1;
      if (before < 0 && at >= 0) ids.splice(at, 1);
      else if (before >= 0 && at < 0) ids.splice(before + 1, 0, id);
    }
    if (ids.length > most) ids.shift();
  }

  shown(): void {
    this.#isAll = false;
  }

  removed(id: string): void {
    const at = this.#ids?.indexOf(id) ?? -1;
    if (at >= 0) this.#ids?.splice(at, 1);
  }

  get last(): string | null {
    return this.#ids?.at(-1) ?? null;
  }
}

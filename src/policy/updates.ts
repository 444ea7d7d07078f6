/**
 * The `session.update` events under way. Upstream answers each with one `session.updated` or one `error`, in order, and
 * an ack does not say which update it belongs to, so the order is all there is to go by.
 */

import type { JsonObject } from '../protocol/event.js';

/** An update whose answer is awaited. `local` was answered by the relay alone and only waits for its turn. */
type Update =
  | { readonly by: 'relay'; readonly eventId: string }
  | { readonly by: 'backend'; readonly eventId: string; readonly settled: (isTaken: boolean) => void }
  | { readonly by: 'client'; readonly eventId: string; readonly fields: JsonObject }
  | { readonly by: 'local' };

/** What one answer of upstream settles: the update itself and the local ones that were waiting behind it. */
export interface SettledUpdate {
  readonly update: Update;
  readonly locals: number;
}

/** How many may be under way at once. */
export const maxUpdates = 64;

/** The updates of one session, oldest first. */
export class Updates {
  readonly #queue: Update[] = [];

  get size(): number {
    return this.#queue.length;
  }

  push(update: Update): void {
    this.#queue.push(update);
  }

  /** Takes the oldest: upstream acknowledged it, or refused it without saying which. */
  next(): SettledUpdate | null {
    return this.#take(0);
  }

  /** Takes the one with this id: upstream refused it. */
  refused(eventId: string): SettledUpdate | null {
    const at = this.#queue.findIndex((update) => update.by !== 'local' && update.eventId === eventId);
    return at < 0 ? null : this.#take(at);
  }

  #take(at: number): SettledUpdate | null {
    const [update] = this.#queue.splice(at, 1);
    if (update === undefined) return null;
    let locals = 0;
    while (this.#queue[0]?.by === 'local') {
      this.#queue.shift();
      locals++;
    }
    return { update, locals };
  }
}

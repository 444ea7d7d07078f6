/** The places of sessions over all workers: one of the instance's and one of the user's, taken together or not at all. */

import { z } from 'zod';
import { RelayError } from '../errors.js';
import type { Store } from '../store/store.js';

/** A worker that asks for a place. */
export const entry = z.strictObject({
  key: z.string().max(64 * 1024),
  holder: z.string().max(100),
  limit: z.number(),
  ttlSeconds: z.number(),
});
type Entry = z.output<typeof entry>;

/** The end that counts. */
export class Places {
  readonly #store: Store;
  readonly #limit: () => number;
  readonly #filled: (isFull: boolean) => void;
  readonly #held = new Map<string, { readonly key: string; readonly owner: object }>();
  #wasFull = false;

  /** @param filled told whenever the last place was taken, or there is one again */
  constructor(store: Store, limit: () => number, filled: (isFull: boolean) => void) {
    this.#store = store;
    this.#limit = limit;
    this.#filled = filled;
  }

  get isFull(): boolean {
    return this.#held.size >= this.#limit();
  }

  /**
   * Takes both places for a session, or keeps them for longer; resolves to whether it has the user's. Rejects with
   * `overloaded` when none of the instance's is left.
   */
  async enter({ key, holder, limit, ttlSeconds }: Entry, owner: object): Promise<boolean> {
    const isNew = !this.#held.has(holder);
    if (isNew && this.isFull) {
      throw new RelayError('overloaded', 'This relay has no room for another session.', { retryAfterMs: 2000 });
    }
    this.#held.set(holder, { key, owner });
    let hasPlace = false;
    try {
      hasPlace = await this.#store.acquire(key, holder, limit, ttlSeconds);
    } finally {
      // Who had a place and lost the user's to somebody else still lives.
      if (isNew && !hasPlace) this.#held.delete(holder);
      this.look();
    }
    return hasPlace;
  }

  async leave(holder: string): Promise<void> {
    const held = this.#held.get(holder);
    if (!held) return;
    this.#held.delete(holder);
    this.look();
    await this.#store.release(held.key, holder);
  }

  /** Gives back all places of a worker that is no more. */
  async forget(owner: object): Promise<void> {
    const holders = [...this.#held].filter(([, held]) => held.owner === owner);
    await Promise.all(holders.map(([holder]) => this.leave(holder)));
  }

  /** To be called when the limit has changed. */
  look(): void {
    if (this.isFull === this.#wasFull) return;
    this.#wasFull = this.isFull;
    this.#filled(this.isFull);
  }
}

/**
 * The end that asks, in the form of the store's own places.
 * @param enter carries an entry to the other end; rejects with a RelayError
 * @param left tells the other end of a holder that needs its places no more
 */
export function createPlaces(
  enter: (entry: Entry) => Promise<unknown>,
  left: (holder: string) => void,
): Pick<Store, 'acquire' | 'release'> {
  const inside = new Set<string>();
  const leave = (holder: string): void => {
    inside.delete(holder);
    left(holder);
  };
  return {
    async acquire(key, holder, limit, ttlSeconds) {
      const isNew = !inside.has(holder);
      inside.add(holder);
      try {
        const hasPlace = z.boolean().parse(await enter({ key, holder, limit, ttlSeconds }));
        if (isNew && !hasPlace) inside.delete(holder);
        return hasPlace;
      } catch (error) {
        // The answer may only be late, and the place taken all the same; that of a session that runs stays.
        if (isNew) leave(holder);
        throw error;
      }
    },
    async release(_key, holder) {
      leave(holder);
    },
  };
}

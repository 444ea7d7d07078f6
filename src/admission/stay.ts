/** The places that one session takes: of the instance, of its user, of its issuer. Renewed while it lives, given back once. */

import type { Entered, Entry, Store } from '../store/store.js';

/** The instance's places, of which every session takes one. */
export interface Places {
  readonly isDraining: boolean;
  readonly isFull: boolean;
  /** Whether the instance is short of something else than places. */
  readonly isShort?: boolean;
  reserve(): boolean;
  giveUp(): void;
}

export class Stay {
  readonly #registry: Pick<Places, 'reserve' | 'giveUp'>;
  readonly #store: Pick<Store, 'enter' | 'leave'>;
  /** What was asked of the store, by holder: also where its answer did not come, the place may have been taken. */
  readonly #entries = new Map<string, Entry>();
  #isReserved = false;
  #isReleased = false;

  constructor(registry: Pick<Places, 'reserve' | 'giveUp'>, store: Pick<Store, 'enter' | 'leave'>) {
    this.#registry = registry;
    this.#store = store;
  }

  /** Takes one of the instance's places; false when none is left. */
  reserve(): boolean {
    this.#isReserved = this.#registry.reserve();
    return this.#isReserved;
  }

  /** The session stands in the registry, which counts it from now on. */
  seated(): void {
    this.#isReserved = false;
  }

  /** Takes a place of the store's and a part of each budget that stands beside it. */
  enter(entry: Entry): Promise<Entered> {
    this.#entries.set(entry.holder, entry);
    return this.#store.enter(entry);
  }

  /** Keeps the places of the store's; a session whose place somebody else has by now goes on. */
  renew(): void {
    for (const entry of this.#entries.values()) void this.#store.enter({ ...entry, holds: [] }).catch(reported);
  }

  /** Gives back whatever is still the session's own; does nothing the second time. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#isReserved) this.#registry.giveUp();
    for (const holder of this.#entries.keys()) void this.#store.leave(holder).catch(reported);
  }
}

/** A store out of reach must not end a session, and is reported where it is called; places run out by themselves. */
function reported(_error: unknown): void {}

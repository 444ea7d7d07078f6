/** The budgets of today: what is used of each, and what is held by whom. */

import type { Reservation, Reserved } from './store.js';

const dayMs = 86_400_000;

interface Counter {
  /** Start of the UTC day it is of. */
  day: number;
  used: number;
  held: number;
  /** What each of those who reserve from it holds. */
  readonly holds: Map<string, number>;
}

/** How much may be held of what is left, by all who reserve together. */
const share = 4;

export class Counters {
  readonly #room: number;
  readonly #now: () => number;
  readonly #counters = new Map<string, Counter>();
  #sweptDay = 0;

  constructor(room: number, now: () => number) {
    this.#room = room;
    this.#now = now;
  }

  /** When today ends, in milliseconds since 1970. */
  get dayEnds(): number {
    return this.#today() + dayMs;
  }

  /** Whether all of these are there already or have room. */
  hasRoomFor(reservations: readonly Reservation[]): boolean {
    const isOver = () => {
      const added = reservations.reduce((sum, { counter }) => sum + Number(!this.#counters.has(counter)), 0);
      return added > 0 && this.#counters.size + added > this.#room;
    };
    if (isOver()) this.#sweep();
    return !isOver();
  }

  isSpent({ counter, limit, isExact }: Reservation): boolean {
    const { used, held } = this.#find(counter) ?? { used: 0, held: 0 };
    // Written so that a limit of NaN is spent.
    return !(used + (isExact ? held : 0) < limit);
  }

  used(counter: string): number {
    return this.#find(counter)?.used ?? 0;
  }

  /** Makes the part of a holder as large as is right now. */
  hold(reservation: Reservation, holder: string): Reserved {
    const counter = this.#open(reservation.counter);
    counter.held -= counter.holds.get(holder) ?? 0;
    // It counts among those who reserve, also when there is nothing for it.
    counter.holds.set(holder, 0);
    const left = reservation.limit - counter.used - counter.held;
    const fair = Math.max(reservation.least, Math.floor(left / (share * counter.holds.size)));
    const wanted = Math.min(reservation.most, fair, left);
    const held = wanted > 0 ? wanted : 0;
    counter.holds.set(holder, held);
    counter.held += held;
    return { used: counter.used, held, isSpent: held === 0 && this.isSpent(reservation) };
  }

  /** Counts as used, whatever the limit is; a budget never falls below 0. */
  use(name: string, amount: number): void {
    if (!Number.isFinite(amount)) throw new RangeError('an amount must be a finite number');
    if (amount === 0) return;
    const counter = this.#open(name);
    counter.used = Math.max(0, counter.used + amount);
  }

  /** What is used as others count it; where there is no room for it, it is not known. */
  saw(name: string, used: number): void {
    if (!this.#counters.has(name) && this.#counters.size >= this.#room) return;
    this.#open(name).used = used;
  }

  /** What a holder held goes back. */
  release(name: string, holder: string): void {
    const counter = this.#counters.get(name);
    if (!counter) return;
    counter.held -= counter.holds.get(holder) ?? 0;
    counter.holds.delete(holder);
    if (counter.used === 0 && counter.holds.size === 0) this.#counters.delete(name);
  }

  clear(): void {
    this.#counters.clear();
  }

  #today(): number {
    return Math.floor(this.#now() / dayMs) * dayMs;
  }

  #open(name: string): Counter {
    const counter = this.#find(name) ?? { day: this.#today(), used: 0, held: 0, holds: new Map<string, number>() };
    this.#counters.set(name, counter);
    return counter;
  }

  /** What was of yesterday begins anew. */
  #find(name: string): Counter | undefined {
    const counter = this.#counters.get(name);
    const today = this.#today();
    if (!counter || counter.day >= today) return counter;
    counter.day = today;
    counter.used = 0;
    counter.held = 0;
    for (const holder of counter.holds.keys()) counter.holds.set(holder, 0);
    return counter;
  }

  /** Only a new day leaves something behind, so that what is full is searched once a day. */
  #sweep(): void {
    const today = this.#today();
    if (this.#sweptDay === today) return;
    this.#sweptDay = today;
    for (const [name, { day, holds }] of this.#counters)
      if (day < today && holds.size === 0) this.#counters.delete(name);
  }
}

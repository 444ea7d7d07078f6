/** The budgets of today: what is used of each, and what is held by whom. */

import type { Draw, Drawn } from './store.js';

const dayMs = 86_400_000;

interface Pot {
  /** Start of the UTC day it is of. */
  day: number;
  used: number;
  held: number;
  /** What each of those who draw from it holds. */
  readonly holds: Map<string, number>;
}

/** How much may be held of what is left, by all who draw together. */
const share = 4;

export class Pots {
  readonly #room: number;
  readonly #now: () => number;
  readonly #pots = new Map<string, Pot>();
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
  hasRoomFor(draws: readonly Draw[]): boolean {
    const isOver = () => {
      const added = draws.reduce((sum, { pot }) => sum + Number(!this.#pots.has(pot)), 0);
      return added > 0 && this.#pots.size + added > this.#room;
    };
    if (isOver()) this.#sweep();
    return !isOver();
  }

  isSpent({ pot, limit, isExact }: Draw): boolean {
    const { used, held } = this.#find(pot) ?? { used: 0, held: 0 };
    // Written so that a limit of NaN is spent.
    return !(used + (isExact ? held : 0) < limit);
  }

  used(pot: string): number {
    return this.#find(pot)?.used ?? 0;
  }

  /** Makes the part of a holder as large as is right now. */
  hold(draw: Draw, holder: string): Drawn {
    const pot = this.#open(draw.pot);
    pot.held -= pot.holds.get(holder) ?? 0;
    // It counts among those who draw, also when there is nothing for it.
    pot.holds.set(holder, 0);
    const left = draw.limit - pot.used - pot.held;
    const fair = Math.max(draw.least, Math.floor(left / (share * pot.holds.size)));
    const wanted = Math.min(draw.most, fair, left);
    const held = wanted > 0 ? wanted : 0;
    pot.holds.set(holder, held);
    pot.held += held;
    return { used: pot.used, held, isSpent: held === 0 && this.isSpent(draw) };
  }

  /** Counts as used, whatever the limit is; a budget never falls below 0. */
  use(name: string, amount: number): void {
    if (!Number.isFinite(amount)) throw new RangeError('an amount must be a finite number');
    if (amount === 0) return;
    const pot = this.#open(name);
    pot.used = Math.max(0, pot.used + amount);
  }

  /** What a holder held goes back. */
  release(name: string, holder: string): void {
    const pot = this.#pots.get(name);
    if (!pot) return;
    pot.held -= pot.holds.get(holder) ?? 0;
    pot.holds.delete(holder);
    if (pot.used === 0 && pot.holds.size === 0) this.#pots.delete(name);
  }

  clear(): void {
    this.#pots.clear();
  }

  #today(): number {
    return Math.floor(this.#now() / dayMs) * dayMs;
  }

  #open(name: string): Pot {
    const pot = this.#find(name) ?? { day: this.#today(), used: 0, held: 0, holds: new Map<string, number>() };
    this.#pots.set(name, pot);
    return pot;
  }

  /** What was of yesterday begins anew. */
  #find(name: string): Pot | undefined {
    const pot = this.#pots.get(name);
    const today = this.#today();
    if (!pot || pot.day >= today) return pot;
    pot.day = today;
    pot.used = 0;
    pot.held = 0;
    for (const holder of pot.holds.keys()) pot.holds.set(holder, 0);
    return pot;
  }

  /** Only a new day leaves something behind, so that what is full is searched once a day. */
  #sweep(): void {
    const today = this.#today();
    if (this.#sweptDay === today) return;
    this.#sweptDay = today;
    for (const [name, { day, holds }] of this.#pots) if (day < today && holds.size === 0) this.#pots.delete(name);
  }
}

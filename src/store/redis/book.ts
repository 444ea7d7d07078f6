/** What this process knows of those who have something in Redis: enough to keep it, to take it anew, and to give it back. */

import type { Place, Reservation } from '../store.js';

/** One budget of a holder. */
export interface Pot extends Reservation {
  /** What is held for it. */
  held: number;
  /** What it has used since it began, and what of that Redis has counted. */
  total: number;
  counted: number;
  /** Used by all, as Redis said last; -1 before it did. */
  seen: number;
}

/** One who has a place, or whose totals must still be told. */
export interface Booking {
  readonly holder: string;
  readonly owner: string;
  /** Null: it had none here. */
  readonly place: (Place & { readonly group: string }) | null;
  readonly pots: Map<string, Pot>;
  /** Whether its place stands in Redis. */
  isPlaced: boolean;
  /** It has left, and Redis does not know that yet. */
  hasLeft: boolean;
  /** When it asked for its place last, and when Redis was last told. */
  askedAt: number;
  placedAt: number;
}

/** How many of those who have left may wait for Redis; the first to leave are forgotten first, and run out there. */
const mostLeft = 20_000;

/** All of them. */
export class Book {
  readonly #bookings = new Map<string, Booking>();
  readonly #left = new Set<Booking>();

  get(holder: string): Booking | undefined {
    return this.#bookings.get(holder);
  }

  [Symbol.iterator](): IterableIterator<Booking> {
    return this.#bookings.values();
  }

  add(booking: Booking): void {
    this.#bookings.set(booking.holder, booking);
    if (booking.hasLeft) this.left(booking);
  }

  /** It has left; what it owes is remembered. */
  left(booking: Booking): void {
    booking.hasLeft = true;
    this.#left.add(booking);
    if (this.#left.size <= mostLeft) return;
    const [first] = this.#left;
    if (first) this.remove(first);
  }

  remove(booking: Booking): void {
    this.#left.delete(booking);
    if (this.#bookings.get(booking.holder) === booking) this.#bookings.delete(booking.holder);
  }
}

/** A budget as it is booked the first time. */
export function potOf(reservation: Reservation, held: number, seen: number): Pot {
  const { counter, group, limit, most, least, isExact } = reservation;
  return { counter, group, limit, most, least, isExact, held, total: 0, counted: 0, seen };
}

/** Whether Redis must still be told what it has used. */
export function isInDebt({ pots }: Booking): boolean {
  for (const { total, counted } of pots.values()) if (total !== counted) return true;
  return false;
}

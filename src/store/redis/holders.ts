/** Those of this process who have something in Redis: keeps it up there, and sets it right after Redis was away. */

import type { MemoryStore } from '../memory.js';
import type { Reserved } from '../store.js';
import { type Book, type Booking, isInDebt, type Pot } from './book.js';
import { type createCalls, done, renewed, reservedOf, settled } from './calls.js';
import { type Ask, patientMs } from './link.js';
import { leave, renew, settle } from './scripts.js';

interface HoldersOptions {
  readonly book: Book;
  readonly calls: ReturnType<typeof createCalls>;
  readonly local: MemoryStore;
  readonly now: () => number;
}

/** So many are renewed in one go. */
const atOnce = 500;

export class Holders {
  readonly #options: HoldersOptions;

  constructor(options: HoldersOptions) {
    this.#options = options;
  }

  /** Those whose sessions live, and for whom there was no place in Redis. */
  get overLimit(): number {
    let count = 0;
    for (const { place, isPlaced, hasLeft } of this.#options.book) count += Number(place && !isPlaced && !hasLeft);
    return count;
  }

  /** Those whose sessions live. */
  get size(): number {
    let count = 0;
    for (const { place, hasLeft } of this.#options.book) count += Number(place !== null && !hasLeft);
    return count;
  }

  /** Those who have used what Redis has not counted. */
  get inDebt(): number {
    let count = 0;
    for (const booking of this.#options.book) count += Number(isInDebt(booking));
    return count;
  }

  /**
   * Keeps the places and parts of all, tells what is owed, gives back what those had who have left.
   * @param isLost whether Redis has lost its data, and must be told what was seen of it
   */
  async beat(ask: Ask, isLost = false): Promise<void> {
    const { book, now } = this.#options;
    const at = now();
    // One that outlives its process is kept up by nobody, nor one that nobody asked for in a while.
    const isOver = ({ place, askedAt, hasLeft }: Booking) =>
      !hasLeft && place !== null && askedAt + place.ttlSeconds * 2000 < at;
    for (const booking of book) if (isOver(booking)) book.remove(booking);
    const all = [...book].filter(({ owner, hasLeft }) => hasLeft || owner !== '');
    for (let from = 0; from < all.length; from += atOnce) {
      await Promise.all(all.slice(from, from + atOnce).map((booking) => this.#setRight(booking, ask, isLost)));
    }
  }

  /** Tells what somebody has used, and takes the next parts; in the order of the budgets. */
  async settle(booking: Booking, pots: readonly Pot[], ask: Ask): Promise<Reserved[]> {
    const { local, calls } = this.#options;
    const sent = pots.map(({ ...pot }) => (booking.hasLeft ? { ...pot, most: 0 } : pot));
    const answer = await ask('settle', settle, calls.settle(booking.holder, sent), patientMs);
    const [, ...numbers] = settled.parse(answer);
    const reserved = reservedOf(numbers);
    pots.forEach((pot, index) => {
      const { used = pot.seen, held = 0 } = reserved[index] ?? {};
      const total = sent[index]?.total ?? pot.counted;
      pot.counted = total;
      pot.held = held;
      pot.seen = used;
      local.saw(booking.holder, pot.counter, used, total);
    });
    return reserved;
  }

  /** Gives back what somebody had who has left. */
  async leave(booking: Booking, ask: Ask): Promise<void> {
    const { book, calls } = this.#options;
    const { place } = booking;
    if (place) done.parse(await ask('leave', leave, calls.leave(booking, place), patientMs));
    if (isInDebt(booking)) await this.settle(booking, [...booking.pots.values()], ask);
    book.remove(booking);
  }

  async #setRight(booking: Booking, ask: Ask, isLost: boolean): Promise<void> {
    const { calls, now } = this.#options;
    const { place } = booking;
    if (booking.hasLeft || !place) return this.leave(booking, ask);
    const [outcome] = renewed.parse(await ask('heartbeat', renew, calls.renew(booking, place, isLost), patientMs));
    booking.isPlaced = outcome === 'in';
    booking.placedAt = now();
    if (isInDebt(booking)) await this.settle(booking, [...booking.pots.values()], ask);
  }
}

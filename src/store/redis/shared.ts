/** The store that several replicas have in common, in Redis. Beside it this replica counts its own, for when that is away. */

import { RelayError } from '../../errors.js';
import { inTime } from '../../wait.js';
import type { MemoryStore } from '../memory.js';
import type { Entered, Entry, OneTime, Place, Reservation, Reserved, Settled, Store, Total } from '../store.js';
import { Book, type Booking, potOf } from './book.js';
import { createCalls, endOfDay, entered, isShared, reservedOf, type Shared } from './calls.js';
import { Holders } from './holders.js';
import type { Keys } from './keys.js';
import { doorMs, type Link, patientMs } from './link.js';
import { enter } from './scripts.js';
import { createTexts, type Texts } from './texts.js';

interface RedisStoreOptions {
  readonly link: Link;
  readonly keys: Keys;
  /** What this replica counts for itself; ends with the store. */
  readonly local: MemoryStore;
  /** Who is let in while Redis is away. */
  readonly whenLost: () => 'local' | 'refuse';
  /** Told of what was read from Redis and is not of the right form. */
  readonly invalid: (call: 'look' | 'take') => void;
  /** The clock of `local`, for tests. */
  readonly now?: () => number;
}

/** A place that was renewed in Redis so short a time ago needs no other renewal. */
const freshMs = 25_000;
const closeMs = 1000;
/** How long it may look away before each replica goes by its own count. */
const blinkMs = 500;
/** A place that there always is. */
const anyway = { limit: Number.MAX_SAFE_INTEGER };

type SharedPlace = Place & { readonly group: string };

/** A store in Redis. */
export class RedisStore implements Store {
  /** Those who have something there. */
  readonly holders: Holders;
  readonly #link: Link;
  readonly #local: MemoryStore;
  readonly #whenLost: () => 'local' | 'refuse';
  readonly #now: () => number;
  readonly #calls: ReturnType<typeof createCalls>;
  readonly #texts: Texts;
  readonly #book = new Book();
  #isClosed = false;

  constructor({ link, keys, local, whenLost, invalid, now = () => performance.now() }: RedisStoreOptions) {
    this.#link = link;
    this.#local = local;
    this.#whenLost = whenLost;
    this.#now = now;
    this.#calls = createCalls(keys);
    this.#texts = createTexts(link, keys, invalid);
    this.holders = new Holders({ book: this.#book, calls: this.#calls, local, now });
  }

  async enter(entry: Entry): Promise<Entered> {
    const { place, holder, holds } = entry;
    this.#refuseWhenClosed();
    if (!hasGroup(place)) return this.#local.enter(entry);
    const known = this.#book.get(holder);
    if (known && !known.hasLeft) return this.#renew(known, entry, place);
    const alone = { ...entry, place: { ...place, ...anyway }, holds: holds.filter(({ group }) => group === null) };
    const own = await this.#local.enter(alone);
    if (own.outcome === 'spent') return { ...own, counter: holds.indexOf(alone.holds[own.counter] as Reservation) };
    if (own.outcome !== 'in') return own;
    const wasUp = this.#link.isUp;
    try {
      const entered = await this.#enterPatiently(entry, place, own.reserved, wasUp);
      if (entered.outcome !== 'in') await this.#local.leave(holder);
      return entered;
    } catch (error) {
      await this.#local.leave(holder);
      return this.#enterAlone(entry, place, refusalIn(error));
    }
  }

  async settle(holder: string, totals: readonly Total[]): Promise<Settled> {
    const shared = totals.filter(isShared);
    const alone = await this.#local.settle(
      holder,
      totals.filter((total) => !isShared(total)),
    );
    if (shared.length === 0) return alone;
    const reserved = await this.#settleShared(holder, shared);
    return { reserved: interleaved(totals, reserved, alone.reserved), dayEnds: endOfDay(this.#link.now) };
  }

  async leave(holder: string): Promise<void> {
    await this.#local.leave(holder);
    const booking = this.#book.get(holder);
    if (!booking || booking.hasLeft) return;
    this.#book.left(booking);
    // What cannot be given back now is when Redis answers again, and runs out there before.
    await this.holders.leave(booking, this.#link.ask).catch(refusalIn);
  }

  async forget(owner: string): Promise<void> {
    if (owner === '') return;
    const theirs = [...this.#book].filter((booking) => booking.owner === owner);
    await Promise.all([this.#local.forget(owner), ...theirs.map(({ holder }) => this.leave(holder))]);
  }

  async put(text: OneTime): Promise<'kept' | 'taken'> {
    if (!(text.ttlSeconds > 0 && Number.isFinite(text.ttlSeconds))) {
      throw new RangeError('ttlSeconds must be more than 0');
    }
    this.#refuseWhenClosed();
    return this.#texts.put(text);
  }

  async look(key: string): Promise<string | null> {
    this.#refuseWhenClosed();
    return this.#texts.get('look', key);
  }

  async take(key: string): Promise<string | null> {
    this.#refuseWhenClosed();
    return this.#texts.get('take', key);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const own = [...this.#book].filter(({ owner, hasLeft }) => owner !== '' && !hasLeft);
    if (this.#link.isUp) await inTime(Promise.all(own.map(({ holder }) => this.leave(holder))), closeMs);
    await this.#local.close();
  }

  /** Who is at the door when Redis does not answer for a moment is not let in without it: it may be asked twice. */
  async #enterPatiently(entry: Entry, place: SharedPlace, own: readonly Reserved[], wasUp: boolean): Promise<Entered> {
    try {
      return await this.#enterShared(entry, place, own);
    } catch (error) {
      refusalIn(error);
      if (!wasUp || !(await this.#link.isBackWithin(blinkMs))) throw error;
      return this.#enterShared(entry, place, own);
    }
  }

  /** One script for the place and all budgets. */
  async #enterShared(entry: Entry, place: SharedPlace, own: readonly Reserved[]): Promise<Entered> {
    const holds = entry.holds.filter(isShared);
    const build = this.#calls.enter(entry.holder, place, holds);
    const [outcome, ...numbers] = entered.parse(await this.#link.ask('enter', enter, build, doorMs));
    const dayEnds = endOfDay(this.#link.now);
    if (outcome === 'taken') return { outcome };
    if (outcome === 'spent') {
      const [counter = 0, used = 0] = numbers;
      return { outcome, counter: entry.holds.indexOf(holds[counter] as Reservation), used, dayEnds };
    }
    const reserved = reservedOf(numbers);
    this.#add(entry, place, true, reserved);
    // Who was in already keeps what it has.
    const wasIn = reserved.length < holds.length;
    return { outcome, reserved: wasIn ? [] : interleaved(entry.holds, reserved, own), dayEnds };
  }

  /** Redis is away, or has failed this call: then this replica's own count decides. */
  async #enterAlone(entry: Entry, place: SharedPlace, refusal: RelayError): Promise<Entered> {
    const own = this.#whenLost() === 'refuse' ? null : await this.#local.enter(entry);
    const reserved = own?.outcome === 'in' ? own.reserved : [];
    const booking = this.#add(
      entry,
      place,
      false,
      reserved.filter((_, index) => entry.holds[index]?.group !== null),
    );
    // Redis may have let it in, without an answer.
    if (own?.outcome !== 'in') this.#book.left(booking);
    if (own === null) throw refusal;
    return own;
  }

  async #renew(known: Booking, entry: Entry, place: SharedPlace): Promise<Entered> {
    const now = this.#now();
    await this.#local.enter({ ...entry, place: { ...place, ...anyway }, holds: [] });
    known.askedAt = now;
    const kept = { outcome: 'in' as const, reserved: [], dayEnds: endOfDay(this.#link.now) };
    if (!this.#link.isUp || (known.isPlaced && now - known.placedAt < freshMs)) return kept;
    const build = this.#calls.enter(entry.holder, place, []);
    try {
      const [outcome] = entered.parse(await this.#link.ask('enter', enter, build, patientMs));
      known.isPlaced = outcome === 'in';
      known.placedAt = now;
    } catch (error) {
      refusalIn(error);
      return kept;
    }
    return known.isPlaced ? kept : { outcome: 'taken' };
  }

  async #settleShared(holder: string, totals: readonly Shared<Total>[]): Promise<Reserved[]> {
    const booking = this.#book.get(holder) ?? strangerOf(holder);
    const pots = totals.map((total) => {
      const pot = booking.pots.get(total.counter) ?? { ...potOf(total, 0, -1), counted: total.told };
      Object.assign(pot, { limit: total.limit, most: total.most, least: total.least, total: total.total });
      booking.pots.set(total.counter, pot);
      return pot;
    });
    try {
      const reserved = await this.holders.settle(booking, pots, this.#link.ask);
      if (booking.hasLeft) this.#book.remove(booking);
      return reserved;
    } catch (error) {
      refusalIn(error);
      if (booking.hasLeft) this.#book.add(booking);
      const { reserved } = await this.#local.settle(holder, totals);
      // It is owed, and nobody's session ends for what is not known.
      return reserved.map(({ used }, index) => {
        const { most = 0 } = totals[index] ?? {};
        return { used, held: booking.hasLeft ? 0 : most, isSpent: false };
      });
    }
  }

  #add(entry: Entry, place: SharedPlace, isPlaced: boolean, reserved: readonly Reserved[]): Booking {
    const { holder, owner } = entry;
    const now = this.#now();
    const pots = entry.holds.filter(isShared).map((hold, index) => {
      const { held = 0, used = -1 } = reserved[index] ?? {};
      if (isPlaced && used >= 0) this.#local.saw(holder, hold.counter, used, 0);
      return [hold.counter, potOf(hold, held, isPlaced ? used : -1)] as const;
    });
    const times = { askedAt: now, placedAt: now };
    const booking = { holder, owner, place, pots: new Map(pots), isPlaced, hasLeft: false, ...times };
    this.#book.add(booking);
    return booking;
  }

  #refuseWhenClosed(): void {
    if (this.#isClosed) throw new RelayError('draining', 'The relay is shutting down.');
  }
}

function hasGroup(place: Place): place is SharedPlace {
  return place.group !== null;
}

/** What was answered of budgets of two kinds, in the order in which they were asked for. */
function interleaved(
  asked: readonly Reservation[],
  shared: readonly Reserved[],
  alone: readonly Reserved[],
): Reserved[] {
  const [first, second] = [[...shared], [...alone]];
  return asked.map((one) => (isShared(one) ? first : second).shift() ?? { used: 0, held: 0, isSpent: false });
}

/** One who is not in, and whose totals may still be told. */
function strangerOf(holder: string): Booking {
  return {
    ...{ holder, owner: '', place: null, pots: new Map() },
    ...{ isPlaced: false, hasLeft: true, askedAt: 0, placedAt: 0 },
  };
}

/** That Redis is out of reach, which was reported where it was asked; whatever else it is, is thrown. */
function refusalIn(error: unknown): RelayError {
  if (error instanceof RelayError && error.id === 'store_unavailable') return error;
  throw error;
}

/** The store in the memory of one process. Nothing in it waits, so that every call is one step. */

import { RelayError } from '../errors.js';
import { Counters } from './counters.js';
import { Leases } from './leases.js';
import type { Entered, Entry, OneTime, Purpose, Reserved, Settled, Store, Total } from './store.js';

/** How much a store holds; everything has room of its own. */
export interface Room {
  /** Sessions at a time; may change. */
  readonly sessions: () => number;
  readonly keys: number;
  readonly secrets: number;
  readonly counters: number;
}

interface MemoryOptions {
  readonly room?: Partial<Room>;
  /** Both clocks at once, for tests. */
  readonly now?: () => number;
  /** Told whenever the last session's place was taken, or there is one again. */
  readonly filled?: (isFull: boolean) => void;
}

const roomByDefault: Room = { sessions: () => 20_000, keys: 20_000, secrets: 20_000, counters: 100_000 };
const sweepEveryMs = 30_000;
const maxValueLength = 64 * 1024;
/** How long the totals of who has left are remembered. */
const rememberMs = 60_000;
/** Holders that have left and are remembered; those who left first are forgotten first. */
const mostRemembered = 20_000;

interface Holder {
  readonly purpose: Purpose;
  readonly key: string;
  readonly owner: string;
  /** What it has told of each counter. */
  readonly told: Map<string, number>;
  readonly counters: Set<string>;
}

/** The store of a single process, and that of the one that several have in common. */
export class MemoryStore implements Store {
  readonly #now: () => number;
  readonly #filled: (isFull: boolean) => void;
  readonly #places: Readonly<Record<Purpose, Leases>>;
  readonly #counters: Counters;
  readonly #holders = new Map<string, Holder>();
  /** What those told who have left. */
  readonly #left = new Map<string, { readonly told: Map<string, number>; until: number }>();
  readonly #values = new Map<string, { value: string; of: string; expiresAt: number }>();
  readonly #unused: Leases;
  readonly #sweeper: NodeJS.Timeout;
  #wasFull = false;
  #closed = false;

  /** `room` is for tests, and for the sessions of an instance. */
  constructor(options: MemoryOptions = {}) {
    // Only days are a matter of the wall clock; a clock that is set gives nobody's place away.
    const { now = () => performance.now(), filled = () => undefined } = options;
    const room = { ...roomByDefault, ...options.room };
    this.#now = now;
    this.#filled = filled;
    const lapsed = (holder: string) => this.#drop(holder);
    this.#places = {
      sessions: new Leases(room.sessions, now, lapsed),
      // As many as there are sessions, each of which may take one.
      issuers: new Leases(room.sessions, now, lapsed),
      addresses: new Leases(room.sessions, now, lapsed),
      keys: new Leases(() => room.keys, now, lapsed),
    };
    this.#counters = new Counters(room.counters, options.now ?? Date.now);
    this.#unused = new Leases(
      () => room.secrets,
      now,
      (key) => this.#values.delete(key),
    );
    this.#sweeper = setInterval(() => this.#sweep(), sweepEveryMs);
    this.#sweeper.unref();
  }

  /** Whether there is no room for another session. */
  get isFull(): boolean {
    return this.#places.sessions.isFull;
  }

  /** One-time texts that nobody has taken. */
  get unusedSecrets(): number {
    this.#unused.sweep();
    return this.#values.size;
  }

  /** To be called when the room for sessions has changed. */
  resized(): void {
    if (this.isFull === this.#wasFull) return;
    this.#wasFull = this.isFull;
    this.#filled(this.isFull);
  }

  async enter({ place, holds, holder, owner }: Entry): Promise<Entered> {
    const end = this.#endOf(place.ttlSeconds);
    this.#refuseWhenClosed();
    const places = this.#places[place.purpose];
    const outcome = places.enter(place.key, holder, place.limit, end);
    if (outcome !== 'in') return { outcome };
    const { dayEnds } = this.#counters;
    if (this.#holders.has(holder)) return { outcome, reserved: [], dayEnds };
    const counter = holds.findIndex((reservation) => this.#counters.isSpent(reservation));
    if (counter !== -1 || !this.#counters.hasRoomFor(holds)) {
      places.leave(place.key, holder);
      if (counter === -1) return { outcome: 'full' };
      return { outcome: 'spent', counter, used: this.#counters.used(holds[counter]?.counter ?? ''), dayEnds };
    }
    const told = this.#left.get(holder)?.told ?? new Map<string, number>();
    this.#left.delete(holder);
    const counters = new Set(holds.map((reservation) => reservation.counter));
    this.#holders.set(holder, { purpose: place.purpose, key: place.key, owner, told, counters });
    const reserved = holds.map((reservation) => this.#counters.hold(reservation, holder));
    this.resized();
    return { outcome, reserved, dayEnds };
  }

  async settle(holder: string, totals: readonly Total[]): Promise<Settled> {
    const known = this.#holders.get(holder);
    const told = known?.told ?? this.#remember(holder);
    const reserved = totals.map((total): Reserved => {
      const { counter } = total;
      this.#counters.use(counter, total.total - (told.get(counter) ?? total.told));
      told.set(counter, total.total);
      if (known && total.most > 0) {
        known.counters.add(counter);
        return this.#counters.hold(total, holder);
      }
      this.#counters.release(counter, holder);
      return { used: this.#counters.used(counter), held: 0, isSpent: this.#counters.isSpent(total) };
    });
    return { reserved, dayEnds: this.#counters.dayEnds };
  }

  /** What all replicas have used of a budget, as another store says, with what a holder has told that one. */
  saw(holder: string, counter: string, used: number, total: number): void {
    this.#counters.saw(counter, used);
    this.#holders.get(holder)?.told.set(counter, total);
  }

  async leave(holder: string): Promise<void> {
    const known = this.#holders.get(holder);
    if (!known) return;
    this.#places[known.purpose].leave(known.key, holder);
    this.#drop(holder);
    this.resized();
  }

  async forget(owner: string): Promise<void> {
    if (owner === '') return;
    const theirs = [...this.#holders].filter(([, held]) => held.owner === owner);
    await Promise.all(theirs.map(([holder]) => this.leave(holder)));
  }

  async put({ key, value, ttlSeconds, of, limit }: OneTime): Promise<'kept' | 'taken' | 'full'> {
    const expiresAt = this.#endOf(ttlSeconds);
    this.#refuseWhenClosed();
    if (value.length > maxValueLength) throw new RangeError('a one-time value is at most 64 KiB');
    const before = this.#values.get(key);
    if (before) this.#unused.leave(before.of, key);
    const outcome = this.#unused.enter(of, key, limit, expiresAt);
    if (outcome !== 'in') {
      this.#values.delete(key);
      return outcome;
    }
    this.#values.set(key, { value, of, expiresAt });
    return 'kept';
  }

  async look(key: string): Promise<string | null> {
    return this.#read(key);
  }

  async take(key: string): Promise<string | null> {
    const value = this.#read(key);
    const kept = this.#values.get(key);
    if (kept) {
      this.#values.delete(key);
      this.#unused.leave(kept.of, key);
    }
    return value;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const one of [...Object.values(this.#places), this.#unused, this.#counters]) one.clear();
    for (const one of [this.#values, this.#holders, this.#left]) one.clear();
  }

  #endOf(ttlSeconds: number): number {
    if (!(ttlSeconds > 0 && Number.isFinite(ttlSeconds))) throw new RangeError('ttlSeconds must be more than 0');
    return this.#now() + ttlSeconds * 1000;
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new RelayError('draining', 'The relay is shutting down.');
  }

  #read(key: string): string | null {
    this.#refuseWhenClosed();
    const kept = this.#values.get(key);
    return kept && kept.expiresAt > this.#now() ? kept.value : null;
  }

  /** A holder has no place any more: what it holds goes back, what it told is remembered. */
  #drop(holder: string): void {
    const known = this.#holders.get(holder);
    if (!known) return;
    this.#holders.delete(holder);
    for (const counter of known.counters) this.#counters.release(counter, holder);
    if (known.told.size > 0) this.#remember(holder, known.told);
  }

  /** What was told by who is not in. */
  #remember(holder: string, told = this.#left.get(holder)?.told ?? new Map<string, number>()): Map<string, number> {
    this.#left.delete(holder);
    this.#left.set(holder, { told, until: this.#now() + rememberMs });
    if (this.#left.size > mostRemembered) this.#left.delete(this.#left.keys().next().value as string);
    return told;
  }

  #sweep(): void {
    for (const leases of [...Object.values(this.#places), this.#unused]) leases.sweep();
    // In the order in which they left.
    for (const [holder, { until }] of this.#left) {
      if (until > this.#now()) break;
      this.#left.delete(holder);
    }
    this.resized();
  }
}

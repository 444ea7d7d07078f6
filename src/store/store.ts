/**
 * State that outlives one session: concurrency leases, one-time values and counters of budgets. This form lives in the
 * memory of one process.
 */

import { RelayError } from '../errors.js';

/** What is wanted of one budget. */
interface Draw {
  readonly key: string;
  /** Drawing never brings the counter above this. */
  readonly limit: number;
  /** What is wanted at most; less is given when less is left. */
  readonly amount: number;
}

/** What a budget gave. */
interface Drawn {
  /** 0 when the budget is used up. */
  readonly taken: number;
  /** The counter afterwards, with what others have drawn. */
  readonly used: number;
}

/**
 * What is shared between sessions, and between replicas when the form behind it is.
 * Every call is atomic: of calls made at once, each sees the outcome of all that went before it. The same key as that of a
 * lease, of a one-time value and of a counter means three different things.
 */
export interface Store {
  /**
   * Takes one of `limit` places under `key` for `holder`, for `ttlSeconds`; resolves to whether it has one. A holder that
   * already has a place keeps it for another `ttlSeconds`, also when the limit has become lower. Rejects with
   * `overloaded` when the store itself is full.
   */
  acquire(key: string, holder: string, limit: number, ttlSeconds: number): Promise<boolean>;
  /**
   * Keeps a place for another `ttlSeconds` from now; resolves to whether it was still held. A place that ran out is not
   * brought back, because somebody else may have it: acquire again.
   */
  renew(key: string, holder: string, ttlSeconds: number): Promise<boolean>;
  /** Gives a place back; giving back one that is not held does nothing. */
  release(key: string, holder: string): Promise<void>;
  /**
   * Keeps `value` (at most 64 KiB of text) to be taken once within `ttlSeconds`, in place of an earlier value of that key.
   * Rejects with `overloaded` when the store is full.
   */
  put(key: string, value: string, ttlSeconds: number): Promise<void>;
  /** Gets and deletes a value: of any number of calls at once exactly one has it. Null when unknown, taken or run out. */
  take(key: string): Promise<string | null>;
  /**
   * Draws from several budgets, or from none of them when one is used up. Counters begin at 0 and are forgotten at
   * `until`, in milliseconds since 1970. Rejects with `overloaded` when the store is full.
   */
  draw(draws: readonly Draw[], until: number): Promise<readonly Drawn[]>;
  /**
   * Adds to a counter whatever its limit is, because it has been used, or gives back what was drawn and not used (below 0);
   * a counter never falls below 0. Resolves to the counter. Rejects with `overloaded` when the store is full.
   */
  charge(key: string, amount: number, until: number): Promise<number>;
  /** Forgets everything. Afterwards all but `release` and `renew` reject with `draining`; `renew` is false. */
  close(): Promise<void>;
}

const sweepEveryMs = 30_000;
const maxValueLength = 64 * 1024;
/** A user of a day has up to three counters and as many of the tenant; leases and values are for those here now. */
const countersPerEntry = 5;

/**
 * The store of a single replica. `maxEntries` bounds the one-time values and, separately, the leases (default 20 000
 * each), and five times as many counters; at the bound those that ran out are dropped, and if none did the call rejects
 * with `overloaded`.
 */
export function createMemoryStore(options: { maxEntries?: number; now?: () => number } = {}): Store {
  const { maxEntries = 20_000, now } = options;
  // Only days are a matter of the wall clock; a clock that is set gives nobody's place away.
  return new MemoryStore(maxEntries, now ?? (() => performance.now()), now ?? Date.now);
}

/** The places under one key: when each holder's runs out, and a moment before which none does. */
interface Lease {
  readonly ends: Map<string, number>;
  nextEnd: number;
}

class MemoryStore implements Store {
  readonly #maxEntries: number;
  readonly #now: () => number;
  readonly #wall: () => number;
  readonly #values = new Map<string, { value: string; expiresAt: number }>();
  readonly #leases = new Map<string, Lease>();
  readonly #counters = new Map<string, { used: number; until: number }>();
  readonly #sweeper: NodeJS.Timeout;
  #leaseCount = 0;
  // Nothing runs out before these, so a full store is not searched again and again on behalf of whoever fills it.
  #nextValueEnd = Number.POSITIVE_INFINITY;
  #nextLeaseEnd = Number.POSITIVE_INFINITY;
  #nextCounterEnd = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(maxEntries: number, now: () => number, wall: () => number) {
    if (!Number.isSafeInteger(maxEntries) || maxEntries < 1) throw new RangeError('maxEntries must be 1 or more');
    this.#maxEntries = maxEntries;
    this.#now = now;
    this.#wall = wall;
    this.#sweeper = setInterval(() => {
      this.#sweepValues();
      this.#sweepLeases();
      this.#sweepCounters();
    }, sweepEveryMs);
    this.#sweeper.unref();
  }

  async acquire(key: string, holder: string, limit: number, ttlSeconds: number): Promise<boolean> {
    const end = this.#endOf(ttlSeconds);
    this.#refuseWhenClosed();
    const held = this.#prune(key);
    if (!held?.ends.has(holder)) {
      // Written so that a limit of NaN admits nobody.
      if (!((held?.ends.size ?? 0) < limit)) return false;
      if (this.#leaseCount >= this.#maxEntries) this.#sweepLeases();
      if (this.#leaseCount >= this.#maxEntries) throw full();
      this.#leaseCount++;
    }
    const lease = this.#leases.get(key) ?? { ends: new Map<string, number>(), nextEnd: end };
    this.#leases.set(key, lease);
    this.#hold(lease, holder, end);
    return true;
  }

  async renew(key: string, holder: string, ttlSeconds: number): Promise<boolean> {
    const end = this.#endOf(ttlSeconds);
    const held = this.#prune(key);
    if (!held?.ends.has(holder)) return false;
    this.#hold(held, holder, end);
    return true;
  }

  async release(key: string, holder: string): Promise<void> {
    const held = this.#leases.get(key);
    if (!held?.ends.delete(holder)) return;
    this.#leaseCount--;
    if (held.ends.size === 0) this.#leases.delete(key);
  }

  async put(key: string, value: string, ttlSeconds: number): Promise<void> {
    const expiresAt = this.#endOf(ttlSeconds);
    this.#refuseWhenClosed();
    if (value.length > maxValueLength) throw new RangeError('a one-time value is at most 64 KiB');
    if (!this.#values.has(key)) {
      if (this.#values.size >= this.#maxEntries) this.#sweepValues();
      if (this.#values.size >= this.#maxEntries) throw full();
    }
    this.#values.set(key, { value, expiresAt });
    this.#nextValueEnd = Math.min(this.#nextValueEnd, expiresAt);
  }

  async take(key: string): Promise<string | null> {
    this.#refuseWhenClosed();
    const kept = this.#values.get(key);
    if (!kept) return null;
    this.#values.delete(key);
    return kept.expiresAt > this.#now() ? kept.value : null;
  }

  async draw(draws: readonly Draw[], until: number): Promise<readonly Drawn[]> {
    this.#refuseWhenClosed();
    const offers = draws.map(({ key, limit, amount }) => {
      const used = this.#used(key);
      // Written so that an amount or a limit of NaN gives nothing.
      const left = limit - used > 0 ? limit - used : 0;
      return { taken: amount > 0 ? Math.min(amount, left) : 0, used };
    });
    if (offers.some(({ taken }) => taken === 0)) return offers.map(({ used }) => ({ taken: 0, used }));
    this.#makeRoom(draws.filter(({ key }) => !this.#counters.has(key)).length);
    return draws.map(({ key }, index) => {
      const taken = (offers[index] as Drawn).taken;
      return { taken, used: this.#add(key, taken, until) };
    });
  }

  async charge(key: string, amount: number, until: number): Promise<number> {
    this.#refuseWhenClosed();
    if (!Number.isFinite(amount)) throw new RangeError('an amount is a finite number');
    if (this.#used(key) === 0 && amount <= 0) return 0;
    this.#makeRoom(this.#counters.has(key) ? 0 : 1);
    return this.#add(key, amount, until);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    this.#counters.clear();
    this.#values.clear();
    this.#leases.clear();
    this.#leaseCount = 0;
  }

  #endOf(ttlSeconds: number): number {
    if (!(ttlSeconds > 0 && Number.isFinite(ttlSeconds))) throw new RangeError('ttlSeconds must be more than 0');
    return this.#now() + ttlSeconds * 1000;
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new RelayError('draining', 'The relay is shutting down.');
  }

  #hold(lease: Lease, holder: string, end: number): void {
    lease.ends.set(holder, end);
    lease.nextEnd = Math.min(lease.nextEnd, end);
    this.#nextLeaseEnd = Math.min(this.#nextLeaseEnd, end);
  }

  /** The lease of a key, without the holders whose time ran out; looks at each of them only when one's may have. */
  #prune(key: string): Lease | undefined {
    const held = this.#leases.get(key);
    const now = this.#now();
    if (!held || now < held.nextEnd) return held;
    held.nextEnd = Number.POSITIVE_INFINITY;
    for (const [holder, end] of held.ends) {
      if (end > now) {
        held.nextEnd = Math.min(held.nextEnd, end);
        continue;
      }
      held.ends.delete(holder);
      this.#leaseCount--;
    }
    if (held.ends.size > 0) return held;
    this.#leases.delete(key);
    return undefined;
  }

  #used(key: string): number {
    const counter = this.#counters.get(key);
    if (!counter) return 0;
    if (counter.until > this.#wall()) return counter.used;
    this.#counters.delete(key);
    return 0;
  }

  #add(key: string, amount: number, until: number): number {
    const used = Math.max(0, this.#used(key) + amount);
    this.#counters.set(key, { used, until });
    this.#nextCounterEnd = Math.min(this.#nextCounterEnd, until);
    return used;
  }

  #makeRoom(counters: number): void {
    const most = this.#maxEntries * countersPerEntry;
    if (this.#counters.size + counters > most) this.#sweepCounters();
    if (this.#counters.size + counters > most) throw full();
  }

  #sweepCounters(): void {
    const now = this.#wall();
    if (now < this.#nextCounterEnd) return;
    let next = Number.POSITIVE_INFINITY;
    for (const [key, { until }] of this.#counters) {
      if (until <= now) this.#counters.delete(key);
      else next = Math.min(next, until);
    }
    this.#nextCounterEnd = next;
  }

  #sweepValues(): void {
    const now = this.#now();
    if (now < this.#nextValueEnd) return;
    let next = Number.POSITIVE_INFINITY;
    for (const [key, { expiresAt }] of this.#values) {
      if (expiresAt <= now) this.#values.delete(key);
      else next = Math.min(next, expiresAt);
    }
    this.#nextValueEnd = next;
  }

  #sweepLeases(): void {
    const now = this.#now();
    if (now < this.#nextLeaseEnd) return;
    let next = Number.POSITIVE_INFINITY;
    for (const key of this.#leases.keys()) {
      next = Math.min(next, this.#prune(key)?.nextEnd ?? Number.POSITIVE_INFINITY);
    }
    this.#nextLeaseEnd = next;
  }
}

function full(): RelayError {
  return new RelayError('overloaded', 'The relay holds as much state as it may; try again shortly.');
}

/** The time, and what is to be done later for all sessions of a process: one timer and a heap, however many wait. */

/** Takes back what was to be done; does nothing when it is done already. */
export type Cancel = () => void;

/** A moment by both clocks: spans are measured on the monotonic one, which nobody sets. */
export interface Moment {
  /** `performance.now()` */
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly wall: number;
}

/** This moment. */
export function moment(): Moment {
  return { now: performance.now(), wall: Date.now() };
}

/** The time of day, in milliseconds since 1970, at `at` (in `performance.now()`), counted from a moment it is known of. */
export function wallOf({ now, wall }: Moment, at: number): number {
  return Math.round(wall + at - now);
}

/** A clock of one process. */
export interface Clock {
  /** Does this once, in so many milliseconds. What it throws is the process's: whoever waits here catches its own. */
  at(ms: number, work: () => void): Cancel;
}

interface Entry {
  readonly dueAt: number;
  /** Among those of one moment the first to come is the first to go. */
  readonly order: number;
  work: (() => void) | null;
  /** Where it stands in the heap. */
  place: number;
}

/** A clock for somebody who must not end the process: what work that is due throws is told to `failed`. */
export function guarded(clock: Clock, failed: (error: unknown) => void): Clock {
  return {
    at: (ms, work) =>
      clock.at(ms, () => {
        try {
          work();
        } catch (error) {
          failed(error);
        }
      }),
  };
}

/** The longest that a timer can be set to. Source: Node's `setTimeout`. */
const longestMs = 2 ** 31 - 1;

/** Makes a clock on which nothing waits. */
export function createClock(): Clock {
  const heap = new Heap();
  let order = 0;
  let timer: NodeJS.Timeout | null = null;
  let armedFor = Number.POSITIVE_INFINITY;

  function arm(): void {
    const dueAt = heap.first?.dueAt ?? Number.POSITIVE_INFINITY;
    if (dueAt === armedFor) return;
    if (timer) clearTimeout(timer);
    armedFor = dueAt;
    const waits = Math.max(0, Math.ceil(dueAt - performance.now()));
    timer = heap.first ? setTimeout(ring, Math.min(waits, longestMs)) : null;
  }

  function ring(): void {
    timer = null;
    armedFor = Number.POSITIVE_INFINITY;
    // What is put on meanwhile has its turn later, however soon it is due.
    const until = order;
    const now = performance.now();
    try {
      for (let next = heap.first; next !== null && next.dueAt <= now && next.order < until; next = heap.first) {
        const { work } = next;
        heap.remove(next);
        next.work = null;
        work?.();
      }
    } finally {
      arm();
    }
  }

  return {
    at(ms, work) {
      const entry: Entry = { dueAt: performance.now() + Math.max(0, ms), order: order++, work, place: 0 };
      heap.add(entry);
      arm();
      return () => {
        if (entry.work === null) return;
        entry.work = null;
        heap.remove(entry);
        arm();
      };
    },
  };
}

/** The entry that is due first stands at the top. */
class Heap {
  readonly #entries: Entry[] = [];

  get first(): Entry | null {
    return this.#entries[0] ?? null;
  }

  add(entry: Entry): void {
    this.#rise(entry, this.#entries.length);
  }

  remove(entry: Entry): void {
    const last = this.#entries.pop();
    if (last === undefined || last === entry) return;
    this.#sink(last, entry.place);
    this.#rise(last, last.place);
  }

  #rise(entry: Entry, from: number): void {
    let place = from;
    while (place > 0) {
      const above = this.#entries[(place - 1) >> 1] as Entry;
      if (!isBefore(entry, above)) break;
      this.#put(above, place);
      place = (place - 1) >> 1;
    }
    this.#put(entry, place);
  }

  #sink(entry: Entry, from: number): void {
    let place = from;
    for (let child = 2 * place + 1; child < this.#entries.length; child = 2 * place + 1) {
      const [left, right] = [this.#entries[child] as Entry, this.#entries[child + 1]];
      const next = right !== undefined && isBefore(right, left) ? right : left;
      if (!isBefore(next, entry)) break;
      place = next.place;
      this.#put(next, (place - 1) >> 1);
    }
    this.#put(entry, place);
  }

  #put(entry: Entry, place: number): void {
    this.#entries[place] = entry;
    entry.place = place;
  }
}

function isBefore(one: Entry, other: Entry): boolean {
  return one.dueAt < other.dueAt || (one.dueAt === other.dueAt && one.order < other.order);
}

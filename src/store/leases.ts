/** Who has which of a number of places, and until when. */

/** The places under one key: when each holder's runs out, and a moment before which none does. */
interface Lease {
  readonly ends: Map<string, number>;
  nextEnd: number;
}

export class Leases {
  readonly #room: () => number;
  readonly #now: () => number;
  readonly #lapsed: (holder: string) => void;
  readonly #byKey = new Map<string, Lease>();
  #size = 0;
  // Nothing runs out before it, so that what is full is not searched again and again on behalf of whoever fills it.
  #nextEnd = Number.POSITIVE_INFINITY;

  /**
   * @param room for how many there is, whatever their keys
   * @param lapsed told of each holder whose time ran out
   */
  constructor(room: () => number, now: () => number, lapsed: (holder: string) => void) {
    this.#room = room;
    this.#now = now;
    this.#lapsed = lapsed;
  }

  get isFull(): boolean {
    return this.#size >= this.#room();
  }

  /** Takes a place until `end`; a holder that has one keeps it, whatever the limit is now. */
  enter(key: string, holder: string, limit: number, end: number): 'in' | 'taken' | 'full' {
    const held = this.#prune(key);
    if (!held?.ends.has(holder)) {
      // Written so that a limit of NaN admits nobody.
      if (!((held?.ends.size ?? 0) < limit)) return 'taken';
      if (this.isFull) this.sweep();
      if (this.isFull) return 'full';
      this.#size++;
    }
    const lease = this.#byKey.get(key) ?? { ends: new Map<string, number>(), nextEnd: end };
    this.#byKey.set(key, lease);
    lease.ends.set(holder, end);
    lease.nextEnd = Math.min(lease.nextEnd, end);
    this.#nextEnd = Math.min(this.#nextEnd, end);
    return 'in';
  }

  leave(key: string, holder: string): void {
    const held = this.#byKey.get(key);
    if (!held?.ends.delete(holder)) return;
    this.#size--;
    if (held.ends.size === 0) this.#byKey.delete(key);
  }

  /** Lets go of those whose time ran out. */
  sweep(): void {
    if (this.#now() < this.#nextEnd) return;
    let next = Number.POSITIVE_INFINITY;
    for (const key of this.#byKey.keys()) {
      next = Math.min(next, this.#prune(key)?.nextEnd ?? Number.POSITIVE_INFINITY);
    }
    this.#nextEnd = next;
  }

  clear(): void {
    this.#byKey.clear();
    this.#size = 0;
  }

  /** The lease of a key, without the holders whose time ran out; looks at each of them only when one's may have. */
  #prune(key: string): Lease | undefined {
    const held = this.#byKey.get(key);
    const now = this.#now();
    if (!held || now < held.nextEnd) return held;
    held.nextEnd = Number.POSITIVE_INFINITY;
    for (const [holder, end] of held.ends) {
      if (end > now) {
        held.nextEnd = Math.min(held.nextEnd, end);
        continue;
      }
      held.ends.delete(holder);
      this.#size--;
      this.#lapsed(holder);
    }
    if (held.ends.size > 0) return held;
    this.#byKey.delete(key);
    return undefined;
  }
}

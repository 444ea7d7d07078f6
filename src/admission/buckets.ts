/** Rates of many: a bucket for each name, which leaks, and into which each try is one more drop. */

/** How fast buckets leak, and how much they hold. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  level: number;
  /** When the level was that, in milliseconds of a clock that nobody sets. */
  at: number;
  perSecond: number;
}

const mostBuckets = 20_000;
/** How many leave at once when there is no room, so that the search for them is paid for by as many that come. */
const leaving = mostBuckets / 10;

export class Buckets {
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** So much more; 0 when there is room for it, else the milliseconds until there is, and then nothing is added. */
  add(name: string, { perSecond, burst }: Rate, amount = 1): number {
    const now = this.#now();
    const known = this.#buckets.get(name);
    const level = known ? levelOf(known, now) : 0;
    if (level + amount > burst) return Math.ceil(((level + amount - burst) / perSecond) * 1000);
    if (!known && this.#buckets.size >= mostBuckets) this.#makeRoom(now);
    this.#buckets.set(name, { level: level + amount, at: now, perSecond });
    return 0;
  }

  /** The fullest stay: whoever brings many names to be forgotten cannot have their own forgotten. */
  #makeRoom(now: number): void {
    const byLevel = [...this.#buckets].map(([name, bucket]) => ({ name, level: levelOf(bucket, now) }));
    byLevel.sort((a, b) => a.level - b.level);
    for (const { name } of byLevel.slice(0, leaving)) this.#buckets.delete(name);
  }
}

function levelOf({ level, at, perSecond }: Bucket, now: number): number {
  return Math.max(0, level - ((now - at) / 1000) * perSecond);
}

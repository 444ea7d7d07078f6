/** A map that may hold `limit` entries at most; the oldest makes room. Most sessions never need most of theirs: empty, it takes no room. */
export class Bounded<V> {
  readonly #limit: number;
  #entries: Map<string, V> | null = null;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries?.size ?? 0;
  }

  get(key: string): V | undefined {
    return this.#entries?.get(key);
  }

  has(key: string): boolean {
    return this.#entries?.has(key) ?? false;
  }

  set(key: string, value: V): void {
    this.#entries ??= new Map();
    if (this.#entries.size >= this.#limit && !this.#entries.has(key)) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.set(key, value);
  }

  /** Returns whether it was there. */
  delete(key: string): boolean {
    return this.#entries?.delete(key) ?? false;
  }

  /** The oldest entry. */
  first(): readonly [string, V] | undefined {
    return this.#entries?.entries().next().value;
  }

  entries(): Iterable<readonly [string, V]> {
    return this.#entries?.entries() ?? [];
  }

  values(): Iterable<V> {
    return this.#entries?.values() ?? [];
  }
}

/** The items of a conversation in its own order, whatever order they become known in; those at the front leave it one by one. */

import { Bounded } from '../policy/bounded.js';

/** Something with a place in a conversation. */
interface Linked {
  readonly id: string;
}

/** Items that are remembered when they have left. */
const mostSeen = 4096;

export class Chain<T extends Linked> {
  readonly #waiting: T[] = [];
  readonly #seen = new Bounded<true>(mostSeen);

  /** What stands at the front. */
  get first(): T | undefined {
    return this.#waiting[0];
  }

  get length(): number {
    return this.#waiting.length;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#waiting[Symbol.iterator]();
  }

  /** Whether it has ever had a place. */
  knows(id: string): boolean {
    return this.#seen.has(id);
  }

  find(id: string): T | undefined {
    return this.#waiting.find((one) => one.id === id);
  }

  /**
   * Gives it its place behind `previous`: null stands for the beginning, and what is not known for the end. What belongs
   * between items that have left comes next.
   */
  place(one: T, previous: unknown): void {
    this.#seen.set(one.id, true);
    const before = this.#waiting.findIndex(({ id }) => id === previous);
    const isBehindAll = before < 0 && previous !== null && !(typeof previous === 'string' && this.knows(previous));
    this.#waiting.splice(isBehindAll ? this.#waiting.length : before + 1, 0, one);
  }

  /** Lets the first one leave. */
  shift(): T | undefined {
    return this.#waiting.shift();
  }
}

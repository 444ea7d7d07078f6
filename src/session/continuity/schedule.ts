/** Follows the time that a leg has left by its own word. */

import type { Cancel, Clock } from '../../clock.js';
import { type Moments, momentsOf } from './moments.js';

/** What is due. */
interface Due {
  /** Another leg has to be reached. */
  prepare(): void;
  /** It may be time to go over to it. */
  look(): void;
}

const lookMs = 100;
/** Before a leg is reached that could not be. */
const againMs = 2000;
const fullSeconds = 1200;

export class Schedule {
  readonly #clock: Clock;
  readonly #due: Due;
  #endsAt = Number.POSITIVE_INFINITY;
  #moments: Moments = momentsOf(fullSeconds * 1000, 0);
  #wait: Cancel | null = null;

  constructor(clock: Clock, due: Due) {
    this.#clock = clock;
    this.#due = due;
  }

  /** A leg has begun that says when it ends, in seconds since 1970. */
  begin(expiresAt: unknown): void {
    this.close();
    const leftMs = typeof expiresAt === 'number' ? expiresAt * 1000 - Date.now() : 0;
    if (leftMs <= 0) return;
    this.#endsAt = performance.now() + leftMs;
    this.#moments = momentsOf(leftMs, Math.random());
    this.#at(leftMs - this.#moments.dial, () => this.#prepare());
  }

  #prepare(): void {
    this.#due.prepare();
    this.#at(this.leftMs - this.#moments.soft, this.#look);
  }

  readonly #look = (): void => {
    this.#at(lookMs, this.#look);
    this.#due.look();
  };

  /** The leg that was to follow is of no use. */
  failed(): void {
    this.#at(Math.min(againMs, this.#moments.soft / 8), () => this.#prepare());
  }

  #at(ms: number, work: () => void): void {
    this.#wait?.();
    this.#wait = this.#clock.at(Math.max(0, ms), work);
  }

  get leftMs(): number {
    return this.#endsAt - performance.now();
  }

  get moments(): Moments {
    return this.#moments;
  }

  close(): void {
    this.#wait?.();
    this.#wait = null;
    this.#endsAt = Number.POSITIVE_INFINITY;
  }
}

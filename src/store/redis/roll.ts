/** Which replicas live: each says so every five seconds, and is waited for while it does. */

import { z } from 'zod';
import type { Keys } from './keys.js';
import { type Ask, type Link, patientMs } from './link.js';
import { remove } from './scripts.js';
import { beat } from './withdrawing.js';

const everyMs = 5000;
const lifeMs = 15_000;

const living = z.tuple([z.literal('ok')], z.string());

export class Roll {
  readonly #keys: Keys;
  readonly #link: () => Link;
  readonly #learned: (living: readonly string[]) => void;
  #timer: NodeJS.Timeout | null = null;
  #living: readonly string[];

  /** @param learned told at each beat which live */
  constructor(
    keys: Keys,
    readonly replica: string,
    link: () => Link,
    learned: (living: readonly string[]) => void,
  ) {
    this.#keys = keys;
    this.#learned = learned;
    this.#link = link;
    this.#living = [replica];
  }

  /** Those that lived at the last beat, this one included. */
  get living(): readonly string[] {
    return this.#living;
  }

  /** Says that this one lives, and learns who else does. */
  async beat(ask: Ask): Promise<void> {
    const [, ...all] = living.parse(
      await ask('heartbeat', beat, () => ({ keys: [this.#keys.common('r')], args: [this.replica, lifeMs] }), patientMs),
    );
    this.#living = all;
    this.#learned(all);
  }

  /** Beats from now on, as long as Redis is there. */
  start(): void {
    this.#timer ??= setInterval(() => {
      const link = this.#link();
      // Of a Redis that does not answer the link tells.
      if (link.isUp) this.beat(link.ask).catch(() => undefined);
    }, everyMs).unref();
  }

  /** It is waited for no more. */
  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    const link = this.#link();
    if (!link.isUp) return;
    const own = () => ({ keys: [this.#keys.common('r')], args: [this.replica] });
    await link.ask('heartbeat', remove, own, patientMs);
  }
}

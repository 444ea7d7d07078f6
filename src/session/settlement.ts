/**
 * What happens upstream after a session has ended while something was still to be paid for: the answer is cancelled, and
 * the leg is kept until upstream has said what it cost.
 */

import type { Cancel, Clock } from '../clock.js';
import { inTime } from '../wait.js';

/** What a settlement needs of the session it is the rest of. */
export interface Unsettled {
  readonly running: ReadonlySet<string>;
  /** Whether upstream has yet to report what something costs. */
  isUnsettled(): boolean;
  /** Asks upstream to stop a response. */
  cancel(responseId: string): void;
  /** Called once, at the end; `complete` is false when upstream did not get to say everything. */
  settled(complete: boolean): void;
}

const longestMs = 10_000;
/** For the end of a response after its `response.cancel`: an upstream that goes on speaking is not listened to. */
const cancelMs = 2000;

/** All settlements of this instance: bounded in number and time, and over when the relay stops. */
export class Settlements {
  readonly #open = new Set<Settlement>();
  readonly #limit: number;
  readonly #clock: Clock;
  #closed = false;
  #whenEmpty: (() => void) | null = null;

  /** @param limit at a time; a session above it closes its upstream leg at once */
  constructor(limit: number, clock: Clock) {
    this.#limit = limit;
    this.#clock = clock;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Starts one; null when there is no room for it. */
  begin(rest: Unsettled): Settlement | null {
    if (this.#closed || this.#open.size >= this.#limit) return null;
    const settlement = new Settlement(rest, this.#clock, () => {
      this.#open.delete(settlement);
      if (this.#open.size === 0) this.#whenEmpty?.();
    });
    this.#open.add(settlement);
    settlement.heard();
    return settlement;
  }

  /** Waits for those that are open, and ends what is left after this many milliseconds. */
  async close(ms: number): Promise<void> {
    if (this.#open.size > 0 && ms > 0) {
      const empty = new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
      });
      await inTime(empty, ms);
    }
    this.#closed = true;
    for (const settlement of this.#open) settlement.finish();
  }
}

/** The rest of one session. */
export class Settlement {
  readonly #rest: Unsettled;
  readonly #clock: Clock;
  readonly #over: () => void;
  readonly #late: Cancel;
  readonly #cancelled = new Set<string>();
  #obeying: Cancel | null = null;
  #isOver = false;

  constructor(rest: Unsettled, clock: Clock, over: () => void) {
    this.#rest = rest;
    this.#clock = clock;
    this.#over = over;
    this.#late = clock.at(longestMs, () => this.finish());
  }

  /** Upstream said something: stops what has begun only now, and ends when nothing is open any more. */
  heard(): void {
    if (this.#isOver) return;
    for (const id of this.#rest.running) {
      if (this.#cancelled.has(id)) continue;
      this.#cancelled.add(id);
      this.#rest.cancel(id);
      this.#obeying?.();
      this.#obeying = this.#clock.at(cancelMs, this.#disobeyed);
    }
    if (!this.#rest.isUnsettled()) this.finish();
  }

  /** Transcripts may take all the time there is; what was cancelled may not. */
  readonly #disobeyed = (): void => {
    if (this.#rest.running.size > 0) this.finish();
  };

  /** Ends it, whatever is still open. */
  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#late();
    this.#obeying?.();
    this.#over();
    this.#rest.settled(!this.#rest.isUnsettled());
  }
}

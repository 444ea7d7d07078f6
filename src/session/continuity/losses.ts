/** Legs that were lost, and how often a session may lose one: endpoints flap, and whoever dials them for ever helps nobody. */

import { type JsonObject, objectOf } from '../../protocol/event.js';
import type { ReplacementTrigger } from '../../telemetry/labels.js';
import type { Want } from '../wants.js';
import type { Lost } from './running.js';

/** A leg that was lost, and what for. */
export interface Loss {
  readonly trigger: ReplacementTrigger;
  readonly at: number;
  /** What becomes of the session where no other leg is to be had. */
  otherwise: () => void;
  /** The answer that its user waits for. */
  readonly owed: Want | null;
  readonly lost: readonly Lost[];
}

const withinMs = 60_000;
const mostWithin = 3;
const mostInAll = 20;

/** Those of one session. */
export class Losses {
  #recent: readonly number[] = [];
  #all = 0;

  /** Takes note of one more; whether it is within bounds. */
  add(now: number): boolean {
    this.#recent = [...this.#recent.filter((at) => now - at < withinMs), now].slice(-mostWithin - 1);
    return ++this.#all <= mostInAll && this.#recent.length <= mostWithin;
  }
}

/** Answers that failed by upstream's own trouble, in a row. */
export class Failures {
  #inARow = 0;

  /** Takes note of an answer that is over; whether its leg is to be replaced. */
  ended({ status, status_details }: JsonObject): boolean {
    const { type, code } = objectOf(objectOf(status_details).error);
    const isTrouble = status === 'failed' && (type === 'server_error' || code === 'server_error');
    this.#inARow = isTrouble ? this.#inARow + 1 : 0;
    return this.#inARow === 2;
  }
}

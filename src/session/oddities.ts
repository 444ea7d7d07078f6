/** What upstream sends and is no event that could be passed on: dropped and counted; the session ends only when it goes on. */

import { RelayError } from '../errors.js';
import type { Odd } from '../telemetry/labels.js';

const most = 10;
const withinMs = 60_000;

/**
 * Counts the odd events of one session.
 * @returns to be called with each; whether there have been too many of them
 */
export function createOddities(count: (odd: Odd) => void): (odd: Odd) => boolean {
  let times: readonly number[] = [];
  return (odd) => {
    count(odd);
    const now = performance.now();
    times = [...times.filter((at) => now - at < withinMs), now];
    return times.length >= most;
  };
}

/** What was odd about a message that could not be read, or null where the error is none of its reader's. */
export function oddityOf(error: unknown): Odd | null {
  if (!(error instanceof RelayError)) return null;
  if (error.id === 'too_big') return 'too_big';
  if (error.id !== 'bad_event') return null;
  return error.isBearable ? 'ambiguous' : 'malformed';
}

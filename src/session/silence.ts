/** Notices an upstream that is open and says nothing though it owes an answer. */

import type { Turns } from './pending.js';

/** The watch over one session's upstream. */
export interface Watchdog {
  /**
   * To be called about once a second, with `performance.now()`: whether the silence has lasted too long. `excused` is
   * true when upstream was heard since the last call, or could not be.
   */
  isTooLong(now: number, excused: boolean): boolean;
}

/** Starts to watch; `seconds` of silence are too long. */
export function createWatchdog(turns: Pick<Turns, 'isOwed'>, seconds: number): Watchdog {
  let since = 0;
  return {
    isTooLong(now, excused) {
      if (excused || !turns.isOwed()) since = 0;
      else if (since === 0) since = now;
      return since !== 0 && now - since > seconds * 1000;
    },
  };
}

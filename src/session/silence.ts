/** Notices an upstream that is open and says nothing though it owes an answer. */

import type { Heartbeat } from '../legs/liveness.js';
import type { Turns } from './pending.js';

/** The watch over one session's upstream. */
export interface Watchdog {
  /**
   * To be called about once a second, with `performance.now()`: whether the silence has lasted too long. `excused` is
   * true when upstream was heard since the last call, or could not be.
   */
  isTooLong(now: number, excused: boolean): boolean;
}

/** Two seconds, looked at once a second by clocks that differ a little. */
const dueMs = 1900;

/** How upstream is pinged: soon while something is due from it, since its user waits as long as nobody knows that it is dead. */
export function heartbeatOf(limits: { ping_seconds: number; pong_seconds: number }, isDue: boolean): Heartbeat {
  const most = isDue ? dueMs : Number.POSITIVE_INFINITY;
  return {
    pingMs: Math.min(limits.ping_seconds * 1000, most),
    pongMs: Math.min(limits.pong_seconds * 1000, most),
    silenceMs: 0,
  };
}

/** How a client is pinged: only to hear of it, since one in a tunnel answers as late again as it was in there. */
export function heartbeatOfClient(limits: { ping_seconds: number; silence_seconds: number }): Heartbeat {
  return { pingMs: limits.ping_seconds * 1000, pongMs: 0, silenceMs: limits.silence_seconds * 1000 };
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

/** How late the process is: what somebody who sends an event now waits until it is looked at. */

import { monitorEventLoopDelay, performance } from 'node:perf_hooks';

/** What one look at the loop showed, since the look before. */
export interface LoopLook {
  /** What an event waited on the average, whenever it came. */
  readonly delayMs: number;
  /** Share of the time in which the loop had something to do, 0 to 1. */
  readonly utilisation: number;
  /** How much later the look came than it should have. */
  readonly lateMs: number;
}

/** Between two looks. */
const lookMs = 1000;
const resolutionMs = 20;

/** Calls back about once a second. Costs nothing per event. */
export function watchLoop(seen: (look: LoopLook) => void): { close(): void } {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  let before = performance.eventLoopUtilization();
  let lookedAt = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    const current = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(current, before);
    const look = { delayMs: delayOf(delays), utilisation: utilization, lateMs: now - lookedAt - lookMs };
    before = current;
    lookedAt = now;
    delays.reset();
    seen(look);
  }, lookMs);
  timer.unref();
  return {
    close() {
      clearInterval(timer);
      delays.disable();
    },
  };
}

/**
 * Most events come in the longest gaps between two turns of the loop, so gaps count by their length: a mean of gaps would
 * hide a loop that stands still for most of a second.
 */
function delayOf({ mean, stddev, count }: ReturnType<typeof monitorEventLoopDelay>): number {
  if (count === 0 || !(mean > 0)) return 0;
  return Math.max(0, (mean + stddev ** 2 / mean) / 1e6 - resolutionMs);
}

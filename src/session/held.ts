/** Says of a side that is held for long that it is: once for each time. */

import type { Hold, Stretch } from '../legs/leg.js';

const toldAfterMs = 5000;

/**
 * Watches one leg; what it returns is to be called about once a second.
 * @param tell why the leg is held, and for how many seconds so far
 */
export function createHeldWatch(tell: (why: Hold, seconds: number) => void) {
  let told = 0;
  return (stretch: Stretch | null, nowMs: number): void => {
    if (stretch === null || stretch.since === told || nowMs - stretch.since < toldAfterMs) return;
    told = stretch.since;
    tell(stretch.why, Math.round((nowMs - stretch.since) / 1000));
  };
}

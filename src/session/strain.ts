/** Judges from looks at the loop whether a process has too much to do. Pure: looks and times go in, a judgement comes out. */

import type { LoopLook } from '../telemetry/loop.js';

/** What is too much; 0 turns a limit off. */
export interface LoadLimits {
  readonly busy_delay_ms: number;
  readonly busy_percent: number;
}

/** What the last looks have shown. */
export interface Load {
  /** Looks in a row over a limit. */
  readonly busyLooks: number;
  /** Looks in a row at which everybody waited so long that fewer must be served. */
  readonly lateLooks: number;
  /** Since when it is busy, by the caller's clock; null while it is not. */
  readonly busySince: number | null;
}

export const calm: Load = { busyLooks: 0, lateLooks: 0, busySince: null };

/** One standstill fills one look, however long it is. */
const looksInARow = 3;
/** Over this, a conversation is none any more. */
const lateMs = 2000;
/** A balancer that hears "busy" for longer would give up the instance for good. */
const longestBusyMs = 30_000;
const smallestShare = 0.05;
const largestShare = 0.5;

/** The judgement after one more look. */
export function judge(load: Load, look: LoopLook, limits: LoadLimits, now: number): Load {
  const isDelayed = limits.busy_delay_ms > 0 && look.delayMs > limits.busy_delay_ms;
  const isFull = limits.busy_percent > 0 && look.utilisation * 100 > limits.busy_percent;
  const busyLooks = isDelayed || isFull ? load.busyLooks + 1 : 0;
  const isLate = limits.busy_delay_ms > 0 && look.delayMs > lateMs;
  return {
    busyLooks,
    lateLooks: isLate ? load.lateLooks + 1 : 0,
    busySince: busyLooks < looksInARow ? null : (load.busySince ?? now),
  };
}

/** Whether nobody new should come in. */
export function isBusy({ busySince }: Load): boolean {
  return busySince !== null;
}

/** Whether a balancer should be told so. */
export function tellsBusy({ busySince }: Load, now: number): boolean {
  return busySince !== null && now - busySince <= longestBusyMs;
}

/** The share of sessions that must end now for the rest to be in time; 0 for none. */
export function shareToShed({ lateLooks }: Load, { delayMs }: LoopLook): number {
  if (lateLooks < looksInARow) return 0;
  return Math.min(largestShare, Math.max(smallestShare, 1 - lateMs / delayMs));
}

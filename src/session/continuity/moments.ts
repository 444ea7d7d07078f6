/** When a leg is replaced that is about to end by itself: times are in milliseconds before its end. */

/** The moments of one leg. */
export interface Moments {
  /** The next one is reached. */
  readonly dial: number;
  /** A boundary is taken at once. */
  readonly soft: number;
  /** What is only better is waited for no longer. */
  readonly firm: number;
  /** Nothing is waited for but the model, which may finish. */
  readonly hard: number;
  /** Nothing is waited for. */
  readonly cut: number;
}

/** The margins hold for sessions of twenty minutes and more; in shorter ones all is as much shorter. */
const fullMs = 1_200_000;
/** The next leg takes a moment to be ready. */
const leastAheadMs = 2500;

/**
 * The moments of a leg that has so long to live.
 * @param random of 0 to 1: legs that began together must not be replaced together
 */
export function momentsOf(leftMs: number, random: number): Moments {
  const share = Math.min(1, leftMs / fullMs);
  const soft = Math.max(2000, 120_000 * share);
  return {
    dial: soft + Math.max(leastAheadMs, random * 60_000 * share),
    soft,
    firm: Math.max(1900, 45_000 * share),
    // An answer that has begun just before may end in time.
    hard: Math.max(1800, 20_000 * share),
    cut: Math.max(500, 5000 * share),
  };
}

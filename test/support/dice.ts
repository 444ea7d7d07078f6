/** Chance that is the same at every run. */

/** Marsaglia's xorshift32: an integer from 0 up to, not including, `below`. */
export function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** The same, and one of a list. */
export function chance(seed: number) {
  const random = dice(seed);
  return { random, pick: <T>(list: readonly T[]): T => list[random(list.length)] as T };
}

/** Whom an instance lets go of when it is short of something. Pure: it sees numbers and ends nobody. */

/** One session as it is weighed. */
export interface Weighed {
  /** Who is compared: all sessions of one user count together. */
  readonly user: string;
  /** What it costs of what is short: bytes, or time. */
  readonly weight: number;
  /** Since when nothing of what waits for it was taken, in milliseconds. */
  readonly stillMs: number;
}

/** One that is to end, and who weighs most. */
export interface Choice<T> {
  readonly victim: T;
  readonly heaviest: { readonly user: string; readonly weight: number };
}

/** Over this many times the median, one user's sum is what the others suffer from. */
const tooHeavy = 3;

/**
 * Of the user with the largest sum, if that stands out, the session that has not got on for longest; else the newest. The honest
 * are spared: neither a new session nor one on a bad line is why an instance is short.
 * @param sessions in the order they came; not empty
 */
export function choose<T extends Weighed>(sessions: readonly T[]): Choice<T> {
  const sums = new Map<string, number>();
  for (const { user, weight } of sessions) sums.set(user, (sums.get(user) ?? 0) + weight);
  const sorted = [...sums].sort(([, a], [, b]) => a - b);
  const [user, weight] = sorted.at(-1) as [string, number];
  const [, median] = sorted[Math.floor((sorted.length - 1) / 2)] as [string, number];
  const heaviest = { user, weight };
  const newest = sessions.at(-1) as T;
  if (weight <= tooHeavy * median) return { victim: newest, heaviest };
  const own = sessions.filter((one) => one.user === user);
  return { victim: own.reduce((still, one) => (one.stillMs >= still.stillMs ? one : still)), heaviest };
}

/** For bytes: who holds less than others is not what memory is short of, however new. */
export function chooseByBytes<T extends Weighed>(sessions: readonly T[]): Choice<T> {
  const mean = sessions.reduce((sum, { weight }) => sum + weight, 0) / sessions.length;
  const full = sessions.filter(({ weight }) => weight >= mean);
  const { heaviest, victim } = choose(sessions);
  return { heaviest, victim: full.includes(victim) ? victim : (full.at(-1) as T) };
}

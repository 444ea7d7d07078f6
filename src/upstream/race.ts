/** Two attempts at the most: the second one after the first has failed, or beside it when it takes long. */

import type { RelayError } from '../errors.js';
import { inTime } from '../wait.js';

/** One attempt under way. */
export interface Attempt<T> {
  /** Never rejects. */
  readonly result: Promise<Result<T>>;
  /** Gives it up; it ends at once then. */
  stop(reason: unknown): void;
}

type Result<T> = { readonly answer: T } | { readonly refusal: RelayError };

interface Race<T> {
  readonly first: Attempt<T>;
  /** Begins another attempt, where there is somebody to ask; `refusal` is that of the first, null while it still runs. */
  second(refusal: RelayError | null): Attempt<T> | null;
  /** How long the first one is waited for alone; null: for ever. */
  readonly aloneMs: number | null;
  /** Lets go of what the loser got all the same. */
  discard(answer: T): void;
}

/** The reason with which an attempt is given up that began earlier than the one that won: it was too slow. */
export const overtaken = Symbol('overtaken');
/** The reason for one that began later than the winner: it may have been as good. */
export const unneeded = Symbol('unneeded');

/** The first answer or, when there is none, the refusal that came last; with the number of attempts. */
export async function race<T>({ first, second, aloneMs, discard }: Race<T>): Promise<Result<T> & { attempts: number }> {
  const isEarly = aloneMs === null || (await inTime(first.result, aloneMs));
  const early = isEarly ? await first.result : null;
  if (early === null) {
    const beside = second(null);
    if (beside !== null) return { ...(await winnerOf(first, beside, discard)), attempts: 2 };
  }
  const result = early ?? (await first.result);
  const after = 'refusal' in result ? second(result.refusal) : null;
  return after === null ? { ...result, attempts: 1 } : { ...(await after.result), attempts: 2 };
}

async function winnerOf<T>(older: Attempt<T>, younger: Attempt<T>, discard: (answer: T) => void): Promise<Result<T>> {
  const ended = (attempt: Attempt<T>) => attempt.result.then((result) => ({ attempt, result }));
  const { attempt, result } = await Promise.race([ended(older), ended(younger)]);
  const other = attempt === older ? younger : older;
  if ('refusal' in result) return other.result;
  other.stop(other === older ? overtaken : unneeded);
  const lost = await other.result;
  if ('answer' in lost) discard(lost.answer);
  return result;
}

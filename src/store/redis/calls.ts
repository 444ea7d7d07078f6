/** The calls of scripts: what they are given, and what they answered, which is checked as anybody's answer is. */

import { z } from 'zod';
import { h } from '../hash.js';
import type { Reservation, Reserved } from '../store.js';
import type { Booking, Pot } from './book.js';
import type { Keys } from './keys.js';
import type { Build } from './link.js';

const dayMs = 86_400_000;
/** The largest number that scripts count with. */
const most = 9e15;

/** A limit that is none, as a number that Redis can compare with; one that is not a number admits nobody. */
export function limitOf(limit: number): number {
  return Number.isNaN(limit) ? 0 : Math.max(0, Math.min(Math.floor(limit), most));
}

/** The end of the day that it is at this time of Redis's clock. */
export function endOfDay(nowMs: number): number {
  return Math.floor(nowMs / dayMs) * dayMs + dayMs;
}

/** Budgets of somebody of a group; of others there are none in one step. */
export type Shared<R extends Reservation> = R & { readonly group: string };

export function isShared<R extends Reservation>(reservation: R): reservation is Shared<R> {
  return reservation.group !== null;
}

const wanted = ({ limit, most: part, least, isExact }: Reservation) => [
  limitOf(limit),
  limitOf(part),
  limitOf(least),
  Number(isExact),
];

function potKeys(keys: Keys, pots: Iterable<Pick<Reservation, 'group' | 'counter'>>, nowMs: number): string[] {
  const day = endOfDay(nowMs) - dayMs;
  return [...pots].flatMap(({ group, counter }) => keys.pot(group ?? '', counter, day));
}

interface Placed {
  readonly group: string;
  readonly purpose: 'sessions' | 'issuers' | 'addresses' | 'keys';
  readonly key: string;
  readonly limit: number;
  readonly ttlSeconds: number;
}

/** What `enter`, `renew` and `leave` are called with. */
export function createCalls(keys: Keys) {
  const placeKey = ({ group, purpose, key }: Placed) => keys.places(group, purpose, key);
  return {
    enter: (holder: string, place: Placed, holds: readonly Reservation[]): Build => {
      return (now) => ({
        keys: [placeKey(place), ...potKeys(keys, holds, now)],
        args: [holder, limitOf(place.limit), place.ttlSeconds * 1000, endOfDay(now), ...holds.flatMap(wanted)],
      });
    },
    settle: (holder: string, pots: readonly Pot[]): Build => {
      return (now) => ({
        keys: potKeys(keys, pots, now),
        args: [holder, endOfDay(now), ...pots.flatMap((pot) => [...wanted(pot), pot.total, pot.counted])],
      });
    },
    /** @param isLost whether Redis has lost what was used */
    renew: ({ holder, pots }: Booking, place: Placed, isLost: boolean): Build => {
      const own = [...pots.values()];
      const told = ({ held, counted, seen }: Pot) => [held, counted, isLost ? seen : -1];
      return (now) => ({
        keys: [placeKey(place), ...potKeys(keys, own, now)],
        args: [holder, limitOf(place.limit), place.ttlSeconds * 1000, endOfDay(now), ...own.flatMap(told)],
      });
    },
    leave: ({ holder, pots }: Pick<Booking, 'holder' | 'pots'>, place: Placed): Build => {
      return (now) => ({ keys: [placeKey(place), ...potKeys(keys, pots.values(), now)], args: [holder] });
    },
  };
}

const number = z.number().nonnegative();

/** What `enter` answered: of each budget what is used, what is held, and whether it is spent. */
export const entered = z.union([
  z.tuple([z.literal('taken')]),
  z.tuple([z.literal('spent'), number, number]),
  z.tuple([z.literal('in')], number),
]);
export const settled = z.tuple([z.literal('ok')], number);
export const renewed = z.tuple([z.enum(['in', 'taken'])]);
export const done = z.tuple([z.literal('ok')]);
export const got = z.tuple([z.literal('ok'), z.string().nullable()]);

/** The budgets of an answer, three numbers each. */
export function reservedOf(numbers: readonly number[]): Reserved[] {
  return Array.from({ length: numbers.length / 3 }, (_, index) => {
    const [used = 0, held = 0, isSpent = 0] = numbers.slice(index * 3);
    return { used, held, isSpent: isSpent === 1 };
  });
}

const kept = z.strictObject({ v: z.literal(1), o: z.string().regex(/^[\w-]{22}$/), t: z.string() });

/** A one-time text as Redis has it, with whose it is. */
export function packText(text: string, of: string): string {
  return JSON.stringify({ v: 1, o: h(of), t: text } satisfies z.input<typeof kept>);
}

/** What was packed; null for what is not of that form, whoever wrote it. */
export function unpackText(packed: string): { readonly text: string; readonly owner: string } | null {
  try {
    const { t: text, o: owner } = kept.parse(JSON.parse(packed));
    return { text, owner };
  } catch {
    // Whoever can write to Redis may have written anything.
    return null;
  }
}

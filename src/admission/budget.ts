/**
 * Budgets of a UTC day, for a user and for a tenant: sessions, minutes and tokens. A session holds a small part of each
 * budget in advance and gives back what it did not use, so that many sessions at once cannot spend the rest many times.
 * What others hold is not used: who finds nothing else left goes on and asks again, and only what is used ends a session.
 */

import type { User } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { Entered, Reservation, Reserved, Store, Total } from '../store/store.js';
import {
  type BudgetLimits,
  type BudgetName,
  type BudgetReservation,
  reservationsOf,
  type Scope,
} from './reservations.js';

/** A budget of which most is used, in the units of its name. */
export interface QuotaWarning {
  readonly budget: BudgetName;
  readonly scope: Exclude<Scope, 'issuer'>;
  readonly used: number;
  readonly limit: number;
  /** When the day ends, in seconds since 1970. */
  readonly resets_at: number;
}

/** What a session is told about its budgets. */
interface BudgetEvents {
  /** At most once for each budget. */
  nearlySpent(warning: QuotaWarning): void;
  /** A budget is used up, and the session must end. */
  spent(error: RelayError): void;
}

/** What a session wants of its budgets before it begins. */
export interface DailyBudget {
  readonly holds: readonly Reservation[];
  /** The budget, with what the store gave at the entry. */
  open(store: Pick<Store, 'settle'>, holder: string, entered: Extract<Entered, { outcome: 'in' }>): Budget;
  /** Why nobody gets in. */
  refusal(entered: Extract<Entered, { outcome: 'spent' }>): RelayError;
}

/** Of one budget: whose it is, what is held of it, and what this session has used. */
interface Allowance extends BudgetReservation {
  /** Used since the session began, and how much of it the store knows. */
  total: number;
  told: number;
  held: number;
  /** Used by everybody when it was last heard of, and the end of that day. */
  used: number;
  dayEnds: number;
  /** Since when nothing is held, by the clock of `tick`, or null. */
  inDebtSince: number | null;
  warned: boolean;
  spent: boolean;
}

const warnAt = 0.8;
/** How long a session goes on while others hold all that is left. */
const longestDebtMs = 60_000;
/** What a process that is killed has used since may be forgotten. */
const settleEveryMs = 20_000;
/** What others hold and do not use comes back by then. */
const heldRetryMs = 5000;

/** What a session of somebody with these limits reserves before it begins. */
export function dailyBudget(limits: BudgetLimits, user: User, now: () => number = Date.now): DailyBudget {
  const reservations = reservationsOf(limits, user);
  return {
    holds: reservations.map(({ counter, group, limit, most, least, isExact }) => {
      return { counter, group, limit, most, least, isExact };
    }),
    open(store, holder, { reserved, dayEnds }) {
      const start = { total: 0, told: 0, dayEnds, inDebtSince: null, warned: false, spent: false };
      const allowances = reservations.map((reservation, index) => {
        const { held = 0, used = 0 } = reserved[index] ?? {};
        return { ...reservation, ...start, held, used };
      });
      return new Budget(store, holder, allowances, now);
    },
    refusal({ counter, used, dayEnds }) {
      const reservation = reservations[counter];
      if (!reservation) throw new Error('the store refused for a budget that it was not asked for');
      return spentError(reservation, used < reservation.limit ? heldRetryMs : dayEnds - now());
    },
  };
}

function inUnits({ name }: Pick<Allowance, 'name'>, amount: number): number {
  return name === 'minutes_per_day' ? Math.round((amount / 60) * 100) / 100 : amount;
}

function spentError({ name, scope }: Pick<Allowance, 'name' | 'scope'>, retryAfterMs: number): RelayError {
  const what = name.replace('_per_day', '');
  const whose = { user: "the user's", tenant: "the tenant's", issuer: "the token issuer's" }[scope];
  return new RelayError('quota_exceeded', `No ${what} are left of ${whose} budget for today (UTC).`, {
    retryAfterMs: Math.max(0, retryAfterMs),
  });
}

/** What one session spends of its budgets. */
export class Budget {
  readonly #store: Pick<Store, 'settle'>;
  readonly #holder: string;
  readonly #allowances: readonly Allowance[];
  readonly #now: () => number;
  #events: BudgetEvents | null = null;
  #countedAt = 0;
  /** When it was asked to settle by the time that had passed. */
  #settledAt = 0;
  #stopped = false;
  #closed = false;
  #isSettling = false;
  /** Whether something was used since the store was last asked. */
  #isDue = false;

  constructor(store: Pick<Store, 'settle'>, holder: string, allowances: readonly Allowance[], now: () => number) {
    this.#store = store;
    this.#holder = holder;
    this.#allowances = allowances;
    this.#now = now;
  }

  /** The session is open: its time counts from now (`performance.now()`, as in every call). */
  start(events: BudgetEvents, now: number): void {
    this.#events = events;
    this.#countedAt = now;
    this.#settledAt = now;
    this.#use('sessions_per_day', 1);
    for (const allowance of this.#allowances) this.#look(allowance);
  }

  /** Counts the time since the last call; to be called about once a second. */
  tick(now: number): void {
    if (this.#events === null || this.#stopped) return;
    const seconds = Math.floor((now - this.#countedAt) / 1000);
    if (seconds > 0) {
      this.#countedAt += seconds * 1000;
      this.#use('minutes_per_day', seconds);
    }
    const inDebt = this.#allowances.filter(({ held, isExact }) => held === 0 && !isExact);
    for (const allowance of inDebt) {
      allowance.inDebtSince ??= now;
      if (now - allowance.inDebtSince > longestDebtMs) this.#spent(allowance);
    }
    const isOwed = this.#allowances.some(({ total, told }) => total !== told);
    if (inDebt.length > 0 || (isOwed && now - this.#settledAt >= settleEveryMs)) {
      this.#settledAt = now;
      this.#settle();
    }
  }

  /** Counts tokens that upstream reported. */
  tokens(count: number): void {
    if (count > 0) this.#use('tokens_per_day', count);
  }

  /** The session has ended: its time counts no longer, its tokens still may. */
  stop(now: number): void {
    if (this.#events === null || this.#stopped) return;
    this.#use('minutes_per_day', Math.max(0, Math.ceil((now - this.#countedAt) / 1000)));
    this.#stopped = true;
  }

  /** Settles what was used, and reserves no more. What is held goes back when the session leaves. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#allowances.some(({ total, told }) => total !== told)) this.#settle();
  }

  #use(name: BudgetName, amount: number): void {
    for (const allowance of this.#allowances) {
      if (allowance.name !== name) continue;
      allowance.total += amount;
      this.#look(allowance);
      if (allowance.total - allowance.told >= allowance.held || this.#now() >= allowance.dayEnds) this.#settle();
    }
  }

  /** Tells what was used and reserves the next part. One is under way at a time, for all budgets together. */
  #settle(): void {
    this.#isDue = true;
    if (this.#isSettling) return;
    this.#isSettling = true;
    void this.#settleAll();
  }

  async #settleAll(): Promise<void> {
    try {
      while (this.#isDue) {
        this.#isDue = false;
        await this.#settleOnce();
      }
    } catch (error) {
      unsettled(error);
    } finally {
      this.#isSettling = false;
    }
  }

  async #settleOnce(): Promise<void> {
    const totals = this.#allowances.map(({ counter, group, limit, most, least, isExact, total, told }): Total => {
      const next = this.#closed || isExact ? 0 : most;
      return { counter, group, limit, most: next, least, isExact, total, told };
    });
    const { reserved, dayEnds } = await this.#store.settle(this.#holder, totals);
    this.#allowances.forEach((allowance, index) => {
      const given = reserved[index];
      const { total } = totals[index] ?? {};
      if (given && total !== undefined) this.#heard(allowance, total, given, dayEnds);
    });
  }

  #heard(allowance: Allowance, told: number, { held, used, isSpent }: Reserved, dayEnds: number): void {
    if (dayEnds !== allowance.dayEnds) {
      allowance.dayEnds = dayEnds;
      allowance.warned = false;
      allowance.spent = false;
    }
    allowance.told = told;
    allowance.held = held;
    allowance.used = used;
    this.#look(allowance);
    if (allowance.isExact || this.#closed) return;
    if (held > 0) allowance.inDebtSince = null;
    if (isSpent) this.#spent(allowance);
    // More was used meanwhile than the next part has.
    if (held > 0 && allowance.total - told >= held) this.#isDue = true;
  }

  #look(allowance: Allowance): void {
    const used = allowance.used + allowance.total - allowance.told;
    // What it knows of a day that is over says nothing of the new one.
    if (
      allowance.warned ||
      this.#events === null ||
      this.#now() >= allowance.dayEnds ||
      used < allowance.limit * warnAt
    )
      return;
    allowance.warned = true;
    // What an issuer has used is nothing for its users to see.
    if (allowance.scope === 'issuer') return;
    this.#events.nearlySpent({
      budget: allowance.name,
      scope: allowance.scope,
      used: inUnits(allowance, used),
      limit: inUnits(allowance, allowance.limit),
      resets_at: allowance.dayEnds / 1000,
    });
  }

  #spent(allowance: Allowance): void {
    if (allowance.spent || this.#stopped) return;
    allowance.spent = true;
    this.#events?.spent(spentError(allowance, allowance.dayEnds - this.#now()));
  }
}

/** A store out of reach must not end a session, and is reported where it is called; the next use asks again. */
function unsettled(_error: unknown): void {}

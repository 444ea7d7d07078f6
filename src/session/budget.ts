/**
 * Budgets of a UTC day, for a user and for a tenant: sessions, minutes and tokens. A session holds a small part of each
 * budget in advance and gives back what it did not use, so that many sessions at once cannot spend the rest many times.
 */

import { tenantKey, type User, userKey } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { Store } from '../store/store.js';

/** The budgets of one scope; one that is not set has no limit. */
interface DailyLimits {
  readonly sessions_per_day?: number | undefined;
  readonly minutes_per_day?: number | undefined;
  readonly tokens_per_day?: number | undefined;
}

/** The budgets of a profile. */
export interface BudgetLimits extends DailyLimits {
  readonly tenant?: DailyLimits | undefined;
}

const budgetNames = ['sessions_per_day', 'minutes_per_day', 'tokens_per_day'] as const;
type BudgetName = (typeof budgetNames)[number];
type Scope = 'user' | 'tenant';

/** A budget of which most is used, in the units of its name. */
export interface QuotaWarning {
  readonly budget: BudgetName;
  readonly scope: Scope;
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

/** The budgets one session draws from. */
export interface Budget {
  /** The session is open: its time counts from now (`performance.now()`, as in every call). */
  start(events: BudgetEvents, now: number): void;
  /** Counts the time since the last call; to be called about once a second. */
  tick(now: number): void;
  /** Counts tokens that upstream reported. */
  tokens(count: number): void;
  /** The session has ended: its time counts no longer, its tokens still may. */
  stop(now: number): void;
  /** Gives back what was drawn and not used. */
  close(): void;
  /** Gives everything back, unless it was started. */
  abandon(): void;
}

interface Pot {
  readonly name: BudgetName;
  readonly scope: Scope;
  readonly owner: string;
  /** In sessions, seconds or tokens. */
  readonly limit: number;
  readonly chunk: number;
  /** Start of the UTC day the held part is of. */
  day: number;
  /** The counter when it was last seen. */
  counter: number;
  /** Drawn and not yet used; below 0 what was used beyond. */
  held: number;
  drawing: boolean;
  warned: boolean;
  spent: boolean;
}

const dayMs = 86_400_000;
/** Sessions of the evening settle into the morning. */
const graceMs = 3_600_000;
const warnAt = 0.8;
/** How much is held in advance: small, because what others hold looks used. */
const share = 0.01;
const longestHoldSeconds = 60;

/** The start of the UTC day of a time, both in milliseconds since 1970. */
function dayOf(now: number): number {
  return Math.floor(now / dayMs) * dayMs;
}

function potsOf(limits: BudgetLimits, user: User, now: number): Pot[] {
  const of = (scope: Scope, owner: string, daily: DailyLimits): Pot[] =>
    budgetNames.flatMap((name) => {
      const given = daily[name];
      if (given === undefined) return [];
      const limit = name === 'minutes_per_day' ? Math.ceil(given * 60) : given;
      const part = Math.max(1, Math.ceil(limit * share));
      const chunk =
        name === 'tokens_per_day' ? part : name === 'minutes_per_day' ? Math.min(part, longestHoldSeconds) : 1;
      const start = { day: dayOf(now), counter: 0, held: 0, drawing: false, warned: false, spent: false };
      return [{ name, scope, owner, limit, chunk, ...start }];
    });
  const tenant = tenantKey(user);
  return [...of('user', userKey(user), limits), ...(tenant === null ? [] : of('tenant', tenant, limits.tenant ?? {}))];
}

function keyOf({ name, scope, owner, day }: Pot): string {
  return `${name}:${scope}:${new Date(day).toISOString().slice(0, 10)}:${owner}`;
}

function untilOf({ day }: Pot): number {
  return day + dayMs + graceMs;
}

function inUnits({ name }: Pot, amount: number): number {
  return name === 'minutes_per_day' ? Math.round((amount / 60) * 100) / 100 : amount;
}

function spentError({ name, scope, day }: Pot, now: number): RelayError {
  const what = name.replace('_per_day', '');
  const whose = scope === 'tenant' ? "the tenant's" : "the user's";
  return new RelayError('quota_exceeded', `No ${what} are left of ${whose} budget for today (UTC).`, {
    retryAfterMs: Math.max(0, day + dayMs - now),
  });
}

/**
 * Draws the first part of every budget that the limits name, or of none.
 * @throws RelayError `quota_exceeded` when one is used up; it says how long it is until the day ends
 */
export async function openBudget(
  store: Pick<Store, 'draw' | 'charge'>,
  limits: BudgetLimits,
  spender: User,
  now: () => number = Date.now,
): Promise<Budget> {
  const pots = potsOf(limits, spender, now());
  const [first] = pots;
  if (first) {
    const draws = pots.map((pot) => ({ key: keyOf(pot), limit: pot.limit, amount: pot.chunk }));
    const drawn = await store.draw(draws, untilOf(first));
    const empty = pots.find((pot, index) => drawn[index]?.taken === 0 && (drawn[index]?.used ?? 0) >= pot.limit);
    if (empty) throw spentError(empty, now());
    pots.forEach((pot, index) => {
      pot.held = drawn[index]?.taken ?? 0;
      pot.counter = drawn[index]?.used ?? 0;
    });
  }
  return new Purse(store, pots, now);
}

class Purse implements Budget {
  readonly #store: Pick<Store, 'draw' | 'charge'>;
  readonly #pots: readonly Pot[];
  readonly #now: () => number;
  #events: BudgetEvents | null = null;
  #countedAt = 0;
  #stopped = false;
  #closed = false;

  constructor(store: Pick<Store, 'draw' | 'charge'>, pots: readonly Pot[], now: () => number) {
    this.#store = store;
    this.#pots = pots;
    this.#now = now;
  }

  start(events: BudgetEvents, now: number): void {
    this.#events = events;
    this.#countedAt = now;
    for (const pot of this.#pots) {
      if (pot.name === 'sessions_per_day') pot.held = 0;
      this.#look(pot);
    }
  }

  tick(now: number): void {
    if (this.#events === null || this.#stopped) return;
    const seconds = Math.floor((now - this.#countedAt) / 1000);
    if (seconds <= 0) return;
    this.#countedAt += seconds * 1000;
    this.#use('minutes_per_day', seconds);
  }

  tokens(count: number): void {
    if (count > 0) this.#use('tokens_per_day', count);
  }

  stop(now: number): void {
    if (this.#events === null || this.#stopped) return;
    this.#stopped = true;
    this.#use('minutes_per_day', Math.max(0, Math.ceil((now - this.#countedAt) / 1000)));
  }

  abandon(): void {
    if (this.#events === null) this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // One that is drawing settles its own when it is done.
    for (const pot of this.#pots) if (!pot.drawing) void this.#giveBack(pot).catch(ignored);
  }

  #use(name: BudgetName, amount: number): void {
    for (const pot of this.#pots) {
      if (pot.name !== name) continue;
      pot.held -= amount;
      this.#look(pot);
      if (pot.held <= 0 || pot.day !== dayOf(this.#now())) void this.#refill(pot);
    }
  }

  /** Charges what was used beyond the held part, and draws the next one. */
  async #refill(pot: Pot): Promise<void> {
    if (pot.drawing || this.#closed) return;
    pot.drawing = true;
    try {
      do {
        const today = dayOf(this.#now());
        if (pot.day !== today) {
          // What was used beyond what was held counts for the new day.
          if (pot.held > 0) await this.#giveBack(pot);
          pot.day = today;
          pot.counter = 0;
          pot.spent = false;
        }
        const beyond = -pot.held;
        if (beyond > 0) {
          pot.counter = await this.#store.charge(keyOf(pot), beyond, untilOf(pot));
          pot.held += beyond;
        }
        const draw = { key: keyOf(pot), limit: pot.limit, amount: pot.chunk };
        const [drawn] = await this.#store.draw([draw], untilOf(pot));
        if (!drawn) break;
        pot.held += drawn.taken;
        pot.counter = drawn.used;
        this.#look(pot);
        if (drawn.taken === 0) this.#spent(pot);
      } while (pot.held <= 0 && !pot.spent && !this.#closed);
    } catch (error) {
      ignored(error);
    } finally {
      pot.drawing = false;
      if (this.#closed) await this.#giveBack(pot).catch(ignored);
    }
  }

  #look(pot: Pot): void {
    const used = pot.counter - pot.held;
    if (pot.warned || used < pot.limit * warnAt || this.#events === null) return;
    pot.warned = true;
    this.#events.nearlySpent({
      budget: pot.name,
      scope: pot.scope,
      used: inUnits(pot, used),
      limit: inUnits(pot, pot.limit),
      resets_at: (pot.day + dayMs) / 1000,
    });
  }

  #spent(pot: Pot): void {
    if (pot.spent || this.#stopped) return;
    pot.spent = true;
    this.#events?.spent(spentError(pot, this.#now()));
  }

  /** Brings the counter to what was used: in a session's last moments that may be more than was held. */
  async #giveBack(pot: Pot): Promise<void> {
    const { held } = pot;
    pot.held = 0;
    if (held !== 0) pot.counter = await this.#store.charge(keyOf(pot), -held, untilOf(pot));
  }
}

/** A store out of reach must not end a session; the next use asks again. */
function ignored(_error: unknown): void {}

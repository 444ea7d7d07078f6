/** What a session reserves of which budgets: those of its user, of its tenant, and of the issuer of its token. */

import { groupOf, tenantKey, type User, userKey } from '../auth/principal.js';
import type { Reservation } from '../store/store.js';

/** The budgets of one scope; one that is not set has no limit. */
interface DailyLimits {
  readonly sessions_per_day?: number | undefined;
  readonly minutes_per_day?: number | undefined;
  readonly tokens_per_day?: number | undefined;
}

/** The budgets of a profile. */
export interface BudgetLimits extends DailyLimits {
  readonly tenant?: DailyLimits | undefined;
  /** Of all users of an issuer, whose name in keys it is. */
  readonly issuer?: (DailyLimits & { readonly key: string }) | undefined;
}

const budgetNames = ['sessions_per_day', 'minutes_per_day', 'tokens_per_day'] as const;
export type BudgetName = (typeof budgetNames)[number];
export type Scope = 'user' | 'tenant' | 'issuer';

/** What is reserved of one of them. */
export interface BudgetReservation extends Reservation {
  readonly name: BudgetName;
  readonly scope: Scope;
}

/** How much is held in advance: small, because what others hold cannot be had. */
const share = 0.01;
const longestHoldSeconds = 60;
/** Less would have to be asked for each second. */
const shortestHoldSeconds = 5;

/** All that a session of this user reserves under these limits. */
export function reservationsOf(limits: BudgetLimits, user: User): BudgetReservation[] {
  const shared = groupOf(user);
  const of = (scope: Scope, owner: string, daily: DailyLimits) =>
    budgetNames.flatMap((name) => {
      const given = daily[name];
      if (given === undefined) return [];
      const isTime = name === 'minutes_per_day';
      const isExact = name === 'sessions_per_day';
      const limit = isTime ? Math.ceil(given * 60) : given;
      const part = Math.max(1, Math.floor(limit * share));
      const least = isTime ? shortestHoldSeconds : 1;
      const most = isExact ? 1 : isTime ? Math.max(least, Math.min(part, longestHoldSeconds)) : part;
      const counter = `${name}:${scope}:${owner}`;
      // Those of an issuer are in no one's group, and counted by each replica.
      const group = scope === 'issuer' ? null : shared;
      return [{ counter, group, limit, most, least, isExact, name, scope }];
    });
  const tenant = tenantKey(user);
  const { issuer } = limits;
  return [
    ...of('user', userKey(user), limits),
    ...(tenant === null ? [] : of('tenant', tenant, limits.tenant ?? {})),
    ...(issuer ? of('issuer', issuer.key, issuer) : []),
  ];
}

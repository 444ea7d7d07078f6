/** The places of an instance for something optional, of which no tenant may take them all. */

import { type Principal, tenantKey, userKey } from '../auth/principal.js';

/** Places for one kind of thing. */
export interface Shares {
  /**
   * A place, as what gives it back; null when there is none, or this tenant has its share: a quarter, and at least what
   * one session may have.
   */
  take(user: Pick<Principal, 'issuer' | 'tenant' | 'subject'>, perSession: number): (() => void) | null;
  /** How many are taken. */
  readonly taken: number;
}

const share = 1 / 4;

/** @param most of all together; asked each time, since it may be set anew */
export function createShares(most: () => number): Shares {
  const byTenant = new Map<string, number>();
  let taken = 0;

  function add(tenant: string, change: 1 | -1): void {
    taken += change;
    const left = (byTenant.get(tenant) ?? 0) + change;
    if (left > 0) byTenant.set(tenant, left);
    else byTenant.delete(tenant);
  }

  return {
    get taken() {
      return taken;
    },
    take(user, perSession) {
      // Who has no tenant stands for one.
      const tenant = tenantKey(user) ?? userKey(user);
      const own = Math.max(perSession, Math.floor(most() * share));
      if (taken >= most() || (byTenant.get(tenant) ?? 0) >= own) return null;
      add(tenant, 1);
      let isTaken = true;
      return () => {
        if (isTaken) add(tenant, -1);
        isTaken = false;
      };
    },
  };
}

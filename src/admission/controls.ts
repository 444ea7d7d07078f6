/** How often somebody may ask about live sessions, or have something done with them. */

import { type Principal, tenantKey, userKey } from '../auth/principal.js';
import { Buckets, type Rate } from './buckets.js';
import { limitedError } from './connects.js';

/** The rates of the doors for backends. */
export interface Controls {
  /** Somebody asks; throws `rate_limited` over the rate of who it is, or of all of the tenant. */
  ask(principal: Principal, isBackend: boolean): void;
  /** What somebody asks has a body of so many bytes; throws `rate_limited` over the rate of bytes. */
  carry(principal: Principal, bytes: number): void;
  /** The milliseconds until somebody may send so many bytes; 0 where they may now, and then they count. */
  carries(principal: Principal, bytes: number): number;
}

const backends: Rate = { perSecond: 100, burst: 500 };
const bodies: Rate = { perSecond: 2 * 1024 * 1024, burst: 8 * 1024 * 1024 };
/** Who has no business here, and may yet try in good faith. */
const others: Rate = { perSecond: 1, burst: 10 };

/** Starts to count. */
export function createControls(now?: () => number): Controls {
  const users = new Buckets(now);
  const strangers = new Buckets(now);
  const tenants = new Buckets(now);
  const bytes = new Buckets(now);
  const orRefuse = (waitMs: number, what: string) => {
    if (waitMs > 0) throw limitedError(`Too ${what} about live sessions; wait before you send others.`, waitMs);
  };
  const carries = (principal: Principal, size: number) => bytes.add(userKey(principal), bodies, size);
  return {
    carries,
    ask(principal, isBackend) {
      const tenant = tenantKey(principal);
      const waitMs =
        (isBackend ? users.add(userKey(principal), backends) : strangers.add(userKey(principal), others)) ||
        // Whoever can have tokens for any number of users counts as one.
        (isBackend && tenant !== null ? tenants.add(tenant, backends) : 0);
      orRefuse(waitMs, 'many requests');
    },
    carry(principal, size) {
      orRefuse(carries(principal, size), 'large requests');
    },
  };
}

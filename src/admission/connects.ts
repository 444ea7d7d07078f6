/** How often somebody may knock: a user by their name, who has no valid credential by their address. */

import { type User, userKey } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { Profile } from '../policy/profile.js';
import { Buckets, type Rate } from './buckets.js';

/** The rates of doors. */
export interface Connects {
  /** A user knocks, whatever becomes of it. Throws `rate_limited` for who is refused and comes again without pause. */
  knock(user: User, profile: Profile): void;
  /** A session begins, which is dialled for. Throws `rate_limited` over the profile's rate, and over that of the user's issuer. */
  enter(user: User, profile: Profile, issuer?: IssuerRate | null): void;
  /** A user asks for a secret. Throws `rate_limited` over the profile's rate. */
  mint(user: User, profile: Profile): void;
  /** A genuine token ran out or was withdrawn: it counts for its user, who is told that. */
  late(user: User): void;
  /**
   * What to tell whoever sends no valid credential: that, or `rate_limited` at an address from which too many come. Who
   * has a valid one is never counted by address.
   */
  stranger(address: string, error: RelayError, hasCredential: boolean): RelayError;
}

/** How often the users of one issuer may begin sessions, all together. */
interface IssuerRate {
  /** The name of the issuer in keys. */
  readonly key: string;
  readonly connects_per_second?: number | undefined;
}

/** What may come at once where only a rate is given, in seconds of it. */
const burstSeconds = 10;
/** Refusals are cheap, and an honest app may need some before it gets in. */
const knocksPerConnect = 10;
/** Clients that were refused together should not come back together. */
const jitter = 0.2;

/** @param profiles whose `default` says how often strangers may come */
export function createConnects(profiles: () => ReadonlyMap<string, Profile>, now?: () => number): Connects {
  const knocks = new Buckets(now);
  const connects = new Buckets(now);
  const issuers = new Buckets(now);
  const mints = new Buckets(now);
  const anonymous = new Buckets(now);
  const invalid = new Buckets(now);

  const orRefuse = (waitMs: number, what: string) => {
    if (waitMs > 0) throw limitedError(`${what}; wait before you try again.`, waitMs);
  };
  return {
    knock(user, { limits }) {
      orRefuse(knocks.add(userKey(user), knockRate(limits)), 'This user connects too often');
    },
    enter(user, { limits }, issuer) {
      orRefuse(connects.add(userKey(user), connectRate(limits)), 'This user connects too often');
      // After that of the user: who is refused by it uses up nothing of the others'.
      const perSecond = issuer?.connects_per_second;
      if (!issuer || perSecond === undefined) return;
      const rate = { perSecond, burst: Math.max(1, burstSeconds * perSecond) };
      orRefuse(issuers.add(issuer.key, rate), "Users of this token's issuer connect too often");
    },
    mint(user, { limits }) {
      const rate = { perSecond: limits.client_secrets_per_second, burst: limits.client_secrets_burst };
      orRefuse(mints.add(userKey(user), rate), 'This user asks for client secrets too often');
    },
    late(user) {
      knocks.add(userKey(user), strangersRate(profiles()));
    },
    stranger(address, error, hasCredential) {
      const waitMs = (hasCredential ? invalid : anonymous).add(address, strangersRate(profiles()));
      if (waitMs === 0) return error;
      return limitedError(`${error.message} Too many such requests come from this address.`, waitMs, error.cause);
    },
  };
}

/** A wait that is a little different for everybody. */
export function jittered(waitMs: number): number {
  return Math.ceil(waitMs * (1 + Math.random() * jitter));
}

/** The refusal of who comes too often. */
export function limitedError(message: string, waitMs: number, cause?: unknown): RelayError {
  return new RelayError('rate_limited', message, { retryAfterMs: jittered(waitMs), cause });
}

function connectRate({ connects_per_second, connects_burst }: Profile['limits']): Rate {
  return { perSecond: connects_per_second, burst: connects_burst };
}

function knockRate(limits: Profile['limits']): Rate {
  const { perSecond, burst } = connectRate(limits);
  return { perSecond: perSecond * knocksPerConnect, burst: burst * knocksPerConnect };
}

/** Who has no profile yet is counted as one of the default's; there always is one. */
function strangersRate(profiles: ReadonlyMap<string, Profile>): Rate {
  const profile = profiles.get('default');
  if (!profile) throw new Error('there is no default profile');
  return knockRate(profile.limits);
}

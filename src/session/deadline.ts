/** When a session ends at the latest: the earliest of what the profile, upstream and the token allow. */

import type { ExitId } from '../errors.js';
import type { Profile } from '../policy/profile.js';

/** A moment by both clocks: spans are measured on the monotonic one, which nobody sets. */
export interface Moment {
  /** `performance.now()` */
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly wall: number;
}

/** The end that profile and upstream set. */
export interface Deadline {
  /** In `performance.now()`. */
  readonly at: number;
  /** The same in milliseconds since 1970, as it was when it was learned. */
  readonly wallAt: number;
}

/** Upstream cuts a session at its announced end without a word to our client; we end it a little earlier. */
const upstreamMarginMs = 30_000;
/** Sessions are looked at once a second, and the last half second is upstream's. */
const leastMarginMs = 2000;

/** This moment. */
export function moment(): Moment {
  return { now: performance.now(), wall: Date.now() };
}

/** The time of day, in milliseconds since 1970, at `at` (in `performance.now()`), counted from a moment it is known of. */
export function wallOf({ now, wall }: Moment, at: number): number {
  return Math.round(wall + at - now);
}

/**
 * The deadline of a session that started at `startedAt` (in `performance.now()`) and is being opened.
 * @param upstreamExpiresAt upstream's own `expires_at`, in seconds since 1970; anything else counts as no limit
 */
export function deadlineOf(
  { limits }: Pick<Profile, 'limits'>,
  startedAt: number,
  { now, wall }: Moment,
  upstreamExpiresAt: unknown,
): Deadline {
  const own = startedAt + (limits.session_seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const at = Math.min(own, now + usableMs(upstreamExpiresAt, wall));
  return { at, wallAt: wall + (at - now) };
}

/** Where upstream gives little time, the margin is a tenth of it, but not so little that the end would be missed. */
function usableMs(expiresAt: unknown, wall: number): number {
  if (typeof expiresAt !== 'number' || expiresAt * 1000 <= wall) return Number.POSITIVE_INFINITY;
  const left = expiresAt * 1000 - wall;
  return left - Math.min(upstreamMarginMs, Math.max(left / 10, leastMarginMs), left / 2);
}

/** What the client is told of the end: its time in seconds since 1970, and the exit it will be. */
export function announced({ wallAt }: Deadline, tokenEndsAt: number): { expiresAt: number; id: ExitId } {
  const byToken = tokenEndsAt < wallAt;
  return {
    expiresAt: Math.floor(Math.min(tokenEndsAt, wallAt) / 1000),
    id: byToken ? 'token_expired' : 'session_expired',
  };
}

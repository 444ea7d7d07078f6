/** When a session ends at the latest: the earliest of what the token, the profile and upstream allow. */

import type { ExitId } from '../errors.js';
import type { Admission } from './admission.js';

/** The end of a session, in milliseconds since 1970, and the exit it will be. */
export interface Deadline {
  readonly at: number;
  readonly id: ExitId;
}

/** Upstream cuts a session at its announced end without a word to our client; we end it a little earlier. */
const upstreamMarginMs = 30_000;

/**
 * The deadline of a session that started at `startedAt` and is being opened `now`, both in milliseconds.
 * @param upstreamExpiresAt upstream's own `expires_at`, in seconds since 1970; anything else counts as no limit
 */
export function deadlineOf(
  { principal, profile }: Admission,
  startedAt: number,
  now: number,
  upstreamExpiresAt: unknown,
): Deadline {
  const own = startedAt + (profile.limits.session_seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const session = Math.min(own, usable(upstreamExpiresAt, now));
  const token = principal.expiresAt * 1000;
  return token < session ? { at: token, id: 'token_expired' } : { at: session, id: 'session_expired' };
}

/** Where upstream gives little time, the margin is a tenth of it. */
function usable(expiresAt: unknown, now: number): number {
  if (typeof expiresAt !== 'number' || expiresAt * 1000 <= now) return Number.POSITIVE_INFINITY;
  const left = expiresAt * 1000 - now;
  return now + left - Math.min(upstreamMarginMs, left / 10);
}

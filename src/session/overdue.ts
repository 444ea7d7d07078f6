/** Everything that ends a session because time has passed, in the order in which it is looked at. */

import type { Moment } from '../clock.js';
import type { ExitId } from '../errors.js';
import type { Profile } from '../policy/profile.js';
import type { Initiator } from '../telemetry/labels.js';

/** What is known of a session once a second; times are in `performance.now()`, spans in seconds. */
export interface Facts {
  readonly state: 'dialing' | 'configuring' | 'open' | 'draining';
  readonly clientIsAlive: boolean;
  readonly upstreamIsAlive: boolean;
  /** By the wall clock, which is what the token means. */
  readonly tokenHasRunOut: boolean;
  /** When upstream must have accepted the configuration, and what it has not done yet. */
  readonly configureBy: number;
  readonly configureSent: boolean;
  /** How long each side has taken nothing of what waits for it, and how long it may. */
  readonly clientStalled: number;
  readonly upstreamStalled: number;
  readonly mostStalled: number;
  /** For how long upstream has said nothing though it owes an answer, and how long it may. */
  readonly upstreamSilent: number;
  readonly mostSilent: number;
  readonly endsAt: number;
  readonly idleFor: number;
  readonly mostIdle: number;
}

/** An end that is due. */
export interface Due {
  readonly id: ExitId;
  readonly initiator: Initiator;
  readonly message?: string;
  /** What upstream should have done. */
  readonly phase?: 'greeting' | 'configuration';
}

/** No tunnel keeps an upstream from reading. */
const mostUpstreamStalls = 10;

/** The end that is due now, or null. */
export function overdue(now: number, facts: Facts): Due | null {
  if (!facts.clientIsAlive) {
    return { id: 'client_lost', initiator: 'client', message: 'The client was not heard, and does not answer pings.' };
  }
  if (!facts.upstreamIsAlive) {
    return { id: 'upstream_lost', initiator: 'upstream', message: 'The upstream does not answer pings.' };
  }
  // In every state: a slow dial and a slow configuration together could outlast the token by far.
  if (facts.tokenHasRunOut) return { id: 'token_expired', initiator: 'relay' };
  if (facts.state === 'configuring') return now > facts.configureBy ? notConfigured(facts) : null;
  return facts.state === 'dialing' ? null : overdueOpen(now, facts);
}

function notConfigured({ configureSent }: Facts): Due {
  const missing = configureSent ? 'accept the configuration' : 'start the session';
  const message = `The upstream did not ${missing} in time.`;
  const phase = configureSent ? 'configuration' : 'greeting';
  return { id: 'upstream_configuration_failed', initiator: 'upstream', message, phase };
}

function overdueOpen(now: number, facts: Facts): Due | null {
  if (facts.clientStalled > facts.mostStalled) return { id: 'slow_consumer', initiator: 'client' };
  if (facts.upstreamStalled > Math.min(facts.mostStalled, mostUpstreamStalls)) {
    return { id: 'slow_consumer', initiator: 'upstream', message: 'The upstream stopped reading.' };
  }
  if (facts.upstreamSilent > facts.mostSilent) {
    const message = 'The upstream went silent when an answer was due.';
    return { id: 'upstream_timeout', initiator: 'upstream', message };
  }
  if (now >= facts.endsAt) return { id: 'session_expired', initiator: 'relay' };
  return facts.idleFor > facts.mostIdle ? { id: 'idle_timeout', initiator: 'relay' } : null;
}

/** The end that profile and upstream set. */
export interface Deadline {
  /** In `performance.now()`. */
  readonly at: number;
  /** The same in milliseconds since 1970, as it was when it was learned. */
  readonly wallAt: number;
}

/** While nobody has set one. */
export const noDeadline: Deadline = { at: Number.POSITIVE_INFINITY, wallAt: Number.POSITIVE_INFINITY };

/** For a session that no upstream ends: a page that was left open must not go on for ever. */
const ownSeconds = 7200;
/** Upstream cuts a session at its announced end without a word to our client; we end it a little earlier. */
const upstreamMarginMs = 30_000;
/** Sessions are looked at once a second, and the last half second is upstream's. */
const leastMarginMs = 2000;

/**
 * The deadline of a session that started at `startedAt` (in `performance.now()`) and is being opened.
 * @param upstreamExpiresAt upstream's own `expires_at`, in seconds since 1970; `own` where the session outlives that; anything
 * else counts as no limit
 */
export function deadlineOf(
  { limits }: Pick<Profile, 'limits'>,
  startedAt: number,
  { now, wall }: Moment,
  upstreamExpiresAt: unknown,
): Deadline {
  const most = upstreamExpiresAt === 'own' ? ownSeconds : Number.POSITIVE_INFINITY;
  const own = startedAt + (limits.session_seconds ?? most) * 1000;
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

/** The steps of admission that take something, which the stay gives back when a later one refuses. */

import { groupOf, userKey } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import { anonymous, callerOf } from './anonymous.js';
import { dailyBudget } from './budget.js';
import type { Candidate } from './candidate.js';
import { fullError } from './judging.js';
import { secretError } from './recognise.js';
import { type IssuerLimits, issuerLimitsOf } from './verifier.js';

const placeSeconds = 60;

/** One of the instance's places. */
export function seat({ stay }: Candidate): void {
  if (!stay.reserve()) throw fullError();
}

/** The client secret, which is good for one session. */
export async function secret(candidate: Candidate): Promise<void> {
  const { guest, services } = candidate;
  if (!guest.secret) return;
  if ((await services.secrets.redeem(guest.secret.credential)) === null) throw secretError();
  candidate.redeemed = guest.secret;
}

/** One of the places that all users of the token's issuer have together. */
export async function issuer(candidate: Candidate): Promise<void> {
  const limits = limitsOfIssuer(candidate);
  if (!limits) return;
  const { id, stay, services } = candidate;
  const key = `issuer:${limits.key}`;
  const place = { purpose: 'issuers' as const, group: null, key, limit: limits.sessions, ttlSeconds: placeSeconds };
  const entry = { place, holds: [], holder: `${id}:issuer`, owner: services.owner };
  if ((await stay.enter(entry)).outcome !== 'in') {
    throw tooManySessions("No more sessions of this token's issuer at the same time.");
  }
}

/** Of anonymous callers one of the places that their address has, so that one of them does not shut out all others. */
export async function address({ id, stay, services, guest, profile, request }: Candidate): Promise<void> {
  if (!guest.isAnonymous || !profile.anonymous) return;
  const key = `address:${userKey(callerOf(guest, services.addressOf(request.message)))}`;
  const { per_address: limit } = profile.anonymous;
  const place = { purpose: 'addresses' as const, group: null, key, limit, ttlSeconds: placeSeconds };
  const entry = { place, holds: [], holder: `${id}:address`, owner: services.owner };
  if ((await stay.enter(entry)).outcome !== 'in') {
    throw tooManySessions('No more sessions from this address at the same time.');
  }
}

/** One of the user's places, and a part of each budget. */
export async function user(candidate: Candidate): Promise<void> {
  const { id, stay, services, profile, guest } = candidate;
  const { principal } = guest;
  const { sessions_per_user: limit } = profile.limits;
  const together = limitsOfIssuer(candidate);
  const daily = dailyBudget({ ...profile.limits, ...(together && { issuer: together }) }, principal);
  const place = {
    purpose: 'sessions' as const,
    group: groupOf(principal),
    key: userKey(principal),
    limit,
    ttlSeconds: placeSeconds,
  };
  const enter = () => stay.enter({ place, holds: daily.holds, holder: id, owner: services.owner });
  let entered = await enter();
  // Who comes back from a tunnel must not be shut out by what is left of the connection before.
  if (entered.outcome === 'taken' && principal.subject !== anonymous && (await services.endGhost(principal))) {
    entered = await enter();
  }
  if (entered.outcome === 'spent') throw daily.refusal(entered);
  if (entered.outcome === 'full') throw fullError();
  if (entered.outcome === 'taken') throw tooManySessions(`At most ${limit} sessions of one user at the same time.`);
  candidate.budget = daily.open(services.store, id, entered);
}

/** A session that begins and is dialled for. */
export function connect(candidate: Candidate): void {
  const { guest, profile, services } = candidate;
  const caller = callerOf(guest, services.addressOf(candidate.request.message));
  services.connects.enter(caller, profile, limitsOfIssuer(candidate));
}

function limitsOfIssuer({ guest, services, settings }: Candidate): IssuerLimits | null {
  return issuerLimitsOf(services.issuers, guest.principal.issuer, settings.limits.sessions);
}

function tooManySessions(message: string): RelayError {
  return new RelayError('rate_limited', message, { retryAfterMs: 5000 });
}

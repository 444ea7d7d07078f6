/** Callers without any credential: which page may bring them, what they get, and as whom. */

import type { IncomingMessage } from 'node:http';
import type { User } from '../auth/principal.js';
import type { Profile } from '../policy/profile.js';
import { type Origins, originOf } from './origin.js';
import type { Guest } from './recognise.js';

type Profiles = ReadonlyMap<string, Profile>;

/** A name that many share: one of them is no reason to end the session of another. */
export const anonymous = 'anonymous';
/** Their right to a session ends with the session, whose own limit comes first. */
const graceSeconds = 3600;

const limited = new WeakMap<Profile, Profile>();

/** The origins of pages that may connect at all, those of anonymous profiles among them. */
export function originsOfAll(origins: Origins, profiles: Profiles): Origins {
  if (origins === '*') return origins;
  const theirs = [...profiles.values()].flatMap(({ anonymous: terms }) => terms?.origins ?? []);
  return theirs.length === 0 ? origins : [...origins, ...theirs];
}

/** Whether the page that sent a request is one of an anonymous profile's. */
export function isPageOf({ anonymous: terms }: Profile, message: IncomingMessage): boolean {
  const origin = originOf(message);
  return origin !== null && terms?.origins.includes(origin) === true;
}

/** Whoever comes from this page without a credential; null where it may bring nobody. */
export function anonymousGuest(message: IncomingMessage, profiles: Profiles): Guest | null {
  const profile = [...profiles.values()].find((one) => isPageOf(one, message));
  if (!profile?.anonymous) return null;
  const expiresAt = Math.ceil(Date.now() / 1000) + profile.anonymous.session_seconds + graceSeconds;
  // All of a profile are one user, and those of another one are another.
  const issuer = `${anonymous}:${profile.name}`;
  const who = { issuer, subject: anonymous, tenant: null, profile: profile.name, scopes: Object.freeze([]) };
  const claims = Object.freeze(Object.create(null) as Record<string, unknown>);
  return { principal: Object.freeze({ ...who, expiresAt, claims }), secret: null, isAnonymous: true };
}

/** A profile as anonymous callers have it. */
export function limitedFor(profile: Profile): Profile {
  const { anonymous: terms } = profile;
  if (!terms) return profile;
  let made = limited.get(profile);
  if (!made) {
    const { sessions: sessions_per_user, session_seconds } = terms;
    made = { ...profile, limits: { ...profile.limits, sessions_per_user, session_seconds } };
    limited.set(profile, made);
  }
  return made;
}

/** Whose rate it is: anonymous callers of one address have one together. */
export function callerOf({ principal, isAnonymous }: Guest, address: string): User {
  return isAnonymous ? { ...principal, subject: address } : principal;
}

/** Which session fields the server keeps for itself, and which a client may set. */

import type { Json, JsonObject } from '../protocol/event.js';
import { defaultMayUpdate, type Profile, type SessionField } from './profile.js';
import { fieldOf, isObject } from './shape.js';
import type { Silence } from './silence.js';

/** Who may set what in the session of one client. */
export interface Locks {
  /** What an end user may set. */
  readonly mayUpdate: readonly SessionField[];
  /** Whether the profile has the last word on a field, given as a dotted path. */
  isLocked(path: string): boolean;
}

/** What the server imposes on one session, and what its client was let set: whoever needs it reads it here, and keeps no copy. */
export interface Imposed {
  readonly profile: Profile;
  /** What the server sets: the profile's session as it was rendered for this user, with what has come to it since. */
  readonly session: JsonObject;
  readonly locks: Locks;
  /** Fields, as dotted paths, that the server has set since the session began. */
  readonly patched: ReadonlySet<string>;
  /** What the client has set and upstream has taken. */
  readonly clients: JsonObject;
  /** Names of functions that a backend has added, and answers for. */
  readonly added: ReadonlySet<string>;
  /** Whether the model is kept from answering by itself. */
  readonly silence: Silence;
  /** A backend sets these fields: no client may set them from now on, unless what is returned is told that upstream did not take them. */
  patching(fields: JsonObject): (isTaken: boolean) => void;
  /** Upstream has taken these fields from the client. */
  accepted(fields: JsonObject): void;
}

// A stored prompt brings instructions and tools of its own.
const promptReplaces = ['instructions', 'tools', 'prompt'];

const known = new WeakMap<Profile, Locks>();

/** What follows from a profile and a session that was rendered from it; every one of them sets the same fields. */
export function locksOf(profile: Profile, session: JsonObject): Locks {
  let locks = known.get(profile);
  if (locks === undefined) {
    locks = createLocks(profile, session);
    known.set(profile, locks);
  }
  return locks;
}

function createLocks(profile: Profile, session: JsonObject): Locks {
  const written = profile.client.may_update;
  const locked = new Set(setFields(session));
  if (promptReplaces.some((field) => locked.has(field))) locked.add('prompt');
  for (const field of written ?? []) locked.delete(field);
  return {
    mayUpdate: (written ?? defaultMayUpdate).filter((field) => !locked.has(field) && exists(field, profile)),
    isLocked: (path) => locked.has(path),
  };
}

/** A transcription session hears and never speaks. */
function exists(field: SessionField, { session }: Profile): boolean {
  return session.type !== 'transcription' || field.startsWith('audio.input.');
}

/** The dotted paths of what a session object sets. `audio.input` and `audio.output` are groups; all else is one field. */
export function setFields(session: JsonObject): string[] {
  return Object.entries(session).flatMap(([key, value]) => {
    if (key === 'type' || value === undefined) return [];
    return key === 'audio' && isObject(value) ? audioFields(value) : [key];
  });
}

/** Copies a session or response object without the fields the profile has the last word on. */
export function withoutLocked(config: JsonObject, locks: Locks): JsonObject {
  const rest = without(config, '', locks);
  const audio = fieldOf(rest, 'audio');
  if (!isObject(audio)) return rest;
  const groups: JsonObject = {};
  for (const [name, group] of Object.entries(audio)) {
    const free = isObject(group) ? without(group, `audio.${name}.`, locks) : group;
    if (!isObject(free) || Object.keys(free).length > 0) groups[name] = free;
  }
  return { ...rest, audio: groups };
}

function audioFields(audio: JsonObject): string[] {
  return Object.entries(audio).flatMap(([group, fields]) =>
    isObject(fields)
      ? Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [`audio.${group}.${name}`]))
      : [],
  );
}

function without(fields: JsonObject, prefix: string, locks: Locks): JsonObject {
  const free: [string, Json | undefined][] = Object.entries(fields).filter(([key]) => !locks.isLocked(prefix + key));
  return Object.fromEntries(free);
}

/** The same where more fields are the server's by now, given as dotted paths. */
export function lockedToo(locks: Locks, paths: ReadonlySet<string>): Locks {
  const isLocked = (path: string) => paths.has(path) || locks.isLocked(path);
  return { mayUpdate: locks.mayUpdate.filter((field) => !isLocked(field)), isLocked };
}

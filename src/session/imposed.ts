/** What the server imposes on a session, from beginning to end: configuration, guard, locks and redaction read it here. */

import { type Imposed, type Locks, lockedToo, locksOf, setFields } from '../policy/locks.js';
import type { Profile } from '../policy/profile.js';
import { renderSession } from '../policy/render.js';
import { setAt, valueAt } from '../policy/shape.js';
import { Silence } from '../policy/silence.js';
import { type JsonObject, objectOf } from '../protocol/event.js';

/** What can be done about it. */
export interface Impositions extends Imposed {
  /** The session object that a fresh leg goes on with: what the server sets, and what its client has set beside. */
  whole(): JsonObject;
  /** Another one whenever that is another. */
  readonly version: number;
  /** A backend sets these fields: they are the server's from now on, also where the profile leaves them to the client. */
  patch(fields: JsonObject): void;
}

/** Begins with what a profile imposes on this user. */
export function createImposed(profile: Profile, claims: Readonly<Record<string, unknown>>): Impositions {
  return new SessionImpositions(profile, renderSession(profile, claims));
}

class SessionImpositions implements Impositions {
  readonly profile: Profile;
  session: JsonObject;
  locks: Locks;
  patched: ReadonlySet<string> = none;
  added: ReadonlySet<string> = none;
  clients: JsonObject = nothing;
  readonly silence: Silence;

  version = 0;

  readonly #own: Locks;
  /** Fields that upstream was told and has not answered for. */
  #underway: readonly (readonly string[])[] = [];

  constructor(profile: Profile, session: JsonObject) {
    this.profile = profile;
    this.session = session;
    this.#own = locksOf(profile, session);
    this.locks = this.#own;
    this.silence = new Silence(profile.session.type !== 'transcription');
  }

  accepted(fields: JsonObject): void {
    this.version++;
    this.clients = over(this.clients, fields, () => true);
  }

  whole(): JsonObject {
    return this.silence.whole(over(this.session, this.clients, (path) => !this.patched.has(path)));
  }

  patch(fields: JsonObject): void {
    this.version++;
    this.session = over(this.session, fields, () => true);
    this.patched = new Set([...this.patched, ...setFields(fields)]);
    if (Array.isArray(fields.tools)) this.added = addedTo(this.profile, fields.tools.map(objectOf));
    this.#lock();
  }

  patching(fields: JsonObject): (isTaken: boolean) => void {
    const paths = setFields(fields);
    this.#underway = [...this.#underway, paths];
    this.#lock();
    return (isTaken) => {
      this.#underway = this.#underway.filter((one) => one !== paths);
      if (isTaken) this.patch(fields);
      else this.#lock();
    };
  }

  #lock(): void {
    this.locks = lockedToo(this.#own, new Set([...this.patched, ...this.#underway.flat()]));
  }
}

const none: ReadonlySet<string> = new Set();
const nothing: JsonObject = Object.freeze({});

/** Functions that are nobody else's: neither of the profile nor, where it trusts its client, of that. */
function addedTo({ tools, session, client }: Profile, given: readonly JsonObject[]): ReadonlySet<string> {
  const others = client.trust === 'trusted' ? (session.tools ?? []) : [];
  const known = new Set<unknown>([...tools.map(({ name }) => name), ...others.map(({ name }) => name)]);
  const functions = given.filter(({ type, name }) => type === 'function' && !known.has(name));
  return new Set(functions.map(({ name }) => name).filter((name) => typeof name === 'string'));
}

/** A copy of a session object with those of these fields that are meant. */
function over(session: JsonObject, fields: JsonObject, isMeant: (path: string) => boolean): JsonObject {
  const paths = setFields(fields).filter(isMeant);
  // Most sessions of a profile share one object.
  if (paths.length === 0) return session;
  const copy = structuredClone(session);
  for (const path of paths) {
    const steps = path.split('.');
    setAt(copy, steps, structuredClone(valueAt(fields, steps) ?? null));
  }
  return copy;
}

/** When a field of a session can be set, after it has begun: whenever, until the model has spoken, once, or not any more. */
export function settable(path: string): 'always' | 'before speech' | 'once' | 'never' {
  return unlike[path] ?? 'always';
}

/** Source: the Realtime API's reference of `session.update`. */
const unlike: Readonly<Record<string, 'before speech' | 'once' | 'never'>> = {
  model: 'never',
  'audio.output.voice': 'before speech',
  tracing: 'once',
};

/** What upstream answers to a client's own events: acks of session updates, and errors, in words fit for a client. */

import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { clientEventId } from './client.js';
import { type PublicSession, publicSession } from './configuration.js';
import { publicError, publicParam } from './faults.js';
import type { Memory, Sent } from './memory.js';
import { sessionFields } from './profile.js';
import { isObject, own, setAt, valueAt } from './shape.js';
import type { Settled } from './updates.js';

/** The answers of one session. */
export interface Answers {
  /** The session object for the client's `session.created`. */
  created(upstreamSession: JsonObject, sessionId: string, expiresAt: number): JsonObject;
  /** A `session.updated` for an update of which nothing goes upstream; null when it has to wait for others before it. */
  local(): JsonObject | null;
  /** What the client sees of a `session.updated`. */
  updated(body: JsonObject): readonly JsonObject[];
  /** What the client sees of an `error`. */
  error(body: JsonObject): readonly JsonObject[];
}

// Public views leave these out; a client that may set them sees what it has set.
const onlyOwn = ['audio.input.transcription', 'max_output_tokens'] as const satisfies (keyof typeof sessionFields)[];

const allFields = Object.keys(sessionFields);

/** What upstream complains of when it refuses fields. All events but updates are rebuilt and so give it no cause to. */
const updateCodes: ReadonlySet<Json | undefined> = new Set([
  'cannot_update_voice',
  'unknown_parameter',
  'missing_required_parameter',
  'invalid_value',
  'invalid_type',
  'invalid_parameter',
]);

/** The id of an upstream event, or a new one when it has none that is fit to be passed on. */
export function serverEventId(body: JsonObject, nextEventId: () => string): string {
  const id = own(body, 'event_id');
  return typeof id === 'string' && /^[A-Za-z0-9_.:-]{1,512}$/.test(id) ? id : nextEventId();
}

/** Makes the answers of one session. */
export function createAnswers(memory: Memory, model: string, nextEventId: () => string): Answers {
  const { updates, responses, sent, locks } = memory;
  const clients: JsonObject = {};
  let effective: JsonObject = memory.session;
  let id = '';
  let expiresAt = 0;

  /** An end user's view never grows, so only it is kept: upstream echoes the whole prompt in every ack. */
  function keep(upstreamSession: JsonObject): void {
    effective = memory.trusted ? upstreamSession : publicSession(upstreamSession, { id, model, expiresAt });
  }

  function session(): JsonObject {
    const owned = memory.trusted ? memory.session : undefined;
    const options: PublicSession = { id, model, expiresAt, owned };
    const shown = publicSession(effective, options);
    for (const field of onlyOwn) {
      const path = field.split('.');
      const value = valueAt(clients, path);
      if (value !== undefined) setAt(shown, path, value);
    }
    return shown;
  }

  function ack(eventId = nextEventId()): JsonObject {
    return { type: 'session.updated', event_id: eventId, session: session() };
  }

  function locals(settled: Settled | null): JsonObject[] {
    return Array.from({ length: settled?.locals ?? 0 }, () => ack());
  }

  /** Which update an error without an id is about, if it is about one. */
  function unnamedRefusal(error: JsonObject): Settled | null {
    const param = own(error, 'param');
    const isAboutUpdate =
      typeof param === 'string' ? /^session(?:\.|$)/.test(param) : updateCodes.has(own(error, 'code'));
    return isAboutUpdate ? updates.next() : null;
  }

  function take(eventId: string): Sent | undefined {
    const cause = sent.get(eventId);
    sent.delete(eventId);
    return cause;
  }

  return {
    created(upstreamSession, sessionId, end) {
      id = sessionId;
      expiresAt = end;
      keep(upstreamSession);
      return session();
    },
    local() {
      if (updates.size === 0) return ack();
      updates.push({ by: 'local' });
      return null;
    },
    updated(body) {
      const reported = own(body, 'session');
      if (isObject(reported)) keep(reported);
      const settled = updates.next();
      if (settled?.update.by !== 'client') return locals(settled);
      for (const field of onlyOwn) {
        const path = field.split('.');
        const value = valueAt(settled.update.fields, path);
        if (value !== undefined) setAt(clients, path, value);
      }
      return [ack(serverEventId(body, nextEventId)), ...locals(settled)];
    },
    error(body) {
      const given = own(body, 'error');
      const error = isObject(given) ? given : {};
      const named = own(error, 'event_id');
      const settled = typeof named === 'string' ? updates.refused(named) : unnamedRefusal(error);
      const key = settled === null || settled.update.by === 'local' ? named : settled.update.eventId;
      const cause = typeof key === 'string' ? take(key) : undefined;
      cause?.undo();
      const byRelay = cause === undefined && typeof key === 'string' && key.startsWith(relayPrefix);
      if (byRelay || cause?.by === 'relay') return locals(settled);
      // Upstream does not always say what it refused, and a client must not wait for ever.
      if (cause === undefined) responses.release();
      const clientId = cause === undefined ? clientEventId(key) : cause.clientId;
      const isClients = cause !== undefined || clientId !== null;
      const param = isClients ? publicParam(error, memory.trusted ? allFields : locks.mayUpdate) : null;
      const shown = { ...publicError(error), param, event_id: clientId };
      return [{ type: 'error', event_id: serverEventId(body, nextEventId), error: shown }, ...locals(settled)];
    },
  };
}

/** What upstream answers to a client's own events: acks of session updates, and errors, in words fit for a client. */

import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject, Refusal } from '../protocol/event.js';
import { refusalIn } from '../protocol/refused.js';
import { type PublicSession, publicSession } from './configuration.js';
import { clientEventId } from './end-user.js';
import { busyCode, publicError, publicParam, unknownCallCode } from './faults.js';
import { sessionFields } from './profile.js';
import { fieldOf, isObject, setAt, valueAt } from './shape.js';
import type { Memory, Sent } from './state.js';
import type { SettledUpdate } from './updates.js';

/** What the answers need of their session. */
interface AnswerPorts {
  /** A new id for an event of the server. */
  eventId(): string;
  /** Tells the client that its event was not carried out. */
  refuse(refusal: Refusal, race: boolean): void;
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
  const id = fieldOf(body, 'event_id');
  return typeof id === 'string' && /^[A-Za-z0-9_.:-]{1,512}$/.test(id) ? id : nextEventId();
}

/** The answers of one session. */
export class Answers {
  readonly #memory: Memory;
  readonly #model: string;
  readonly #nextEventId: () => string;
  readonly #refuse: AnswerPorts['refuse'];
  #effective: JsonObject;
  #id = '';
  #expiresAt = 0;

  /** @param model the name the client may know */
  constructor(memory: Memory, model: string, { eventId, refuse }: AnswerPorts) {
    this.#memory = memory;
    this.#model = model;
    this.#nextEventId = eventId;
    this.#refuse = refuse;
    this.#effective = memory.imposed.session;
  }

  /** The session object for the client's `session.created`. */
  created(upstreamSession: JsonObject, sessionId: string, expiresAt: number): JsonObject {
    this.#id = sessionId;
    this.#expiresAt = expiresAt;
    this.#keep(upstreamSession);
    return this.#session();
  }

  /** The session ends at another time, in seconds since 1970, than was said when it began. */
  ends(expiresAt: number): void {
    this.#expiresAt = expiresAt;
  }

  /** A `session.updated` for an update of which nothing goes upstream; null when it has to wait for others before it. */
  local(): JsonObject | null {
    if (this.#memory.updates.size === 0) return this.#ack();
    this.#memory.updates.push({ by: 'local' });
    return null;
  }

  /** What the client sees of a `session.updated`. */
  updated(body: JsonObject): readonly JsonObject[] {
    const reported = fieldOf(body, 'session');
    if (isObject(reported)) this.#keep(reported);
    const settled = this.#memory.updates.next();
    const update = settled?.update;
    if (update && update.by !== 'local') this.#memory.imposed.silence.settled(update.eventId, true);
    if (update?.by === 'client') this.#memory.imposed.accepted(update.fields);
    else if (update?.by === 'backend') update.settled(true);
    else return this.#locals(settled);
    return [this.#ack(serverEventId(body, this.#nextEventId)), ...this.#locals(settled)];
  }

  /** What the client sees of an `error`. */
  error(body: JsonObject): readonly JsonObject[] {
    const { updates, responses, imposed, trusted } = this.#memory;
    const given = fieldOf(body, 'error');
    const error = isObject(given) ? given : {};
    const named = fieldOf(error, 'event_id');
    const settled = typeof named === 'string' ? updates.refused(named) : this.#unnamedRefusal(error);
    if (settled && settled.update.by !== 'local') imposed.silence.settled(settled.update.eventId, false);
    if (settled?.update.by === 'backend') settled.update.settled(false);
    const key = settled === null || settled.update.by === 'local' ? named : settled.update.eventId;
    const cause = typeof key === 'string' ? this.#take(key) : undefined;
    cause?.undo();
    const byRelay =
      cause === undefined && (typeof key === 'string' ? key.startsWith(relayPrefix) : this.#isOfRelay(error.code));
    if (byRelay || cause?.by === 'relay') return this.#locals(settled);
    // Upstream does not always say what it refused, and a client must not wait for ever.
    if (cause === undefined) responses.release();
    const clientId = cause === undefined ? clientEventId(key) : cause.clientId;
    const refusal = refusalIn(error);
    if (refusal !== null) {
      this.#refuse({ ...refusal, eventId: clientId }, false);
      return this.#locals(settled);
    }
    const isClients = cause !== undefined || clientId !== null;
    const param = isClients ? publicParam(error, trusted ? allFields : imposed.locks.mayUpdate) : null;
    const shown = { ...publicError(error), param, event_id: clientId };
    return [
      { type: 'error', event_id: serverEventId(body, this.#nextEventId), error: shown },
      ...this.#locals(settled),
    ];
  }

  /** Whether an error that names no event can only be about one of the relay's own. */
  #isOfRelay(code: Json | undefined): boolean {
    const { responses, trusted, clientTools } = this.#memory;
    if (code === busyCode) return responses.retract();
    return code === unknownCallCode && !trusted && clientTools.size === 0;
  }

  /** An end user's view never grows, so only it is kept: upstream echoes the whole prompt in every ack. */
  #keep(upstreamSession: JsonObject): void {
    this.#memory.imposed.silence.ran(upstreamSession);
    this.#effective = this.#memory.trusted ? upstreamSession : publicSession(upstreamSession, this.#options());
  }

  #options(owned?: JsonObject): PublicSession {
    return { id: this.#id, model: this.#model, expiresAt: this.#expiresAt, owned };
  }

  #session(): JsonObject {
    const { trusted, imposed } = this.#memory;
    const effective = imposed.silence.shown(this.#effective);
    const shown = publicSession(effective, this.#options(trusted ? imposed.session : undefined));
    for (const field of onlyOwn) {
      const path = field.split('.');
      const value = valueAt(imposed.clients, path);
      if (value !== undefined) setAt(shown, path, value);
    }
    return shown;
  }

  #ack(eventId = this.#nextEventId()): JsonObject {
    return { type: 'session.updated', event_id: eventId, session: this.#session() };
  }

  #locals(settled: SettledUpdate | null): JsonObject[] {
    return Array.from({ length: settled?.locals ?? 0 }, () => this.#ack());
  }

  /** Which update an error without an id is about, if it is about one. */
  #unnamedRefusal(error: JsonObject): SettledUpdate | null {
    const param = fieldOf(error, 'param');
    const isAboutUpdate =
      typeof param === 'string' ? /^session(?:\.|$)/.test(param) : updateCodes.has(fieldOf(error, 'code'));
    return isAboutUpdate ? this.#memory.updates.next() : null;
  }

  #take(eventId: string): Sent | undefined {
    const cause = this.#memory.sent.get(eventId);
    this.#memory.sent.delete(eventId);
    return cause;
  }
}

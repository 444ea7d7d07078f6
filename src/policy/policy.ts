/** What a client may send and see: the policy of one session. Pure: it knows no socket, clock, environment or logger. */

import { isDeepStrictEqual } from 'node:util';
import {
  audioDown,
  audioUp,
  clientEvents,
  type Direction,
  heardDown,
  serverEvents,
  textDown,
} from '../protocol/catalogue.js';
import { eventOf, type Json, type JsonObject, type RealtimeEvent, type Refusal } from '../protocol/event.js';
import { Answers, serverEventId } from './answers.js';
import { clientEventId, judgeEndUser, notWhileDraining, type Ruling } from './end-user.js';
import { takenOver } from './faults.js';
import { ignoredFields } from './ignored.js';
import type { Imposed } from './locks.js';
import { Outgoing } from './outgoing.js';
import { views } from './server.js';
import { fieldOf } from './shape.js';
import { createMemory, type Memory } from './state.js';
import { judgeTrusted } from './trusted.js';
import { isHarmless } from './unknown.js';

export { publicSession } from './configuration.js';

/** What became of an event, for the counters. `report` is what `report_only` let pass. */
export type Decision = 'forward' | 'rebuild' | 'drop' | 'refuse' | 'answer' | 'report';

/** What the policy needs of the session around it. */
export interface PolicyPorts {
  /** Sends the client an event that the policy made, through the client's own dialect. */
  answer(body: JsonObject): void;
  /**
   * Tells the client that its event was not carried out. `race` is true when a well-behaved client can cause this by
   * bad timing alone, so that it should not count towards the limit of refusals.
   */
  refuse(refusal: Refusal, race: boolean): void;
  /** Told what `report_only` let pass: a message about the event's form, never its content. */
  reported(message: string): void;
  /**
   * Told which fields of an event the profile did not let through, 20 of them at most; `type` as for `decided`. Left out:
   * nobody wants to know.
   */
  ignored?(type: string, fields: readonly string[], eventId: string | null): void;
  /** Counts a decision; `type` is a name of the protocol or `other`. */
  decided(direction: Direction, type: string, decision: Decision): void;
  /** A new id for a server event made by the relay. */
  eventId(): string;
}

/** Server events whose bytes may be forwarded once their item and response are known to be visible. */
const plainDown: ReadonlySet<string> = new Set([audioDown.ga, ...textDown.ga, heardDown]);
const protocolNames: ReadonlySet<string> = new Set([...clientEvents, ...serverEvents]);

/** The policy of one session. */
export class Policy {
  readonly #ports: PolicyPorts;
  readonly #memory: Memory;
  readonly #outgoing: Outgoing;
  readonly #answers: Answers;
  // The last pair of ids of speech that was let through.
  #speechItem: string | null = null;
  #speechResponse: string | null = null;
  #mayAsk: () => boolean = always;

  /**
   * @param imposed what upstream was told to run
   * @param publicModel the model name the client may know
   */
  constructor(imposed: Imposed, publicModel: string, ports: PolicyPorts) {
    this.#ports = ports;
    this.#memory = createMemory(imposed);
    this.#outgoing = new Outgoing(this.#memory);
    this.#answers = new Answers(this.#memory, publicModel, ports);
  }

  /** What upstream may get of a client's event in GA: the event itself if it is raw speech, else a rebuilt one, or null. */
  readonly up = (event: RealtimeEvent): RealtimeEvent | null => {
    if (event.raw !== null && event.type === audioUp) {
      this.#ports.decided('up', audioUp, 'forward');
      return event;
    }
    const body = event.body ?? { type: event.type };
    const clientId = clientEventId(fieldOf(body, 'event_id'));
    const { trusted, profile } = this.#memory;
    const type = fieldOf(body, 'type');
    const untimely = type === 'response.create' ? this.#untimely() : null;
    // What is meant for the relay may hold the user's token, and is never for upstream.
    const isEnforced =
      !profile.client.report_only || untimely !== null || (typeof type === 'string' && type.startsWith('relay.'));
    const judge = trusted ? judgeTrusted : judgeEndUser;
    const ruling = untimely ?? judge(body, this.#memory);
    if (!isEnforced && ('fault' in ruling || !isWhole(ruling.body, body))) {
      this.#decided('up', body.type, 'report');
      this.#ports.reported(
        'fault' in ruling ? ruling.fault.message : 'Fields that this profile does not let through were sent.',
      );
      return this.#send(body, clientId);
    }
    if ('fault' in ruling) {
      const { code, message, param, race } = ruling.fault;
      this.#decided('up', body.type, 'refuse');
      this.#ports.refuse({ code, message, param, eventId: clientId }, race === true);
      return null;
    }
    const sent = this.#send(ruling.body, clientId);
    this.#decided('up', body.type, sent === null ? 'answer' : 'rebuild');
    this.#tellIgnored(body, ruling.body, clientId);
    return sent;
  };

  /** What the client may see of an upstream event in GA: raw speech as it is, else rebuilt events, or null. */
  readonly down = (event: RealtimeEvent): RealtimeEvent | readonly RealtimeEvent[] | null => {
    const { body } = event;
    if (body === null) return this.#speech(event);
    // Whatever happens here may change who sees what.
    this.#speechItem = null;
    const type = fieldOf(body, 'type');
    const shown = this.#visible(type, body);
    this.#decided('down', type, shown.length === 0 ? 'drop' : 'rebuild');
    const [first] = shown;
    if (first === undefined) return null;
    return shown.length === 1 ? eventOf(first) : shown.map(eventOf);
  };

  /** From now on the client may ask for an answer only where `mayAsk`. */
  drain(mayAsk: () => boolean): void {
    this.#mayAsk = mayAsk;
  }

  /**
   * Must be given every event that the relay itself sends upstream while the policy judges what comes back; returns what
   * to send. Its items are hidden, its acks and errors never reach the client, and so is the response when it is not
   * part of the conversation (`conversation: 'none'`). `after` is the response whose turn it goes on with, whose
   * `metadata` the client gets again.
   */
  injected(body: JsonObject, after: string | null = null): JsonObject {
    this.#speechItem = null;
    return this.#outgoing.relay(body, after);
  }

  /** An item that a backend puts in, as it is to be sent upstream at once. */
  put(body: JsonObject): JsonObject {
    this.#speechItem = null;
    return this.#outgoing.put(body);
  }

  /** Whether an item of the conversation is known to have this id. */
  has(itemId: string): boolean {
    return this.#memory.items.knows(itemId);
  }

  /** What a backend sets in the session, as it is to be sent upstream at once; the client is told when upstream has taken it. */
  updated(fields: JsonObject): JsonObject {
    return this.#outgoing.backend(fields);
  }

  /** An event that the client was allowed to send, by its id upstream, will never be sent; gives the id that the client knows. */
  withdrawn(eventId: string): string | null {
    const { sent } = this.#memory;
    const withdrawn = sent.get(eventId);
    withdrawn?.undo();
    sent.delete(eventId);
    return withdrawn?.clientId ?? null;
  }

  /** A response begins that the client is not to see, whoever has asked for it; if it was the client, it is told. */
  hush(response: JsonObject): void {
    this.#speechItem = null;
    const { responses, sent } = this.#memory;
    const tag = responses.hush(String(fieldOf(response, 'id')), fieldOf(response, 'metadata'));
    if (tag === null) return;
    for (const [eventId, one] of sent.entries()) if (one.tag === tag) this.refuseAsk(eventId);
  }

  /** Refuses a `response.create` of the client's, by its id upstream, though it was let pass. */
  refuseAsk(eventId: string): void {
    const { code, message, param } = takenOver;
    this.#ports.refuse({ code, message, param, eventId: this.withdrawn(eventId) }, true);
  }

  /** Keeps an item from the client; `previous` is the id of the item before it, where that is known. */
  hide(itemId: string, previous: Json | undefined): void {
    this.#memory.items.hide(itemId, previous);
  }

  /**
   * The session object for the client's `session.created`, which is redacted and shows the effective configuration. Takes
   * the session object of upstream's ack of the configuration, the relay's own id of the session and its end in seconds
   * since 1970.
   */
  sessionCreated(upstreamSession: JsonObject, sessionId: string, expiresAt: number): JsonObject {
    return this.#answers.created(upstreamSession, sessionId, expiresAt);
  }

  /** The session's end has moved: what the client is shown from now on says so. */
  ends(expiresAt: number): void {
    this.#answers.ends(expiresAt);
  }

  /** What is wrong with any `response.create` at the moment. */
  #untimely(): Ruling | null {
    if (this.#memory.imposed.silence.isOn) return { fault: takenOver };
    return this.#mayAsk() ? null : notWhileDraining();
  }

  #decided(direction: Direction, type: Json | undefined, decision: Decision): void {
    this.#ports.decided(direction, nameOf(type), decision);
  }

  #tellIgnored(body: JsonObject, judged: JsonObject, clientId: string | null): void {
    if (this.#ports.ignored === undefined) return;
    const fields = ignoredFields(body, judged);
    if (fields.length > 0) this.#ports.ignored(nameOf(body.type), fields, clientId);
  }

  #send(body: JsonObject, clientId: string | null): RealtimeEvent | null {
    const out = this.#outgoing.client(body, clientId);
    if (out !== null) return eventOf(out);
    const ack = this.#answers.local();
    if (ack !== null) this.#ports.answer(ack);
    return null;
  }

  #visible(type: Json | undefined, body: JsonObject): readonly JsonObject[] {
    if (type === 'error') return this.#answers.error(body);
    if (type === 'session.updated') return this.#answers.updated(body);
    const { eventId } = this.#ports;
    const view = views.get(type);
    if (view !== undefined) {
      const shown = view(body, this.#memory);
      return shown === null ? [] : [{ type: type as string, event_id: serverEventId(body, eventId), ...shown }];
    }
    const isNew = typeof type === 'string' && !protocolNames.has(type);
    const forwards = isNew && this.#memory.profile.client.unknown_events === 'forward';
    return forwards && isHarmless(body, this.#memory) ? [{ ...body, event_id: serverEventId(body, eventId) }] : [];
  }

  #speech(event: RealtimeEvent): RealtimeEvent | null {
    const { itemId, responseId } = event;
    // Only what the user said belongs to no response.
    if (!plainDown.has(event.type) || itemId === null || (responseId === null) !== (event.type === heardDown)) {
      this.#decided('down', event.type, 'drop');
      return null;
    }
    if (itemId !== this.#speechItem || responseId !== this.#speechResponse) {
      const { items, responses } = this.#memory;
      if (items.shown(itemId) === undefined || (responseId !== null && !responses.shows(responseId))) {
        this.#ports.decided('down', event.type, 'drop');
        return null;
      }
      this.#speechItem = itemId;
      this.#speechResponse = responseId;
    }
    this.#ports.decided('down', event.type, 'forward');
    return event;
  }
}

function always(): boolean {
  return true;
}

/** A name of the protocol, or `other`. */
function nameOf(type: Json | undefined): string {
  return typeof type === 'string' && protocolNames.has(type) ? type : 'other';
}

/** Whether the rules took nothing away. The `event_id` is not the rules' business. */
function isWhole(judged: JsonObject, body: JsonObject): boolean {
  const { event_id: _, ...rest } = body;
  const { event_id: __, ...kept } = judged;
  return isDeepStrictEqual(kept, rest);
}

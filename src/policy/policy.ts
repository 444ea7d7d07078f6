/** What a client may send and see: the policy of one session. Pure: it knows no socket, clock, environment or logger. */

import { isDeepStrictEqual } from 'node:util';
import { audioDown, audioUp, clientEvents, type Direction, serverEvents, textDown } from '../protocol/catalogue.js';
import { eventOf, type Json, type JsonObject, type RealtimeEvent, type Refusal, type Step } from '../protocol/event.js';
import { createAnswers, serverEventId } from './answer.js';
import { createAsking } from './ask.js';
import { clientEventId, judgeEndUser } from './client.js';
import { createMemory } from './memory.js';
import type { Profile } from './profile.js';
import { views } from './server.js';
import { own } from './shape.js';
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
  /** Counts a decision; `type` is a name of the protocol or `other`. */
  decided(direction: Direction, type: string, decision: Decision): void;
  /** A new id for a server event made by the relay. */
  eventId(): string;
}

/** The policy of one session. */
export interface Policy {
  /** What upstream may get of a client's event in GA: the event itself if it is raw speech, else a rebuilt one, or null. */
  readonly up: Step;
  /** What the client may see of an upstream event in GA: raw speech as it is, else rebuilt events, or null. */
  readonly down: Step;
  /**
   * Must be given every event that the relay itself sends upstream while the policy judges what comes back; returns what
   * to send. Its items are hidden, its acks and errors never reach the client, and so is the response when it is not
   * part of the conversation (`conversation: 'none'`).
   */
  injected(body: JsonObject): JsonObject;
  /**
   * The session object for the client's `session.created`, which is redacted and shows the effective configuration. Takes
   * the session object of upstream's ack of the configuration, the relay's own id of the session and its end in seconds
   * since 1970.
   */
  sessionCreated(upstreamSession: JsonObject, sessionId: string, expiresAt: number): JsonObject;
}

/** Server events whose bytes may be forwarded once their item and response are known to be visible. */
const plainDown: ReadonlySet<string> = new Set([audioDown.ga, ...textDown.ga]);
const protocolNames: ReadonlySet<string> = new Set([...clientEvents, ...serverEvents]);

/**
 * Makes the policy of one session. `session` is the profile's session as it was rendered and sent upstream, `publicModel`
 * the model name the client may know.
 */
export function createPolicy(profile: Profile, session: JsonObject, publicModel: string, ports: PolicyPorts): Policy {
  const memory = createMemory(profile, session);
  const asking = createAsking(memory);
  const answers = createAnswers(memory, publicModel, ports.eventId);
  const judge = memory.trusted ? judgeTrusted : judgeEndUser;
  const reportOnly = profile.client.report_only;
  const forwardsUnknown = profile.client.unknown_events === 'forward';
  // The last pair of ids of speech that was let through.
  let speechItem: string | null = null;
  let speechResponse: string | null = null;

  function decided(direction: Direction, type: Json | undefined, decision: Decision): void {
    ports.decided(direction, typeof type === 'string' && protocolNames.has(type) ? type : 'other', decision);
  }

  function up(event: RealtimeEvent): RealtimeEvent | null {
    if (event.raw !== null && event.type === audioUp) {
      ports.decided('up', audioUp, 'forward');
      return event;
    }
    const body = event.body ?? { type: event.type };
    const clientId = clientEventId(own(body, 'event_id'));
    const ruling = judge(body, memory);
    if (reportOnly && ('fault' in ruling || !isWhole(ruling.body, body))) {
      decided('up', body.type, 'report');
      ports.reported(
        'fault' in ruling ? ruling.fault.message : 'Fields that this profile does not let through were sent.',
      );
      return send(body, clientId);
    }
    if ('fault' in ruling) {
      const { code, message, param, race } = ruling.fault;
      decided('up', body.type, 'refuse');
      ports.refuse({ code, message, param, eventId: clientId }, race === true);
      return null;
    }
    const sent = send(ruling.body, clientId);
    decided('up', body.type, sent === null ? 'answer' : 'rebuild');
    return sent;
  }

  function send(body: JsonObject, clientId: string | null): RealtimeEvent | null {
    const out = asking.client(body, clientId);
    if (out !== null) return eventOf(out);
    const ack = answers.local();
    if (ack !== null) ports.answer(ack);
    return null;
  }

  function down(event: RealtimeEvent): RealtimeEvent | readonly RealtimeEvent[] | null {
    const { body } = event;
    if (body === null) return speech(event);
    // Whatever happens here may change who sees what.
    speechItem = null;
    const type = own(body, 'type');
    const shown = visible(type, body);
    decided('down', type, shown.length === 0 ? 'drop' : 'rebuild');
    const [first] = shown;
    if (first === undefined) return null;
    return shown.length === 1 ? eventOf(first) : shown.map(eventOf);
  }

  function visible(type: Json | undefined, body: JsonObject): readonly JsonObject[] {
    if (type === 'error') return answers.error(body);
    if (type === 'session.updated') return answers.updated(body);
    const view = views.get(type);
    if (view !== undefined) {
      const shown = view(body, memory);
      return shown === null ? [] : [{ type: type as string, event_id: serverEventId(body, ports.eventId), ...shown }];
    }
    const isNew = typeof type === 'string' && !protocolNames.has(type);
    return isNew && forwardsUnknown && isHarmless(body, memory)
      ? [{ ...body, event_id: serverEventId(body, ports.eventId) }]
      : [];
  }

  function speech(event: RealtimeEvent): RealtimeEvent | null {
    const { itemId, responseId } = event;
    if (event.raw === null || !plainDown.has(event.type) || itemId === null || responseId === null) {
      decided('down', event.type, 'drop');
      return null;
    }
    if (itemId !== speechItem || responseId !== speechResponse) {
      if (memory.items.shown(itemId) === undefined || !memory.responses.shows(responseId)) {
        ports.decided('down', event.type, 'drop');
        return null;
      }
      speechItem = itemId;
      speechResponse = responseId;
    }
    ports.decided('down', event.type, 'forward');
    return event;
  }

  return {
    up,
    down,
    injected(body) {
      speechItem = null;
      return asking.relay(body);
    },
    sessionCreated: (upstreamSession, sessionId, expiresAt) => answers.created(upstreamSession, sessionId, expiresAt),
  };
}

/** Whether the rules took nothing away. The `event_id` is not the rules' business. */
function isWhole(judged: JsonObject, body: JsonObject): boolean {
  const { event_id: _, ...rest } = body;
  const { event_id: __, ...kept } = judged;
  return isDeepStrictEqual(kept, rest);
}

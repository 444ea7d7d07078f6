/** A backend's part in a session: what it says goes upstream in the order in which it came, and is shown to nobody. */

import type { Cancel, Clock } from '../clock.js';
import { answeredBy, decidedBy, type Judged } from '../policy/backend.js';
import { Bounded } from '../policy/bounded.js';
import { type JsonObject, objectOf, type RealtimeEvent, type Refusal } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Runner } from '../tools/runner.js';
import { orderedUuid } from '../uuid.js';
import { createAsides } from './asides.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Front } from './front.js';
import { createTakeover, type Takeover } from './takeover.js';
import type { Taps } from './taps.js';
import { isAside } from './unanswered.js';

/** Told of an event that was placed and not carried out: its id as its sender knows it, and upstream's error. */
type Failed = (eventId: string, error: JsonObject) => void;

/** Somebody who says something, once or again and again; what was said before counts for what follows. */
export interface Sender {
  /** Whether it is refused an answer while one runs; if not, upstream says so. */
  readonly isJudged: boolean;
  readonly failed: Failed;
  /** Told once of the last answer that a list asks for; null where none came. */
  heard?(response: JsonObject | null): void;
  /** Has ended what was running. */
  hasCancelled?: boolean;
  /** Has answered a call, and how an answer follows on that. */
  answered?: 'by itself' | 'by request' | null;
}

/**
 * What became of a list: the ids of its events. Nothing was sent where it is `busy`, as an answer runs that the list does not end,
 * or `crowded`, as there would be too many answers beside the conversation.
 */
type PlacedEvents = { readonly ids: readonly string[] } | 'busy' | 'crowded';

/** The part of all backends of one session. */
export interface Backend {
  /** Says something; null while there is nobody to say it to. */
  say(judged: Judged, sender: Sender): PlacedEvents | null;
  /** The session as upstream runs it; null while it does not. */
  session(): JsonObject | null;
  /** Who sent the event that upstream objects to by this id, if that is what has just come. */
  whose(eventId: unknown): Known | null;
  /** Whether a call of the model's is for a backend to answer, and open. */
  owns(callId: string): boolean;
  /** Whether a call of upstream's own tools was approved or denied already. */
  isDecided(requestId: string): boolean;
  /** Whether an item of the conversation is known to have this id. */
  has(itemId: string): boolean;
  /** What the upstream of the session cannot be told of an event; null where there is nothing. */
  unsaid(event: JsonObject): Refusal | null;
  /** Whether one of them has the session to itself. */
  readonly takeover: Takeover;
  /** The session is over: no answer comes any more. */
  close(): void;
}

/** An event that was sent: its id as its sender knows it. */
interface Known {
  readonly id: string;
  readonly sender: Sender;
}

/** What backends need of their session. */
interface BackendPorts {
  readonly taps: Taps;
  readonly clock: Clock;
  readonly front: Front;
  readonly tools: Runner['forBackends'];
  readonly chronicle: Pick<Chronicle, 'isReady' | 'injected' | 'noted'>;
  readonly isCall: boolean;
  attachment(): Attachment | null;
}

/** Told of an answer, or that there is none. */
type Hear = (response: JsonObject | null) => void;

/** Events whose answers upstream may still owe; more than one list. */
const mostKept = 1000;
/** For the answer that a list cancels to be over. */
const cancelMs = 5000;

/** Makes the part of backends in a session. */
export function createBackend(ports: BackendPorts): Backend {
  const { taps, clock, front, tools, chronicle, attachment } = ports;
  /** By the id that an event has upstream. */
  const sent = new Bounded<Known>(mostKept);
  let objected: { readonly eventId: unknown; readonly known: Known } | null = null;
  const asides = createAsides(clock);
  /** Those who wait for an answer. */
  const waiting = new Set<Hear>();
  let isListening = false;
  /** The leg to upstream once that runs what was imposed. */
  const open = () => (chronicle.isReady ? attachment() : null);
  const takeover = createTakeover({ ...ports, open });

  function came({ type, body }: RealtimeEvent): void {
    if (type === family.down.answerBegun) asides.begun(objectOf(body?.response));
    else if (type === family.down.answerEnded) asides.done(objectOf(body?.response));
    else if (type === family.down.error) refused(objectOf(body?.error));
  }

  function refused(error: JsonObject): void {
    const { event_id: eventId } = error;
    asides.refused(eventId);
    const known = typeof eventId === 'string' ? sent.get(eventId) : undefined;
    if (!known) return;
    sent.delete(eventId as string);
    objected = { eventId, known };
    known.sender.failed(known.id, error);
  }

  function note({ event_id: eventId, item }: JsonObject, id: string, sender: Sender): void {
    const { id: itemId } = objectOf(item);
    if (typeof itemId === 'string') chronicle.injected(itemId);
    if (typeof eventId === 'string') sent.set(eventId, { id, sender });
  }

  /** Who is to hear of an answer. */
  function hearing({ heard }: Sender): Hear {
    if (!heard) return deaf;
    const hear: Hear = (response) => {
      if (waiting.delete(hear)) heard(response);
    };
    waiting.add(hear);
    return hear;
  }

  function ask(attachment: Attachment, event: JsonObject, id: string, sender: Sender, hear: Hear): void {
    const { asks } = attachment;
    const { hasCancelled = false, answered = null, isJudged } = sender;
    sender.hasCancelled = false;
    sender.answered = null;
    // The relay asks already.
    if (answered === 'by itself') hear(null);
    else if (isJudged || hasCancelled || answered !== null || !asks.isBusy) want(attachment, event, id, sender, hear);
    else note(asks.sayFor(event), id, sender);
  }

  /** Asks for an answer, at once or when the one that was cancelled is over. */
  function want({ asks }: Attachment, { response }: JsonObject, id: string, sender: Sender, hear: Hear): void {
    let isOver = false;
    let wasAsked = false;
    let stopWaiting: Cancel | null = null;
    const { drop } = asks.want({
      kind: 'backend',
      ...(response !== undefined && response !== null && { response: objectOf(response) }),
      asked(body) {
        wasAsked = true;
        note(body, id, sender);
      },
      ended(how, answer) {
        isOver = true;
        stopWaiting?.();
        hear(answer ?? null);
        if (wasAsked || (how !== 'refused' && how !== 'dropped')) return;
        sender.failed(id, {
          type: 'server_error',
          code: 'not_answered',
          message: 'No answer could be asked for in time.',
        });
      },
    });
    if (!isOver) stopWaiting = clock.at(cancelMs, drop);
  }

  function answer(callId: string, item: JsonObject, sender: Sender): void {
    const reply = tools.answer(callId, String(item.output));
    sender.answered = reply === 'always' ? 'by itself' : 'by request';
  }

  function place(attachment: Attachment, event: JsonObject, id: string, sender: Sender, hear: Hear): void {
    const callId = answeredBy(event);
    if (callId !== null) answer(callId, objectOf(event.item), sender);
    else if (isAsk(event)) ask(attachment, event, id, sender, hear);
    else if (event.type === family.up.ask) {
      const said = attachment.asks.sayFor(event);
      note(said, id, sender);
      asides.asked(said, hear);
    } else {
      if (event.type === family.up.cancel) sender.hasCancelled = true;
      note(attachment.say(prepared(event)), id, sender);
      const requestId = decidedBy(event);
      if (requestId !== null && tools.decide(requestId)) sender.answered = 'by itself';
    }
  }

  /** As it is to be sent upstream. */
  function prepared(event: JsonObject): JsonObject {
    if (event.type === family.up.configure) return front.updated(objectOf(event.session));
    return event.type === family.up.item ? front.put(event) : event;
  }

  return {
    session: () => open()?.session ?? null,
    whose: (eventId) => (objected !== null && objected.eventId === eventId ? objected.known : null),
    owns: (callId) => tools.isBackends(callId),
    isDecided: (requestId) => tools.isDecided(requestId),
    has: (itemId) => front.has(itemId),
    unsaid: (event) => open()?.reached.leg.unsaid?.(event) ?? null,
    takeover,
    say({ events, ids }, sender) {
      const attachment = open();
      if (!attachment) return null;
      const first = events.findIndex(isAsk);
      const isEnded = events.slice(0, Math.max(first, 0)).some(({ type }) => type === family.up.cancel);
      if (sender.isJudged && first >= 0 && !isEnded && attachment.asks.isBusy) return 'busy';
      const beside = events.filter(({ type, response }) => type === family.up.ask && isAside(response));
      if (beside.length > 0 && !asides.hasRoom(beside.length)) return 'crowded';
      if (!isListening) isListening = taps.add({ came }) !== null;
      const names = ids.map((id) => id ?? `event_${orderedUuid().replaceAll('-', '')}`);
      const last = events.findLastIndex(({ type }) => type === family.up.ask);
      for (const [index, event] of events.entries()) {
        place(attachment, event, names[index] as string, sender, index === last ? hearing(sender) : deaf);
      }
      return { ids: names };
    },
    close() {
      takeover.close();
      asides.close();
      for (const hear of waiting) hear(null);
    },
  };
}

function deaf(): void {}

function isAsk({ type, response }: JsonObject): boolean {
  return type === family.up.ask && !isAside(response);
}

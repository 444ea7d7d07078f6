/**
 * Whether the model answers by itself what it hears: what the server and the client wish of that, and what upstream is told in
 * its place while somebody keeps the model silent. Turn detection is set as a whole, so whatever else it says goes along.
 */

import type { Json, JsonObject } from '../protocol/event.js';
import { isObject, valueAt } from './shape.js';

/** A setting of turn detection that upstream has yet to answer for. */
interface Underway {
  readonly eventId: string;
  readonly detection: Json;
  /** What its sender wishes of answers; null for the relay, which wishes nothing of its own. */
  readonly wish: boolean | null;
}

const path = ['audio', 'input', 'turn_detection'];
/** Upstream that does not do as it is told is not told for ever. */
const mostTries = 5;

/** That of one session. */
export class Silence {
  readonly #converses: boolean;
  readonly #underway: Underway[] = [];
  #isOn = false;
  /** What upstream runs is, or may be, not what was wished. */
  #isOver = false;
  /** As upstream runs it. */
  #detection: Json | undefined;
  #wish = true;
  #tries = 0;

  /** @param converses whether there is a model that answers at all */
  constructor(converses: boolean) {
    this.#converses = converses;
  }

  /** Whether the model is kept silent. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** From now on the model is kept silent, or answers as it is wished again; `owed` says what upstream must be told. */
  set(isOn: boolean): void {
    this.#isOn = isOn;
    this.#isOver = true;
    this.#tries = 0;
    this.#look();
  }

  /** Whether upstream begins no answer by itself, whatever is under way. */
  get isKept(): boolean {
    return !this.#converses || [this.#running, ...this.#underway.map(({ detection }) => detection)].every(isQuiet);
  }

  /** What upstream has to be told so that the model is as silent as it should be, or null; `sending` must follow. */
  owed(): JsonObject | null {
    const last = this.#underway.at(-1);
    const detection = last ? last.detection : this.#running;
    const wish = this.#underway.findLast((one) => one.wish !== null)?.wish ?? this.#wish;
    const answers = this.#isOn ? false : wish;
    if (!this.#isOver || !this.#converses || !isObject(detection) || answersIn(detection) === answers) return null;
    if (++this.#tries > mostTries) return null;
    return { audio: { input: { turn_detection: { ...detection, create_response: answers } } } };
  }

  /** A session object on its way upstream by this event, as it is to be sent; `isOurs` where `owed` has given it. */
  sending(eventId: string, session: JsonObject, isOurs: boolean): JsonObject {
    const given = valueAt(session, path);
    if (given === undefined || !this.#converses) return session;
    const sent = this.muted(session);
    const wish = isOurs ? null : answersIn(given);
    this.#underway.push({ eventId, detection: valueAt(sent, path) ?? null, wish });
    return sent;
  }

  /** Upstream has taken what it was told by this event, and has said what it runs, or has not taken it. */
  settled(eventId: string, isTaken: boolean): void {
    const at = this.#underway.findIndex((one) => one.eventId === eventId);
    if (at < 0) return;
    const [{ detection, wish }] = this.#underway.splice(at, 1) as [Underway];
    if (!isTaken) return;
    if (this.#detection === undefined) this.#detection = detection;
    if (wish !== null && this.#isOver) this.#wish = wish;
    this.#look();
  }

  /** What upstream says that it runs. */
  ran(session: JsonObject): void {
    const detection = valueAt(session, path);
    if (detection !== undefined) this.#detection = detection;
    if (!this.#isOver && isObject(detection)) this.#wish = answersIn(detection);
    this.#look();
  }

  /** The same where others tell upstream as well, and it does not say whom it answers; `isOpen`: the client may set it, too. */
  heard(session: JsonObject, isOpen: boolean): void {
    const detection = valueAt(session, path);
    if (isOpen && this.#isOn && isObject(detection)) this.#wish ||= answersIn(detection);
    const [first] = this.#underway;
    if (first) this.settled(first.eventId, true);
    this.ran(session);
  }

  /** A session object of upstream's as everybody may see it who does not know of this: with what was wished. */
  shown(session: JsonObject): JsonObject {
    const detection = valueAt(session, path);
    if (!this.#isOver || !isObject(detection) || answersIn(detection) === this.#wish) return session;
    return withDetection(session, { ...detection, create_response: this.#wish });
  }

  /** A session object in which the model is as silent as it should be; one that does not set turn detection stays as it is. */
  muted(session: JsonObject): JsonObject {
    const detection = valueAt(session, path);
    if (!this.#isOn || !this.#converses || isQuiet(detection)) return session;
    return withDetection(session, { ...(detection as JsonObject), create_response: false });
  }

  /** The same of a whole session, for an upstream that would begin with its own turn detection. */
  whole(session: JsonObject): JsonObject {
    const isUnset = this.#isOn && this.#converses && valueAt(session, path) === undefined;
    return this.muted(isUnset ? withDetection(session, standard) : session);
  }

  get #running(): Json {
    return this.#detection === undefined ? standard : this.#detection;
  }

  #look(): void {
    const isRight = !isObject(this.#running) || answersIn(this.#running) === (this.#isOn ? false : this.#wish);
    if (isRight) this.#tries = 0;
    if (isRight && !this.#isOn && this.#underway.length === 0) this.#isOver = false;
  }
}

/** What upstream runs where nobody has set anything. Source: the Realtime API's reference. */
const standard: JsonObject = Object.freeze({ type: 'server_vad' });

function isQuiet(detection: Json | undefined): boolean {
  return !isObject(detection) || !answersIn(detection);
}

function answersIn(detection: Json): boolean {
  return !isObject(detection) || detection.create_response !== false;
}

function withDetection(session: JsonObject, detection: JsonObject): JsonObject {
  const audio = isObject(session.audio) ? session.audio : {};
  const input = isObject(audio.input) ? audio.input : {};
  return { ...session, audio: { ...audio, input: { ...input, turn_detection: detection } } };
}

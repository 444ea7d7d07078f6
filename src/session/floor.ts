/** Who has the floor in a conversation, as far as upstream says so: its user, an answer that runs or is to come, or nobody. */

import type { Cancel, Clock } from '../clock.js';
import { isObject, type JsonObject, objectOf } from '../protocol/event.js';
import { family } from '../protocol/family.js';

/** The floor of one conversation. */
export interface Floor {
  /** The answers that run. */
  readonly running: ReadonlySet<string>;
  /** Whether an answer that is asked for now is in nobody's way. */
  readonly isFree: boolean;
  /** Takes note of the session as upstream runs it. */
  configured(session: JsonObject): void;
  /** Takes note of an event of upstream that tells of sound. */
  heard(type: string): void;
  began(responseId: string): void;
  /** Whether it was one that runs. */
  ended(responseId: string): boolean;
  /** Upstream has forgotten what runs and what was said. */
  moved(): void;
  /** Nothing is waited for any more. */
  close(): void;
}

type Sound = 'speech' | 'answer to come';

/** A client that clears the buffer in the middle of a sentence is never told that it has ended. */
const longestSpeechMs = 30_000;
/** For upstream to begin the answer to what it has heard. */
const longestGapMs = 5000;
/** More than upstream lets run at a time. */
const most = 64;

/**
 * Follows one conversation.
 * @param freed called when somebody who had the floor has not been heard of for too long
 */
export function createFloor(clock: Clock, freed: () => void): Floor {
  return new ConversationFloor(clock, freed);
}

class ConversationFloor implements Floor {
  readonly running = new Set<string>();
  readonly #clock: Clock;
  readonly #freed: () => void;
  #answersSpeech = false;
  #sound: Sound | null = null;
  #patience: Cancel | null = null;

  constructor(clock: Clock, freed: () => void) {
    this.#clock = clock;
    this.#freed = freed;
  }

  get isFree(): boolean {
    return this.running.size === 0 && this.#sound === null;
  }

  configured(session: JsonObject): void {
    const { turn_detection: detection } = objectOf(objectOf(session.audio).input);
    this.#answersSpeech = isObject(detection) && detection.create_response !== false;
    if (!isObject(detection)) this.#set(null);
  }

  heard(type: string): void {
    const sound = sounds.get(type);
    if (sound === undefined) return;
    const isAnswerDue = this.#answersSpeech && this.running.size === 0;
    this.#set(sound === 'answer to come' && !isAnswerDue ? null : sound);
  }

  began(responseId: string): void {
    if (this.running.size < most) this.running.add(responseId);
    if (this.#sound === 'answer to come') this.#set(null);
  }

  ended(responseId: string): boolean {
    return this.running.delete(responseId);
  }

  moved(): void {
    this.running.clear();
    if (this.#sound === 'answer to come') this.#set(null);
  }

  close(): void {
    this.#set(null);
  }

  #set(next: Sound | null): void {
    this.#patience?.();
    this.#sound = next;
    this.#patience =
      next === null ? null : this.#clock.at(next === 'speech' ? longestSpeechMs : longestGapMs, this.#lost);
  }

  readonly #lost = (): void => {
    this.#set(null);
    this.#freed();
  };
}

/** Who has the floor behind an event; where no answer is due to what was heard, nobody. */
const sounds: ReadonlyMap<string, Sound | null> = new Map([
  [family.down.speechBegun, 'speech'],
  [family.down.speechEnded, 'answer to come'],
  [family.down.committed, 'answer to come'],
  [family.down.silence, 'answer to come'],
  [family.down.cleared, null],
]);

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
  const running = new Set<string>();
  let answersSpeech = false;
  let sound: Sound | null = null;
  let patience: Cancel | null = null;

  function set(next: Sound | null): void {
    patience?.();
    sound = next;
    const lost = () => {
      set(null);
      freed();
    };
    patience = next === null ? null : clock.at(next === 'speech' ? longestSpeechMs : longestGapMs, lost);
  }

  const spoken = () => set(answersSpeech && running.size === 0 ? 'answer to come' : null);

  const sounds: ReadonlyMap<string, () => void> = new Map([
    [family.down.speechBegun, () => set('speech')],
    [family.down.speechEnded, spoken],
    [family.down.committed, spoken],
    [family.down.silence, spoken],
    [family.down.cleared, () => set(null)],
  ]);

  function configured(session: JsonObject): void {
    const { turn_detection: detection } = objectOf(objectOf(session.audio).input);
    answersSpeech = isObject(detection) && detection.create_response !== false;
    if (!isObject(detection)) set(null);
  }

  return {
    running,
    get isFree() {
      return running.size === 0 && sound === null;
    },
    configured,
    heard: (type) => sounds.get(type)?.(),
    began(responseId) {
      if (running.size < most) running.add(responseId);
      if (sound === 'answer to come') set(null);
    },
    ended: (responseId) => running.delete(responseId),
    close: () => set(null),
  };
}

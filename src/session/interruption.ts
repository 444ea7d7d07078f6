/** Sees when speech is over for the user, so that none of it that still waits for a slow reader is sent any more. */

import { type JsonObject, objectOf, type Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';

/** The two steps of an interruption; neither changes an event. */
export interface Interruption {
  readonly up: Step;
  readonly down: Step;
}

/** What an interruption needs of its session. */
interface InterruptionPorts {
  /** The responses that run. */
  running(): ReadonlySet<string>;
  /** Drops the speech that waits: of one response, or all of it. */
  drop(response: string | null): void;
}

/** Watches one session. */
export function createInterruption({ running: runs, drop }: InterruptionPorts): Interruption {
  let interrupts = true;

  const cancelled = ({ response_id }: JsonObject): void => {
    const running = runs();
    if (typeof response_id === 'string') drop(response_id);
    // Upstream had said all of it; what is left of it is here. Which of several is meant, upstream's answer says.
    else if (running.size === 0) drop(null);
    else if (running.size === 1) for (const id of running) drop(id);
  };

  return {
    up(event) {
      if (event.body === null) return event;
      if (event.type === family.up.truncate) drop(null);
      else if (event.type === family.up.cancel) cancelled(event.body);
      return event;
    },
    down(event) {
      if (event.body === null) return event;
      if (event.type === family.down.speechBegun) {
        if (interrupts) drop(null);
      } else if (event.type === family.down.answerEnded) {
        const { id, status } = objectOf(event.body.response);
        if (status === 'cancelled' && typeof id === 'string') drop(id);
      } else if (event.type === family.down.configured) {
        const { input } = objectOf(objectOf(event.body.session).audio);
        interrupts = objectOf(objectOf(input).turn_detection).interrupt_response !== false;
      }
      return event;
    },
  };
}

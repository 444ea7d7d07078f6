/** Answers beside the conversation that backends have asked for: in nobody's way, but only so many at once. */

import type { Cancel, Clock } from '../clock.js';
import type { JsonObject } from '../protocol/event.js';
import { tagOf } from './unanswered.js';

/** Those of one session. */
export interface Asides {
  /** Whether so many more may be asked for. */
  hasRoom(more: number): boolean;
  /** One was asked for in these words; `over` is told once of what came of it, or null. */
  asked(said: JsonObject, over: (response: JsonObject | null) => void): void;
  begun(response: JsonObject): void;
  done(response: JsonObject): void;
  /** Upstream has refused the event of this id. */
  refused(eventId: unknown): void;
  close(): void;
}

interface Aside {
  readonly eventId: unknown;
  readonly tag: string | null;
  id: unknown;
  readonly over: (response: JsonObject | null) => void;
  readonly giveUp: Cancel;
}

const mostAtOnce = 4;
/** For one that upstream never ends. */
const patienceMs = 120_000;

/** Starts with none. */
export function createAsides(clock: Clock): Asides {
  let running: readonly Aside[] = [];

  function end(aside: Aside | undefined, response: JsonObject | null): void {
    if (!aside) return;
    running = running.filter((one) => one !== aside);
    aside.giveUp();
    aside.over(response);
  }

  return {
    hasRoom: (more) => running.length + more <= mostAtOnce,
    asked({ event_id: eventId, response }, over) {
      const giveUp = clock.at(patienceMs, () => end(aside, null));
      const aside: Aside = { eventId, tag: tagOf(response), id: null, over, giveUp };
      running = [...running, aside];
    },
    begun(response) {
      const tag = tagOf(response);
      const isNext = (one: Aside) => tag === null && response.conversation_id === null && one.id === null;
      const begun = running.find((one) => (tag !== null && one.tag === tag) || isNext(one));
      if (begun) begun.id = response.id;
    },
    done: (response) =>
      end(
        running.find(({ id }) => id !== null && id === response.id),
        response,
      ),
    refused: (eventId) =>
      end(
        running.find((one) => one.eventId === eventId),
        null,
      ),
    close() {
      for (const aside of running) end(aside, null);
    },
  };
}

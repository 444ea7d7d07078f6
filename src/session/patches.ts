/** What backends set in a session that its client can change as well, until upstream says that it runs it. */

import type { Cancel, Clock } from '../clock.js';
import { holds } from '../policy/conformance.js';
import { type Imposed, setFields } from '../policy/locks.js';
import type { JsonObject } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import { unforgeableId } from './configure.js';

/** The updates of backends that are under way in one session. */
export interface Patches {
  /** Takes note of what is set, and gives the event that says so upstream. */
  send(fields: JsonObject): JsonObject;
  /** Whether a field is being set: what is seen of it meanwhile is about to change. */
  has(path: string): boolean;
  /** Looks at the session as upstream runs it. */
  saw(session: JsonObject): void;
  /** Upstream has refused the event of this id. */
  refused(eventId: string): void;
  /** Nothing comes any more. */
  close(): void;
}

interface Patch {
  readonly eventId: string;
  readonly fields: JsonObject;
  readonly paths: readonly string[];
  readonly settled: (isTaken: boolean) => void;
  readonly giveUp: Cancel;
}

/** For upstream to say that it runs what was set. */
const patienceMs = 5000;

/**
 * Starts with none.
 * @param undone called with the session as it was last seen when something that was set does not hold
 */
export function createPatches(
  imposed: Pick<Imposed, 'patching' | 'profile' | 'silence'>,
  clock: Clock,
  undone: (session: JsonObject) => void,
): Patches {
  let underway: readonly Patch[] = [];
  let last: JsonObject | null = null;

  function settle(patch: Patch, isTaken: boolean): void {
    underway = underway.filter((one) => one !== patch);
    patch.giveUp();
    patch.settled(isTaken);
    if (!isTaken && last !== null) undone(last);
    if (underway.length === 0) last = null;
  }

  return {
    send(fields) {
      const eventId = unforgeableId();
      const { type } = imposed.profile.session;
      const session = imposed.silence.sending(eventId, { type, ...fields }, false);
      const { type: _, ...sent } = session;
      const patch: Patch = {
        eventId,
        fields: sent,
        paths: setFields(fields),
        settled: imposed.patching(fields),
        giveUp: clock.at(patienceMs, () => settle(patch, false)),
      };
      underway = [...underway, patch];
      return { type: family.up.configure, event_id: eventId, session };
    },
    has: (path) => underway.some(({ paths }) => paths.includes(path)),
    saw(session) {
      if (underway.length === 0) return;
      last = session;
      const [taken] = underway.filter(({ fields }) => holds(session, fields));
      if (taken) settle(taken, true);
    },
    refused(eventId) {
      const patch = underway.find((one) => one.eventId === eventId);
      if (patch) settle(patch, false);
    },
    close() {
      for (const { giveUp } of underway) giveUp();
      underway = [];
    },
  };
}

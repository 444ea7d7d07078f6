/** Keeps a call as its profile made it: the browser can change the session without asking the relay, but not for long. */

import { RelayError } from '../errors.js';
import type { Watch } from '../policy/conformance.js';
import type { Imposed } from '../policy/locks.js';
import { isObject, type JsonObject, objectOf, type Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import { unforgeableId } from './configure.js';
import type { Patches } from './patches.js';
import { rejectionOf } from './rejection.js';
import type { Say } from './speak.js';

/** What a guard may do. */
interface GuardPorts {
  readonly say: Say;
  /** Told of the id of each item that is in the conversation. */
  added(itemId: string): void;
  /** Told of every forbidden change, with the paths of the fields and how many there have been. */
  violated(fields: readonly string[], times: number): void;
}

export interface Guard {
  /**
   * Judges what upstream says on the sideband.
   * @throws RelayError `forbidden` when the browser does not let go
   */
  readonly step: Step;
  /** Holds the session against the profile again, as it was last seen. */
  look(session: JsonObject): void;
  /** Forbidden changes so far. */
  readonly violations: number;
}

interface Rules {
  readonly watch: Watch;
  readonly patches: Pick<Patches, 'has' | 'saw' | 'refused'>;
  /** Forbidden changes that end the call. */
  readonly violations: number;
  /** Only tells of violations. */
  readonly reportOnly: boolean;
  /** Whether an item pretends to be the output of a call that the server answers for. */
  isForged(item: JsonObject): boolean;
}

/** By which an item is known to have come into the conversation. */
const itemEvents: ReadonlySet<string> = new Set(family.down.itemAdded);

/** Starts to guard one call. */
export function createGuard({ watch, patches, violations, reportOnly, isForged }: Rules, ports: GuardPorts): Guard {
  let count = 0;
  /** The updates under way that put fields back, in order; never more than upstream has still to answer. */
  const pending: { id: string; fields: readonly string[] }[] = [];

  const send = (update: JsonObject): string => {
    const id = unforgeableId();
    ports.say({ type: family.up.configure, event_id: id, session: update });
    return id;
  };

  function updated(now: JsonObject): void {
    const last = pending.at(-1)?.fields ?? [];
    pending.shift();
    judge(now, last);
  }

  function judge(now: JsonObject, last: readonly string[]): void {
    // Whatever it is now, the server is setting it; what then is not as it has to be is found when that is settled.
    const fields = watch.drifted(now).filter((field) => !patches.has(field));
    // What is being put back already is not a new violation: the answer is on its way.
    if (fields.every((field) => last.includes(field))) return;
    count++;
    ports.violated(fields, count);
    if (reportOnly) return;
    if (count >= violations) {
      throw new RelayError('forbidden', `The client changed the session ${count} times in ways the profile forbids.`);
    }
    const wrong = [...new Set([...last, ...fields])];
    pending.push({ id: send(watch.remedy(wrong)), fields: wrong });
  }

  /** Two outputs for one call, and the model may believe either. */
  function judged(item: JsonObject): void {
    if (typeof item.id === 'string') ports.added(item.id);
    if (!isForged(item)) return;
    ports.violated(['the output of a call that the server answers for'], ++count);
    if (!reportOnly) throw new RelayError('forbidden', 'The client answered a call that the server answers for.');
  }

  function refused(error: JsonObject): void {
    const id = error.event_id;
    if (typeof id !== 'string') return;
    patches.refused(id);
    const cause = rejectionOf(error);
    if (pending.some((update) => update.id === id)) {
      throw new RelayError('forbidden', 'The client changed the session in a way that cannot be undone.', { cause });
    }
  }

  return {
    step(event) {
      const { type, body } = event;
      if (type === family.down.configured && isObject(body?.session)) {
        patches.saw(body.session);
        updated(body.session);
      } else if (type === family.down.error && isObject(body?.error)) refused(body.error);
      else if (itemEvents.has(type) && isObject(body?.item)) judged(body.item);
      return event;
    },
    look: (session) => judge(session, pending.at(-1)?.fields ?? []),
    get violations() {
      return count;
    },
  };
}

const answering = 'audio.input.turn_detection';

/** The step that notes whether the model answers by itself in a call, whose browser may set that as well. */
export function createHeed({ silence, locks, profile }: Imposed): Step {
  const isOpen = profile.client.trust === 'trusted' ? !locks.isLocked(answering) : locks.mayUpdate.includes(answering);
  return (event) => {
    const { type, body } = event;
    if (type === family.down.configured) silence.heard(objectOf(body?.session), isOpen);
    else if (type === family.down.error) silence.settled(String(objectOf(body?.error).event_id), false);
    return event;
  };
}

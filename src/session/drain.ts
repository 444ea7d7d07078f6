/** The end of a session at shutdown: what has begun is finished, and nothing new begins. */

import type { Cancel, Clock } from '../clock.js';
import type { Leg } from '../legs/leg.js';
import type { Attachment } from './attachment.js';
import type { Turns } from './pending.js';
import type { Pipe } from './pipe.js';

/** What a drain needs of its session. */
export interface DrainPorts {
  readonly clock: Clock;
  readonly turns: Pick<Turns, 'isUnsettled' | 'isOwed' | 'isPlaying' | 'isSpeaking' | 'unasked' | 'takeRecording'>;
  /** Whether the relay itself has yet to ask for an answer. */
  isOwing(): boolean;
  /** Whether something of the client's is held that upstream does not know of yet. */
  isHolding(): boolean;
  /** Whether all that upstream has said is on its way to the client. */
  isWritten(): boolean;
  /** Nothing is left to finish. */
  over(): void;
}

export interface Drain {
  /** To be called after each event of upstream and once a second; ends the session as soon as that cuts nobody short. */
  look(): void;
  /** The session has ended. */
  stop(): void;
}

/** For a client that asks for its answers itself, after its user has spoken; and for one whose tool is at work. */
const patienceMs = { speech: 2000, tool: 10_000 } as const;
/** Between two looks at what waits for a client that reads slowly. */
const unwrittenMs = 25;

/** What is drained. */
interface Drained {
  readonly clock: Clock;
  readonly client: Leg | null;
  readonly up: Pipe;
  readonly attachment: Attachment;
  over(): void;
}

/** Starts to drain what lies between a client and upstream. */
export function drainBetween({ clock, client, up, attachment, over }: Drained): Drain {
  const { turns, reached } = attachment;
  return createDrain({
    clock,
    turns,
    isOwing: () => attachment.isOwing,
    isHolding: () => (client?.waitingBytes ?? 0) + up.waiting > 0,
    isWritten: () => {
      client?.flush();
      return (client?.bufferedBytes ?? 0) === 0 && reached.leg.waitingBytes === 0;
    },
    over,
  });
}

/** Starts to drain one session. */
export function createDrain({ clock, turns, isOwing, isHolding, isWritten, over }: DrainPorts): Drain {
  let isOver = false;
  let again: Cancel | null = null;
  let recordedAt = Number.NEGATIVE_INFINITY;
  let heldAt = Number.NEGATIVE_INFINITY;
  let unasked: typeof turns.unasked = null;
  let unaskedSince = 0;

  function isUnfinished(): boolean {
    const now = performance.now();
    const recording = turns.takeRecording();
    if (recording === 'more') recordedAt = now;
    const records = recording !== 'none' && now - recordedAt < patienceMs.speech;
    if (isHolding()) heldAt = now;
    if (turns.unasked !== unasked) {
      unasked = turns.unasked;
      unaskedSince = now;
    }
    const awaits = unasked !== null && now - unaskedSince < patienceMs[unasked];
    // What was let go of just now may be speech that upstream has yet to hear.
    const holds = now - heldAt < patienceMs.speech;
    const isBusy = turns.isPlaying() || turns.isSpeaking() || turns.isUnsettled() || turns.isOwed();
    return awaits || records || holds || isBusy || isOwing();
  }

  function look(): void {
    again?.();
    again = null;
    if (isOver || isUnfinished()) return;
    if (isWritten()) over();
    else again = clock.at(unwrittenMs, look);
  }

  return {
    look,
    stop() {
      isOver = true;
      again?.();
    },
  };
}

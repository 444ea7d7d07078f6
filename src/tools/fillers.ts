/** What is said while a call runs that takes its time: once a turn, and only into silence. */

import type { Cancel, Clock } from '../clock.js';
import { replyOf, type ServedTool } from '../policy/tools.js';
import type { Answering } from './answering.js';
import { mayFollow, type Round } from './round.js';

/** What fillers need of their session. */
interface FillerPorts {
  readonly clock: Clock;
  readonly answering: Pick<Answering, 'want'>;
  /** The instructions that make the model say this and nothing else. */
  toSay(text: string): string;
}

/** The fillers of one session. */
export interface Fillers {
  /** To be called when a response with calls has ended, and when one of its calls has. */
  look(round: Round): void;
  /** The user wants something new. */
  prompted(): void;
  /** Nothing is said any more. */
  close(): void;
}

/** A round that may be bridged. */
interface Silence {
  readonly since: number;
  /** For which of its tools something is to be said. */
  tool: ServedTool | null;
  cancel: Cancel;
}

/** How a response is known that only bridges a silence. */
export const fillerMark = { relay: 'filler' } as const;

/** Makes the fillers of a session that begins. */
export function createFillers({ clock, answering, toSay }: FillerPorts): Fillers {
  const silences = new Map<Round, Silence>();
  let isSaid = false;

  function look(round: Round): void {
    if (round.status === null) return;
    const tool = mayFollow(round) && !round.hasSpoken ? nextOf(round) : null;
    const silence = silences.get(round) ?? { since: performance.now(), tool: null, cancel: () => undefined };
    if (tool === silence.tool) return;
    silence.cancel();
    silence.tool = tool;
    if (!tool?.filler) {
      silences.delete(round);
      return;
    }
    const { after_ms: afterMs, say } = tool.filler;
    silences.set(round, silence);
    silence.cancel = clock.at(afterMs - (performance.now() - silence.since), () => {
      silence.cancel = isSaid ? () => undefined : speak(round, say);
    });
  }

  function speak(round: Round, text: string): Cancel {
    isSaid = true;
    const placed = answering.want({
      kind: 'filler',
      after: round.responseId,
      response: { instructions: toSay(text), tool_choice: 'none', metadata: fillerMark },
      ended(how) {
        if (how !== 'answered') isSaid = false;
      },
    });
    return () => placed.drop();
  }

  return {
    look,
    prompted() {
      isSaid = false;
    },
    close() {
      for (const { cancel } of silences.values()) cancel();
      silences.clear();
    },
  };
}

/** Of the tools at work that have something to say, the one that says it first. */
function nextOf({ open }: Round): ServedTool | null {
  let first: ServedTool | null = null;
  for (const tool of open.values()) {
    if (!tool?.filler || replyOf(tool) === 'silent') continue;
    if (first === null || tool.filler.after_ms < (first.filler?.after_ms ?? 0)) first = tool;
  }
  return first;
}

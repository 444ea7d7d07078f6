/** Calls of upstream's own tools that somebody has to approve: a backend that follows the session has a while for it, an end user has no say. */

import type { Cancel, Clock } from '../clock.js';
import { Bounded } from '../policy/bounded.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { disapproval } from './mcp.js';
import { type Round, wish } from './round.js';

/** What approvals need of their session. */
export interface ApprovalPorts {
  readonly clock: Clock;
  /** Whether a backend sees the requests and may decide. */
  mayBeApproved(): boolean;
}

/** The requests of one session. */
export interface Approvals {
  /** Requests that wait for a backend. */
  readonly open: number;
  /** Upstream asks in a response. */
  ask(round: Round, id: Json | undefined): void;
  /** Whether a request has been decided, so that nobody may decide it again. */
  isDecided(id: string): boolean;
  /** A backend has decided, or is about to; false for what does not wait for it. */
  decide(id: string): boolean;
  close(): void;
}

const most = 64;
const patienceMs = 10_000;

/**
 * Makes the approvals of a session that begins.
 * @param decided called when a request has been decided, with the answer where nobody else gives one
 */
export function createApprovals(
  { clock, mayBeApproved }: ApprovalPorts,
  decided: (round: Round, answer: JsonObject | null) => void,
): Approvals {
  const over = new Bounded<true>(most);
  const waiting = new Map<string, { readonly round: Round; readonly stop: Cancel }>();

  function end(round: Round, id: string, answer: JsonObject | null): void {
    waiting.delete(id);
    over.set(id, true);
    round.open.delete(id);
    wish(round, 'always');
    decided(round, answer);
  }

  return {
    get open() {
      return waiting.size;
    },
    ask(round, id) {
      if (typeof id !== 'string' || over.has(id) || waiting.has(id)) return;
      const deny = () => end(round, id, disapproval(id));
      if (!mayBeApproved() || waiting.size >= most) {
        deny();
        return;
      }
      round.open.set(id, null);
      waiting.set(id, { round, stop: clock.at(patienceMs, deny) });
    },
    isDecided: (id) => over.has(id),
    decide(id) {
      const found = waiting.get(id);
      if (!found) return false;
      found.stop();
      end(found.round, id, null);
      return true;
    },
    close() {
      for (const { stop } of waiting.values()) stop();
      waiting.clear();
    },
  };
}

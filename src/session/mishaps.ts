/** What becomes of what goes wrong in a session: the client is told, or the session ends, with its true cause. */

import { type ExitId, exitOfUpstreamClose, exits, RelayError } from '../errors.js';
import type { Initiator, Odd } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Ending } from './ending.js';
import type { Front } from './front.js';
import { createOddities, oddityOf } from './oddities.js';
import type { Facts } from './overdue.js';
import type { Reached } from './reach.js';

/** What failures need of their session. */
interface FailurePorts {
  readonly metrics: Pick<Metrics, 'odd'>;
  readonly front: Pick<Front, 'refuse'>;
  state(): Facts['state'] | 'closed';
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
}

/** The failures of one session. */
export interface Failures {
  /** Something went wrong on the way from `initiator`. */
  came(error: unknown, initiator: Initiator): void;
  /** Upstream was not reached. */
  unreached(error: unknown): void;
  /** Upstream sent what is no event. */
  odd(odd: Odd, cause?: RelayError): void;
  /** Whatever the other nets did not catch. */
  unforeseen(cause: unknown): void;
  /** Upstream's leg is gone. */
  upstreamClosed(reached: Reached, closeCode: number, reason: string): void;
}

/** Makes them. */
export function createFailures(ports: FailurePorts): Failures {
  return new SessionFailures(ports);
}

class SessionFailures implements Failures {
  readonly #ports: FailurePorts;
  readonly #isTooOdd: (odd: Odd) => boolean;

  constructor(ports: FailurePorts) {
    this.#ports = ports;
    this.#isTooOdd = createOddities((odd) => ports.metrics.odd(odd));
  }

  came(error: unknown, initiator: Initiator): void {
    const known = RelayError.from(error);
    const what = initiator === 'upstream' ? oddityOf(known) : null;
    if (what !== null) this.odd(what, known);
    else if (known.isBearable) {
      this.#ports.front.refuse({ code: known.id, message: known.message, param: null, eventId: null });
    } else this.#end(known, initiator);
  }

  unreached(error: unknown): void {
    this.#end(RelayError.from(error), 'upstream');
  }

  odd(what: Odd, cause?: RelayError): void {
    const { state, end } = this.#ports;
    // One that has not even begun well is not waited for.
    if (!this.#isTooOdd(what) && state() !== 'configuring') return;
    end('upstream_failed', 'upstream', { message: 'The upstream sent something that is not a Realtime event.', cause });
  }

  unforeseen(cause: unknown): void {
    this.#ports.end('internal', 'relay', { message: exits.internal.meaning, cause });
  }

  upstreamClosed({ shared }: Reached, closeCode: number, reason: string): void {
    const { state, end } = this.#ports;
    const exit = exitOfUpstreamClose(closeCode, reason);
    // A call may be over before it has begun, when the browser gives up; that is nobody's failure.
    const isOver = exit === 'normal' && shared !== null;
    // A goodbye before there was a session leaves the client with nothing to be content with.
    const id = exit === 'normal' && !isOver && state() === 'configuring' ? 'upstream_lost' : exit;
    const cause = new Error(`upstream closed with ${closeCode} ${reason}`.trim());
    end(id, 'upstream', { closeCode, ...(!isOver && { cause }) });
  }

  #end({ id, message, cause, retryAfterMs }: RelayError, initiator: Initiator): void {
    this.#ports.end(id, initiatorOf(id) ?? initiator, { message, cause, retryAfterMs });
  }
}

/** Who is the cause of an end of this kind, whichever way it came; undefined where that makes the difference. */
function initiatorOf(id: ExitId): Initiator | undefined {
  if (id === 'internal' || id === 'overloaded') return 'relay';
  if (id === 'bad_event' || id === 'forbidden') return 'client';
  return id.startsWith('upstream_') ? 'upstream' : undefined;
}

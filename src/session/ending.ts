/** How a session ends, as it is told to whoever ends it and to whoever writes it down. */

import type { ExitId } from '../errors.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Pipe } from './pipe.js';

/** Details of an end that not every end has. */
export interface Ending {
  readonly message?: string | undefined;
  readonly cause?: unknown;
  /** What upstream had to do when its time was over. */
  readonly phase?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  /** The close code the peer sent, for the log. */
  readonly closeCode?: number;
}

/** An end, and what was before it. */
export interface Ended extends Ending {
  readonly id: ExitId;
  readonly initiator: Initiator;
  readonly up: Pipe;
  /** Undefined where there was no upstream. */
  readonly down: Pipe | undefined;
  readonly refusals: number;
  /** Whether upstream had yet to run what was imposed. */
  readonly wasConfiguring: boolean;
}

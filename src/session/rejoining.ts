/**
 * A call whose leg beside it is lost: the browser and upstream talk on, so the relay comes back to it by its id and imposes the
 * profile again. Only where it cannot is the call hung up.
 */

import type { Admission } from '../admission/admission.js';
import type { Cancel, Clock } from '../clock.js';
import { type ExitId, RelayError } from '../errors.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Ending } from './ending.js';
import type { Reached } from './reach.js';

/** What rejoining needs of its session. */
interface RejoiningPorts {
  readonly admission: Admission;
  readonly clock: Clock;
  readonly chronicle: Pick<Chronicle, 'dialed' | 'noted' | 'unsettled'>;
  current(): Attachment | null;
  isOpen(): boolean;
  /** Makes what was reached the leg of the session, and imposes on it; `ready` is called when upstream runs that. */
  take(reached: Reached, ready: () => void): void;
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
}

/** A sideband that breaks again and again is of no use. */
const most = 3;
const mostWithinMs = 60_000;

export class Rejoining {
  readonly #ports: RejoiningPorts;
  #reaching: AbortController | null = null;
  #unconfigured: Cancel | null = null;
  #isOver = false;
  #times: number[] = [];

  constructor(ports: RejoiningPorts) {
    this.#ports = ports;
  }

  /** Takes an end by upstream for that of the leg only; false where it is the call's. */
  takes(id: ExitId, ending: Ending): boolean {
    const again = this.#ports.current()?.reached.again;
    if (this.#isOver || !again || !this.#ports.isOpen()) return false;
    if (this.#reaching) return true;
    const now = performance.now();
    this.#times = [...this.#times, now].filter((at) => at > now - mostWithinMs);
    if (id !== 'upstream_lost' || this.#times.length > most) return false;
    void this.#rejoin(again, id, ending, now);
    return true;
  }

  async #rejoin(again: NonNullable<Reached['again']>, id: ExitId, ending: Ending, lostAt: number): Promise<void> {
    const { admission, chronicle, clock, current, isOpen, take, end } = this.#ports;
    const { signal } = this.#start();
    chronicle.noted({ reason: id }, 'call.lost');
    current()?.reached.leg.terminate();
    try {
      const reached = await again({ admission, session: {}, signal, onDial: chronicle.dialed });
      if (!isOpen()) {
        reached.leg.terminate();
        return;
      }
      // What upstream has said meanwhile is not known, and may have cost something.
      chronicle.unsettled();
      this.#reaching = null;
      this.#unconfigured = clock.at(admission.limits.configure_seconds * 1000, () =>
        end('upstream_configuration_failed', 'upstream', { phase: 'configuration' }),
      );
      take(reached, () => this.#unconfigured?.());
      chronicle.noted({ seconds: (performance.now() - lostAt) / 1000 }, 'call.rejoined');
    } catch (error) {
      this.#isOver = true;
      end(id, 'upstream', { ...ending, cause: RelayError.from(error).cause ?? ending.cause });
    }
  }

  #start(): AbortController {
    this.#reaching = new AbortController();
    return this.#reaching;
  }

  /** The session is over. */
  close(): void {
    this.#isOver = true;
    this.#unconfigured?.();
    this.#reaching?.abort();
  }
}

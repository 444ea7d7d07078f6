/** What a session does with what its legs tell it. */

import type { ExitId, RelayError } from '../errors.js';
import type { Hold, LegEvents } from '../legs/leg.js';
import type { RealtimeEvent, Refusal } from '../protocol/event.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Ending } from './ending.js';
import type { Front } from './front.js';
import type { Failures } from './mishaps.js';
import type { Pipe } from './pipe.js';

/** What hearing needs of its session. */
export interface HearingPorts {
  readonly metrics: Pick<Metrics, 'held'>;
  readonly up: Pipe;
  readonly front: Pick<Front, 'refuse'>;
  readonly chronicle: Pick<Chronicle, 'unanswered'>;
  readonly failures: Failures;
  attachment(): Attachment | null;
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
}

/** For the client's leg. */
export function fromClient(ports: HearingPorts): LegEvents {
  return new ClientHearing(ports);
}

class ClientHearing implements LegEvents {
  readonly #ports: HearingPorts;
  readonly #up: Pipe;

  constructor(ports: HearingPorts) {
    this.#ports = ports;
    this.#up = ports.up;
  }

  event(event: RealtimeEvent, bytes: number, arrivedMs: number): void {
    this.#up.push(event, bytes, arrivedMs);
  }

  unreadable(error: unknown, bytes: number, arrivedMs: number): void {
    this.#up.wasted(bytes, arrivedMs);
    this.#ports.failures.came(error, 'client');
  }

  untranslated(refusal: Refusal | null, bytes: number, arrivedMs: number): void {
    this.#up.wasted(bytes, arrivedMs);
    if (refusal) this.#ports.front.refuse(refusal);
  }

  binary(): void {
    this.#ports.end('unsupported_data', 'client', { message: 'Events are JSON in text frames, not binary.' });
  }

  closed(closeCode: number): void {
    this.#up.flush();
    this.#ports.end('normal', 'client', { closeCode });
  }

  drained(): void {
    this.#ports.attachment()?.down.drained();
  }

  unanswered(): void {
    this.#ports.chronicle.unanswered();
  }

  violated({ id, message }: RelayError, closeCode: number): void {
    this.#ports.end(id, 'client', { message, closeCode });
  }

  failed(error: unknown): void {
    this.#ports.failures.unforeseen(error);
  }

  released(why: Hold, seconds: number): void {
    this.#ports.metrics.held(why, seconds);
    this.#up.released();
  }
}

/** For the leg of an attachment. One that the session has replaced only settles: whatever becomes of it ends nothing else. */
export function fromUpstream(mine: Attachment, ports: HearingPorts): LegEvents {
  return new UpstreamHearing(mine, ports);
}

class UpstreamHearing implements LegEvents {
  readonly #mine: Attachment;
  readonly #down: Pipe;
  readonly #ports: HearingPorts;

  constructor(mine: Attachment, ports: HearingPorts) {
    this.#mine = mine;
    this.#down = mine.down;
    this.#ports = ports;
  }

  event(event: RealtimeEvent, bytes: number, arrivedMs: number): void {
    this.#down.push(event, bytes, arrivedMs);
  }

  unreadable(error: unknown, bytes: number, arrivedMs: number): void {
    this.#down.wasted(bytes, arrivedMs);
    this.#ended(({ failures }) => failures.came(error, 'upstream'));
  }

  untranslated(_: Refusal | null, bytes: number, arrivedMs: number): void {
    this.#down.wasted(bytes, arrivedMs);
  }

  binary(): void {
    this.#ended(({ failures }) => failures.odd('binary'));
  }

  closed(code: number, reason: string): void {
    this.#ended(({ failures }) => failures.upstreamClosed(this.#mine.reached, code, reason));
  }

  drained(): void {
    this.#ports.up.drained();
  }

  violated({ id, message }: RelayError, closeCode: number): void {
    this.#ended(({ end }) => end(id, 'upstream', { message, closeCode }));
  }

  failed(error: unknown): void {
    this.#ended(({ failures }) => failures.unforeseen(error));
  }

  released(why: Hold, seconds: number): void {
    this.#ports.metrics.held(why, seconds);
  }

  #ended(then: (ports: HearingPorts) => void): void {
    if (this.#ports.attachment() === this.#mine) then(this.#ports);
    else this.#mine.finish();
  }
}

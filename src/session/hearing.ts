/** What a session does with what its legs tell it. */

import type { ExitId } from '../errors.js';
import type { LegEvents } from '../legs/leg.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Attachment } from './attachment.js';
import type { Chronicle, Ending } from './chronicle.js';
import type { Failures } from './failures.js';
import type { Front } from './front.js';
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
export function fromClient({ metrics, up, front, chronicle, failures, attachment, end }: HearingPorts): LegEvents {
  return {
    event: (event, bytes, arrivedMs) => up.push(event, bytes, arrivedMs),
    unreadable(error, bytes, arrivedMs) {
      up.wasted(bytes, arrivedMs);
      failures.came(error, 'client');
    },
    untranslated(refusal, bytes, arrivedMs) {
      up.wasted(bytes, arrivedMs);
      if (refusal) front.refuse(refusal);
    },
    binary: () => end('unsupported_data', 'client', { message: 'Events are JSON in text frames, not binary.' }),
    closed(closeCode) {
      up.flush();
      end('normal', 'client', { closeCode });
    },
    drained: () => attachment()?.down.drained(),
    unanswered: () => chronicle.unanswered(),
    violated: ({ id, message }, closeCode) => end(id, 'client', { message, closeCode }),
    failed: (error) => failures.unforeseen(error),
    released(why, seconds) {
      metrics.held(why, seconds);
      up.released();
    },
  };
}

/** For the leg of an attachment. One that the session has replaced only settles: whatever becomes of it ends nothing else. */
export function fromUpstream(mine: Attachment, ports: HearingPorts): LegEvents {
  const { metrics, up, failures, attachment, end } = ports;
  const { reached, down } = mine;
  const ended = (then: () => void): void => {
    if (attachment() === mine) then();
    else mine.finish();
  };
  return {
    event: (event, bytes, arrivedMs) => down.push(event, bytes, arrivedMs),
    unreadable(error, bytes, arrivedMs) {
      down.wasted(bytes, arrivedMs);
      ended(() => failures.came(error, 'upstream'));
    },
    untranslated: (_, bytes, arrivedMs) => down.wasted(bytes, arrivedMs),
    binary: () => ended(() => failures.odd('binary')),
    closed: (code, reason) => ended(() => failures.upstreamClosed(reached, code, reason)),
    drained: () => up.drained(),
    violated: ({ id, message }, closeCode) => ended(() => end(id, 'upstream', { message, closeCode })),
    failed: (error) => ended(() => failures.unforeseen(error)),
    released: (why, seconds) => metrics.held(why, seconds),
  };
}

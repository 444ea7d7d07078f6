/** What continuity needs of its session. */

import type { Admission } from '../../admission/admission.js';
import type { Clock } from '../../clock.js';
import type { ExitId } from '../../errors.js';
import type { Leg } from '../../legs/leg.js';
import type { JsonObject } from '../../protocol/event.js';
import type { Initiator } from '../../telemetry/labels.js';
import type { Metrics } from '../../telemetry/metrics.js';
import type { Asks } from '../asks.js';
import type { Attachment } from '../attachment.js';
import type { Chronicle } from '../chronicle.js';
import type { Ending } from '../ending.js';
import type { Front } from '../front.js';
import type { Reach, Reached } from '../reach.js';
import type { Settlements } from '../settlement.js';

export interface ContinuityPorts {
  readonly admission: Admission;
  readonly client: Leg;
  readonly reach: Reach;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'replaced' | 'replayedText'>;
  readonly front: Pick<Front, 'imposed' | 'notify'>;
  readonly chronicle: Pick<Chronicle, 'dialed' | 'lost' | 'replaced' | 'unsettled'>;
  readonly asks: Asks;
  readonly settlements: Settlements;
  isOpen(): boolean;
  /** Makes a leg that is not the session's own yet. */
  attach(reached: Reached, ready: (session: JsonObject) => void, failed: (error: unknown) => void): Attachment;
  listen(attachment: Attachment): void;
  /** Makes it the session's own, between these steps. */
  become(attachment: Attachment): void;
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
  /** Something threw that must not. */
  unforeseen(error: unknown): void;
}

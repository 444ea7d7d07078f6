/** Whether what is said in a session is written down, and what of it: what nobody heard was not said. */

import type { Clock } from '../clock.js';
import type { Leg } from '../legs/leg.js';
import type { Profile } from '../policy/profile.js';
import type { RealtimeEvent } from '../protocol/event.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Utterance } from '../telemetry/records.js';
import { Scribe } from './scribe.js';
import type { Taps } from './taps.js';

/** What a transcript is about. */
export interface ScribeSurroundings {
  readonly taps: Taps;
  readonly client: Leg | null;
  /** Whether an event of upstream is of what the client is not to hear. */
  isUnsaid(event: RealtimeEvent): boolean;
}

/** What is done with it. */
interface ScribingPorts {
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'untranscribed'>;
  wallOf(at: number): number;
  said(utterance: Utterance): void;
}

/** Sets a scribe to it; null where nobody is told what is said. */
export function createScribe(
  { transcripts }: Pick<Profile, 'transcripts'>,
  { taps, client, isUnsaid }: ScribeSurroundings,
  { clock, metrics, wallOf, said }: ScribingPorts,
): Scribe | null {
  const { webhook, log, sideband, include } = transcripts;
  if (!webhook && !log && !sideband) return null;
  const scribe = new Scribe({
    clock,
    include,
    wallOf,
    whenRead: (done) => client?.whenRead(done) === true,
    said,
    late: () => metrics.untranscribed('late'),
  });
  const { came, after, passed } = scribe.tap;
  taps.add({
    came(event) {
      if (!isUnsaid(event)) came?.(event);
    },
    ...(after && { after }),
    ...(passed && { passed }),
  });
  return scribe;
}

/** How the leg is reached that is to follow, and what it is told. */

import { randomUUID } from 'node:crypto';
import { relayPrefix, writesByExample } from '../../protocol/catalogue.js';
import { eventOf, type JsonObject } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import type { Memory } from './memory.js';
import { Mirror } from './mirror.js';
import { Next } from './next.js';
import type { ContinuityPorts } from './ports.js';
import { inSpeech, type SpokenPorts } from './spoken.js';

/** What differs between those of one session. */
interface Coming {
  /** Its number. */
  readonly leg: number;
  /** Whether somebody waits for it. */
  readonly isUrgent: boolean;
  /** The upstream of the leg before it. */
  readonly upstream: string | null;
  differs(session: JsonObject): string | undefined;
  looked(): void;
  failed(): void;
}

/** For each attempt where somebody waits. */
const urgentSeconds = 3;

/** Makes the next leg of a session. */
export function createNext(ports: ContinuityPorts, memory: Memory, coming: Coming): Next {
  const { admission, reach, clock, chronicle, front, attach, listen } = ports;
  const { continuity } = admission.profile;
  const { leg, isUrgent, upstream, differs, looked, failed } = coming;
  const within = (seconds: number) => (isUrgent ? Math.min(seconds, urgentSeconds) : seconds);
  return new Next({
    clock,
    configureMs: within(admission.limits.configure_seconds) * 1000,
    reach: (signal) =>
      reach({
        ...{ admission, session: front.imposed.session, signal, onDial: chronicle.dialed },
        requestId: randomUUID(),
        avoid: isUrgent ? upstream : null,
        dialSeconds: within(admission.limits.dial_seconds),
        secondDialMs: continuity.second_dial_ms,
      }),
    ...{ attach, listen, differs, looked, failed },
    mirror: ({ reached }, settled) =>
      new Mirror(leg, {
        send: (body) => reached.leg.send(eventOf(body)),
        soundOf: (id) => memory.microphone.soundOf(id),
        settled,
        anchor: continuity.re_anchor || null,
        isLabelled: continuity.replay === 'labelled' || writesByExample[reached.upstream.dialect],
      }),
    // Whether the model is to be silent is told like all else.
    imposed: () => ({
      session: front.imposed.whole(),
      version: 2 * front.imposed.version + Number(front.imposed.silence.isOn),
    }),
  });
}

/** What is done about a first answer that is written where it should be spoken. */
export function spokenOn({ attachment, mirror }: Next, { journal }: Memory, counted: () => void): SpokenPorts {
  const { leg } = attachment.reached;
  return {
    cancel: (id) => leg.send(eventOf({ type: family.up.cancel, event_id: `${relayPrefix}unspoken`, response_id: id })),
    hidden(done, response, items) {
      counted();
      attachment.meter.down(done);
      for (const id of items) mirror.drop(id);
      const body = inSpeech(journal.asked(response), `${relayPrefix}spoken`);
      attachment.meter.injected(body);
      leg.send(eventOf(body));
    },
  };
}

/** Renewal in band: the client of a session sends another token, so that the session outlives the one it came with. */

import type { Admission } from '../admission/admission.js';
import { RelayError } from '../errors.js';
import { clientEventId } from '../policy/end-user.js';
import { objectOf, type Refusal, type Step } from '../protocol/event.js';
import type { Metrics } from '../telemetry/metrics.js';

/** What a renewal needs of its session. */
interface RenewalPorts {
  readonly admission: Pick<Admission, 'authenticate'>;
  readonly metrics: Pick<Metrics, 'traffic'>;
  refuse(refusal: Refusal): void;
  /** The session is the new token's. */
  renewed(): void;
}

const type = 'relay.authenticate';
/** Each attempt may cost a look at a signature. */
const everyMs = 1000;

/** The step that takes tokens out of what the client sends, before anybody else can see them. */
export function createRenewal({ admission, metrics, refuse, renewed }: RenewalPorts): Step {
  let triedAt = Number.NEGATIVE_INFINITY;
  let isTrying = false;

  async function attempt(token: unknown, eventId: string | null): Promise<void> {
    const fail = (message: string) => {
      metrics.traffic.up.event(type, 'refuse');
      refuse({ code: 'renewal_refused', message, param: null, eventId });
    };
    const now = performance.now();
    if (isTrying || now - triedAt < everyMs) {
      fail('At most one token a second is looked at; the session goes on as before.');
      return;
    }
    triedAt = now;
    isTrying = true;
    try {
      await admission.authenticate(token);
      metrics.traffic.up.event(type, 'answer');
      renewed();
    } catch (error) {
      fail(RelayError.from(error).message);
    } finally {
      isTrying = false;
    }
  }

  return (event) => {
    if (event.type !== type) return event;
    const { token, event_id } = objectOf(event.body);
    void attempt(token, clientEventId(event_id));
    return null;
  };
}

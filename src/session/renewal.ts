/** Renewal in band: the client of a session sends another token, so that the session outlives the one it came with. */

import type { Bearer } from '../admission/bearer.js';
import { RelayError } from '../errors.js';
import { clientEventId } from '../policy/end-user.js';
import { objectOf, type Refusal, type Step } from '../protocol/event.js';

/** What a renewal needs of its session. */
interface RenewalPorts {
  readonly bearer: Pick<Bearer, 'authenticate'>;
  /** Told of each token, whether it was taken. */
  decided(decision: 'answer' | 'refuse'): void;
  refuse(refusal: Refusal): void;
  /** The session is the new token's. */
  renewed(): void;
}

/** The event that brings a token. */
export const authenticateType = 'relay.authenticate';
/** Each attempt may cost a look at a signature. */
const everyMs = 1000;

/** The step that takes tokens out of what the client sends, before anybody else can see them. */
export function createRenewal({ bearer, decided, refuse, renewed }: RenewalPorts): Step {
  let triedAt = Number.NEGATIVE_INFINITY;
  let isTrying = false;

  async function attempt(token: unknown, eventId: string | null): Promise<void> {
    const fail = (message: string) => {
      decided('refuse');
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
      await bearer.authenticate(token);
      decided('answer');
      renewed();
    } catch (error) {
      fail(RelayError.from(error).message);
    } finally {
      isTrying = false;
    }
  }

  return (event) => {
    if (event.type !== authenticateType) return event;
    const { token, event_id } = objectOf(event.body);
    void attempt(token, clientEventId(event_id));
    return null;
  };
}

/**
 * What happens to an event between the legs of a session: two lists of steps for each way, in order. They are what the product
 * does.
 */

import type { Policy } from '../policy/policy.js';
import type { Step } from '../protocol/event.js';
import { isFarewell } from '../protocol/family.js';
import type { Runner } from '../tools/runner.js';
import type { Attachment } from './attachment.js';
import type { Guard } from './guard.js';
import type { Interruption } from './interruption.js';
import type { Limits } from './limits.js';
import type { Takeover } from './takeover.js';
import type { Taps } from './taps.js';

/** What every session has. */
export interface Parts {
  readonly attachment: Attachment;
  readonly taps: Taps;
  /** Sees what tools are called; null where there are none. */
  readonly tools: Runner | null;
  /** Takes the tokens with which a client goes on; null for one that may not. */
  readonly renewal: Step | null;
  /** Keeps away what the client is not to hear. */
  readonly takeover: Pick<Takeover, 'down'>;
  /** Looks whether upstream says that the session's time is up. */
  readonly expiry: Step;
}

/** The steps of each direction. */
export interface Lists {
  readonly up: readonly Step[];
  readonly down: readonly Step[];
}

/** Of a session whose client talks through the relay. */
export function relayed(parts: Parts & { limits: Limits; policy: Policy; interruption: Interruption }): Lists {
  const { attachment, taps, tools, limits, policy, interruption, renewal, takeover, expiry } = parts;
  const { asks, meter, configuring, see, asking } = attachment;
  return {
    up: [
      ...(renewal ? [renewal] : []),
      taps.step('sent'),
      limits.responses,
      policy.up,
      interruption.up,
      asks.up,
      meter.up,
      ...(tools ? [tools.up] : []),
      taps.step('passed'),
    ],
    down: [
      taps.step('came'),
      interruption.down,
      configuring,
      expiry,
      see,
      takeover.down,
      ...(tools ? [tools.down] : []),
      asking,
      taps.step('before'),
      policy.down,
      taps.step('after'),
    ],
  };
}

/** Of a session whose client talks to upstream, and the relay sits beside. */
export function beside({
  attachment,
  taps,
  tools,
  takeover,
  heed,
  guard,
  expiry,
}: Parts & { heed: Step; guard: Guard }): Lists {
  const { configuring, see, asking } = attachment;
  return {
    up: [],
    down: [
      taps.step('came'),
      configuring,
      expiry,
      see,
      heed,
      takeover.down,
      ...(tools ? [tools.down] : []),
      asking,
      taps.step('before'),
      guard.step,
    ],
  };
}

/** Upstream's own notice that the session's time is up becomes our end, with our close code. */
export function createExpiry(end: () => void): Step {
  return (event) => {
    if (!isFarewell(event)) return event;
    end();
    return null;
  };
}

/** What waits in a session, and takes memory of the instance. */

import type { Leg } from '../legs/leg.js';

/** Bytes, by the direction they travel. */
export interface Buffered {
  readonly up: number;
  readonly down: number;
}

/** What waits at both legs; `passing` waits between them, and `kept` is there for another connection of the client. */
export function bufferedOf(client: Leg | null, upstream: Leg | null, passing: number, kept = 0): Buffered {
  return {
    up: (upstream?.bufferedBytes ?? 0) + (client ? client.begunBytes + client.waitingBytes : 0) + passing,
    down: (client?.bufferedBytes ?? 0) + kept + (upstream ? upstream.begunBytes + upstream.waitingBytes : 0),
  };
}

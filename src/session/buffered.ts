/** What waits in a session, and takes memory of the instance. */

import type { Leg } from '../legs/leg.js';

/** Bytes, by the direction they travel. */
export interface Buffered {
  readonly up: number;
  readonly down: number;
}

/** What waits at both legs; `passing` waits between them. */
export function bufferedOf(client: Leg | null, upstream: Leg | null, passing: number): Buffered {
  return {
    up: (upstream?.bufferedBytes ?? 0) + (client ? client.begunBytes + client.waitingBytes : 0) + passing,
    down: (client?.bufferedBytes ?? 0) + (upstream ? upstream.begunBytes + upstream.waitingBytes : 0),
  };
}

/** What the leg of one connection is made with. */

import type { Reader } from '../protocol/read.js';
import type { Heartbeats } from './liveness.js';
import type { Recorder } from './sending.js';

/** What a leg must know of its connection. */
export interface PeerOptions {
  /** Makes events of what comes. */
  readonly read: Reader;
  /** Unsent bytes at which it is full. As many may wait unread while it is held. */
  readonly bufferBytes: number;
  /** Whether we are the client of this connection. */
  readonly masked: boolean;
  /** The largest message that is taken; `ws` has been told the same. */
  readonly messageBytes: number;
  /** Whether speech waits here until the peer has read what was sent before. */
  readonly hasWindow?: boolean;
  readonly heartbeat: Heartbeats;
  /** Keeps what is sent, for another connection to the same peer. */
  readonly recorder?: Recorder;
}

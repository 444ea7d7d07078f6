/** What a session and its leg know of each other. */

import type { Hold } from './inbox.js';

/** What a leg tells its session. */
export interface LegHandlers {
  /** A text message came; `framed` when it still stands in its frame, in which the other leg may `forward` it. */
  message(bytes: Buffer, framed: boolean): void;
  /** A binary frame came; events are text frames. */
  binary(): void;
  /** The connection is gone or of no more use. Called once. */
  closed(code: number, reason: string): void;
  /** What was waiting to be written has fallen to half the limit. */
  drained(): void;
  /**
   * A peer sent too many control frames, or a client broke RFC 6455 or its size limit: its connection is being closed with
   * this code. Gives the reason to close it with.
   */
  violated(code: number): string;
  /** The peer answers no pings, so that nobody can know how much of what was sent it has read. Called once at most. */
  unanswered?(): void;
  /** One of these, or what was put off for later, threw. The connection is of no more use. */
  failed(error: unknown): void;
  /** A reason to hold has fallen, after so many seconds. */
  released(why: Hold, seconds: number): void;
}

/** What a leg must know of its connection. */
export interface LegOptions {
  /** Unsent bytes at which `full` turns true; `drained` is called at half of it. As many may wait unread while it is held. */
  readonly bufferBytes: number;
  /** Whether we are the client of this connection. */
  readonly masked: boolean;
  /** The largest message that is taken; `ws` has been told the same. */
  readonly messageBytes: number;
  /** Whether speech waits here until the peer has read what was sent before. */
  readonly hasWindow?: boolean;
}

/** How a connection stands, and what its owner is told of it. */

import type { OpenTransport, RealtimeEvent, TransportHandlers } from './transport.js';

/**
 * `connecting` lasts until the session has begun; `waiting` is the pause before another attempt. `resuming`: the connection is
 * lost, and the session is being gone on with over another one.
 */
export type State = 'idle' | 'connecting' | 'open' | 'waiting' | 'resuming';

/** Something that went wrong: an event was refused, upstream complained, or the session ended. */
export interface Problem {
  /**
   * An id of the table of exits, the code of an `error` event, or why an answer failed or is incomplete; or the client's own:
   * `unusable_address`, `unreachable`, `unusable_token`, `no_token`, `no_microphone`, `no_sound`, `unknown_format`, `not_sent`,
   * `call_interrupted`, `webrtc_not_offered`.
   */
  readonly code: string;
  readonly message: string;
  /** Whether it ended the session. */
  readonly isFinal: boolean;
  /** The answer that failed or is incomplete, where it is about one. */
  readonly responseId?: string;
}

export interface ConnectionOptions {
  /** Address of the relay, such as `https://relay.example`. */
  readonly url: string;
  /**
   * The user's token, or a client secret. Asked for before every connection, and while one lives when its token is about to
   * run out; `isRefused` is true when the last one was not accepted or ran out: the same one again ends it.
   */
  readonly token: (isRefused: boolean) => string | Promise<string>;
  readonly transport: OpenTransport;
}

/** What a connection tells its owner. */
export interface ConnectionHandlers extends Required<Omit<TransportHandlers, 'ended' | 'opened' | 'troubled'>> {
  /** The session's first event, before the state is `open` and before it is received as all others are. */
  began?(event: RealtimeEvent): void;
  became(state: State, retryInMs?: number): void;
  failed(problem: Problem): void;
  /** Nothing of the session is left: what belonged to it must be forgotten. */
  lost(): void;
}

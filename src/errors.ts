/**
 * Every way a session ends or is refused. This table is the only place that knows close codes and status numbers;
 * PROTOCOL.md repeats it for client developers.
 */

/** One way out: what the socket, the HTTP refusal and the client's retry logic need to know. */
export interface Exit {
  /** WebSocket close code (RFC 6455 section 7.4 and the IANA registry). */
  readonly close: number;
  /** HTTP status when the session is refused before the upgrade; null when that cannot happen. */
  readonly http: number | null;
  /** What the client should do next. */
  readonly retry: 'stop' | 'reconnect' | 'reconnect_now' | 'wait' | 'after_new_token';
  /** Whether an `error` event with this id precedes the close frame. */
  readonly announced: boolean;
  readonly meaning: string;
}

export const exits = {
  normal: { close: 1000, http: null, retry: 'stop', announced: false, meaning: 'Either side finished.' },
  idle_timeout: { close: 1000, http: 408, retry: 'stop', announced: false, meaning: 'No events for the idle limit.' },
  session_expired: {
    close: 1001,
    http: null,
    retry: 'reconnect',
    announced: true,
    meaning: 'The session reached its maximum length.',
  },
  draining: {
    close: 1012,
    http: 503,
    retry: 'reconnect_now',
    announced: false,
    meaning: 'The relay is shutting down.',
  },
  unsupported_data: {
    close: 1003,
    http: null,
    retry: 'stop',
    announced: true,
    meaning: 'A binary frame was sent; events are text frames.',
  },
  bad_event: {
    close: 1007,
    http: 400,
    retry: 'stop',
    announced: true,
    meaning: 'An event was not JSON, not an object or ambiguous, or too many events were refused.',
  },
  too_big: { close: 1009, http: 413, retry: 'stop', announced: true, meaning: 'An event was over the size limit.' },
  unauthorized: {
    close: 1008,
    http: 401,
    retry: 'after_new_token',
    announced: true,
    meaning: 'The credential is missing or not valid.',
  },
  token_expired: {
    close: 1008,
    http: 401,
    retry: 'after_new_token',
    announced: true,
    meaning: 'The credential ran out.',
  },
  revoked: {
    close: 1008,
    http: 401,
    retry: 'after_new_token',
    announced: true,
    meaning: 'The credential was withdrawn.',
  },
  forbidden: {
    close: 1008,
    http: 403,
    retry: 'stop',
    announced: true,
    meaning: 'The origin, profile, model or scope is not allowed.',
  },
  quota_exceeded: {
    close: 1008,
    http: 429,
    retry: 'stop',
    announced: true,
    meaning: 'The budget of tokens, minutes or money is spent.',
  },
  rate_limited: { close: 1013, http: 429, retry: 'wait', announced: true, meaning: 'Too many sessions or events.' },
  overloaded: { close: 1013, http: 503, retry: 'wait', announced: true, meaning: 'This instance is full.' },
  slow_consumer: { close: 1013, http: null, retry: 'wait', announced: true, meaning: 'The client stopped reading.' },
  upstream_unavailable: {
    close: 1013,
    http: 503,
    retry: 'wait',
    announced: true,
    meaning: 'No upstream accepts sessions at the moment.',
  },
  upstream_failed: {
    close: 1011,
    http: 502,
    retry: 'reconnect',
    announced: true,
    meaning: 'The upstream refused the session.',
  },
  upstream_lost: {
    close: 1011,
    http: 502,
    retry: 'reconnect',
    announced: true,
    meaning: 'The connection to the upstream died.',
  },
  upstream_timeout: {
    close: 1011,
    http: 504,
    retry: 'reconnect',
    announced: true,
    meaning: 'The upstream did not answer in time.',
  },
  upstream_configuration_failed: {
    close: 1011,
    http: 502,
    retry: 'reconnect',
    announced: true,
    meaning: 'The upstream did not accept the session configuration.',
  },
  internal: { close: 1011, http: 500, retry: 'reconnect', announced: true, meaning: 'A fault in the relay.' },
} as const satisfies Record<string, Exit>;

/** The machine-readable name of an exit: the same word for the client, the log and the metrics. */
export type ExitId = keyof typeof exits;

/** All exit ids, for closed metric label sets. */
export const exitIds = Object.keys(exits) as ExitId[];

/** Whether the client should try again by itself. */
export function isRetryable(id: ExitId): boolean {
  const { retry } = exits[id];
  return retry === 'reconnect' || retry === 'reconnect_now' || retry === 'wait';
}

/** Something a peer should learn: `message` is public and goes to the client, `cause` is only logged. */
export class RelayError extends Error {
  readonly id: ExitId;
  /** How long the client should wait before it tries again, in milliseconds, when that is known. */
  readonly retryAfterMs: number | undefined;

  constructor(id: ExitId, message: string, options: { cause?: unknown; retryAfterMs?: number | undefined } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RelayError';
    this.id = id;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whatever was thrown, as a RelayError; anything unforeseen becomes `internal` and its text stays in the cause. */
  static from(error: unknown): RelayError {
    if (error instanceof RelayError) return error;
    return new RelayError('internal', 'The relay failed to handle this request.', { cause: error });
  }
}

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
  client_lost: {
    close: 1001,
    http: null,
    retry: 'reconnect',
    announced: false,
    meaning: 'Nothing was heard of the client for too long.',
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
    meaning: 'An event was not a JSON object, or too many events were refused.',
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
  ended_by_backend: {
    close: 1008,
    http: null,
    retry: 'stop',
    announced: true,
    meaning: 'A backend of the app ended the session.',
  },
  superseded: { close: 1008, http: null, retry: 'stop', announced: true, meaning: 'A newer connection goes on.' },
  resume_refused: { close: 1008, http: 409, retry: 'stop', announced: true, meaning: 'The session cannot go on.' },
  forbidden: {
    close: 1008,
    http: 403,
    retry: 'stop',
    announced: true,
    meaning: 'The origin, profile, model or scope is not allowed.',
  },
  not_found: {
    close: 1008,
    http: 404,
    retry: 'stop',
    announced: true,
    meaning: 'There is nothing at this path, or not any more.',
  },
  quota_exceeded: {
    close: 1008,
    http: 429,
    retry: 'stop',
    announced: true,
    meaning: 'The budget of tokens, minutes or money is spent.',
  },
  rate_limited: {
    close: 1013,
    http: 429,
    retry: 'wait',
    announced: true,
    meaning: 'Too many sessions, or too many requests for a response.',
  },
  overloaded: { close: 1013, http: 503, retry: 'wait', announced: true, meaning: 'This instance is full.' },
  store_unavailable: {
    close: 1013,
    http: 503,
    retry: 'wait',
    announced: true,
    meaning: 'The state shared with other replicas is out of reach.',
  },
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

/** Whether what a peer names is an exit; what every object has, such as `toString`, is none. */
export function isExitId(name: unknown): name is ExitId {
  return typeof name === 'string' && Object.hasOwn(exits, name);
}

/** Whether the client should try again by itself. */
export function isRetryable(id: ExitId): boolean {
  const { retry } = exits[id];
  return retry === 'reconnect' || retry === 'reconnect_now' || retry === 'wait';
}

interface RelayErrorOptions {
  readonly cause?: unknown;
  readonly retryAfterMs?: number | undefined;
  readonly isBearable?: boolean;
}

/** Something a peer should learn: `message` is public and goes to the client, `cause` is only logged. */
export class RelayError extends Error {
  readonly id: ExitId;
  /** How long the client should wait before it tries again, in milliseconds, when that is known. */
  readonly retryAfterMs: number | undefined;
  /** Whether only one event is at fault, without which the session can go on. */
  readonly isBearable: boolean;

  constructor(id: ExitId, message: string, options: RelayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RelayError';
    this.id = id;
    this.retryAfterMs = options.retryAfterMs;
    this.isBearable = options.isBearable ?? false;
  }

  /** Whatever was thrown, as a RelayError; anything unforeseen becomes `internal` and its text stays in the cause. */
  static from(error: unknown): RelayError {
    if (error instanceof RelayError) return error;
    return new RelayError('internal', 'The relay failed to handle this request.', { cause: error });
  }
}

/** The `error` object of an `error` event or of an HTTP body, in the shape OpenAI's clients read. */
export interface ErrorBody {
  readonly type: string;
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  readonly retryable: boolean;
  readonly retry_after_ms?: number;
}

/** What a peer may know of an error: never its cause. */
export function errorBody(error: RelayError): ErrorBody {
  return {
    type: errorType(exits[error.id].http ?? exits[error.id].close),
    code: error.id,
    message: error.message,
    param: null,
    retryable: isRetryable(error.id),
    ...(error.retryAfterMs !== undefined && { retry_after_ms: Math.ceil(error.retryAfterMs) }),
  };
}

function errorType(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429 || status === 1013) return 'rate_limit_error';
  return status === 1011 || (status >= 500 && status < 600) ? 'server_error' : 'invalid_request_error';
}

/** A refusal as plain HTTP: what a door answers when no session comes to be. */
export interface HttpRefusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: object };
}

/** An error as an HTTP answer; `Retry-After` (seconds) where the client should wait. */
export function httpRefusal(error: RelayError): HttpRefusal {
  const status = exits[error.id].http ?? 400;
  return {
    status,
    headers: {
      ...(status === 401 && { 'WWW-Authenticate': 'Bearer' }),
      ...(error.retryAfterMs !== undefined && { 'Retry-After': String(Math.ceil(error.retryAfterMs / 1000)) }),
    },
    body: { error: errorBody(error) },
  };
}

/** The answer to a request for which there is no route; no session is meant, so it is not looked up in the exits. */
export function notServed(status: 404 | 405 | 426, message: string): HttpRefusal {
  const code = { 404: 'not_found', 405: 'method_not_allowed', 426: 'upgrade_required' }[status];
  return { ...faulty(code, message, null), status, headers: status === 426 ? { Upgrade: 'websocket' } : {} };
}

/** The answer to a request of which one part is at fault, which `param` names. */
export function faulty(
  code: string,
  message: string,
  param: string | null,
  status = 400,
  retryable = false,
): HttpRefusal {
  return { status, headers: {}, body: { error: { type: 'invalid_request_error', code, message, param, retryable } } };
}

/**
 * How a session ends when upstream closes. 3000 and 4000 are the service's codes for a credential and a request it does
 * not take; everything else that is not a goodbye, 1006 (no close frame) included, is a lost connection.
 */
export function exitOfUpstreamClose(code: number, reason: string): ExitId {
  if (code === 1000) return 'normal';
  if (code === 1001 && /maximum duration/i.test(reason)) return 'session_expired';
  return code === 3000 || code === 4000 ? 'upstream_failed' : 'upstream_lost';
}

/** RFC 6455 section 7.4.1, policy violation: what `ws` says of too many fragments, and the relay of too many control frames. */
export const tooManyFrames = 1008;

/** How a session ends when a peer breaks RFC 6455 or its size limit, and its connection is closed with this code for it. */
export function violationOf(code: number, by: 'client' | 'upstream', mostBytes = 0): RelayError {
  // All else of upstream's is a matter of its library's, which reports a lost connection.
  if (by === 'upstream') return new RelayError('upstream_failed', 'The upstream sent too many pings and pongs.');
  if (code === exits.too_big.close) return new RelayError('too_big', `An event was larger than ${mostBytes} bytes.`);
  const fault =
    code === tooManyFrames
      ? 'There were too many fragments of an event, or too many pings and pongs.'
      : 'What was sent is not valid WebSocket or not valid UTF-8 (RFC 6455).';
  return new RelayError('bad_event', fault);
}

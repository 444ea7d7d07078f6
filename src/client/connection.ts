/** Gets connected and stays so, as far as the relay's table of exits allows. */

import { nextAfter } from './retry.js';
import {
  type OpenTransport,
  problemOf,
  type RealtimeEvent,
  type Transport,
  type TransportEnd,
  type TransportHandlers,
} from './transport.js';

/** `connecting` lasts until the session has begun; `waiting` is the pause before another attempt. */
export type State = 'idle' | 'connecting' | 'open' | 'waiting';

/** Something that went wrong: an event was refused, upstream complained, or the session ended. */
export interface Problem {
  /**
   * An id of the table of exits or the code of an `error` event; or the client's own: `unreachable`, `unusable_token`,
   * `no_token`, `no_microphone`, `no_sound`, `webrtc_not_offered`.
   */
  readonly code: string;
  readonly message: string;
  /** Whether it ended the session. */
  readonly isFinal: boolean;
}

export interface ConnectionOptions {
  /** Address of the relay, such as `https://relay.example`. */
  readonly url: string;
  /**
   * The user's token, or a client secret. Asked for before every connection; `isRefused` is true when the last one was
   * not accepted or ran out: the same one again ends it.
   */
  readonly token: (isRefused: boolean) => string | Promise<string>;
  readonly transport: OpenTransport;
}

/** What a connection tells its owner. */
export interface ConnectionHandlers extends Required<Omit<TransportHandlers, 'ended' | 'opened'>> {
  became(state: State, retryInMs?: number): void;
  failed(problem: Problem): void;
  /** Nothing of the session is left: what belonged to it must be forgotten. */
  lost(): void;
}

/** A session that lived this long has worked, so that the next attempt is a first one again. */
const provenMs = 10_000;

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  #state: State = 'idle';
  /** The open connection, or the one being opened; what comes late from an earlier one is not for anybody. */
  #transport: Transport | null = null;
  #epoch = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #openedAt = 0;
  #hasWorked = false;
  #tokenIsRefused = false;
  #token = '';
  #announced: { code: string; retryAfterMs: number | undefined } | null = null;

  constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.#options = options;
    this.#handlers = handlers;
  }

  get state(): State {
    return this.#state;
  }

  get transport(): Transport | null {
    return this.#transport;
  }

  start(): void {
    this.#attempt = 0;
    this.#hasWorked = false;
    this.#tokenIsRefused = false;
    void this.#open();
  }

  stop(): void {
    this.#epoch++;
    clearTimeout(this.#timer);
    const transport = this.#transport;
    this.#transport = null;
    if (this.#state === 'idle') return;
    this.#handlers.lost();
    this.#become('idle');
    transport?.close();
  }

  async #open(): Promise<void> {
    const epoch = ++this.#epoch;
    const hadNewToken = this.#tokenIsRefused;
    this.#announced = null;
    this.#become('connecting');
    let token: string;
    try {
      token = (await this.#options.token(hadNewToken)).trim();
    } catch (error) {
      if (epoch !== this.#epoch) return;
      this.#fail('no_token', error instanceof Error ? error.message : String(error));
      this.stop();
      return;
    }
    if (epoch !== this.#epoch) return;
    const problem = problemOf(token);
    if (problem) {
      this.#fail('unusable_token', problem);
      this.stop();
      return;
    }
    if (hadNewToken && token === this.#token) {
      // There is no other token: what was wrong with this one has been told.
      this.stop();
      return;
    }
    this.#token = token;
    this.#transport = this.#options.transport(this.#options.url, token, {
      opened: () => {
        if (epoch === this.#epoch) this.#opened();
      },
      received: (event) => {
        if (epoch === this.#epoch) this.#receive(event);
      },
      ended: (end) => {
        if (epoch === this.#epoch) this.#ended(end, hadNewToken);
      },
      heard: (stream) => {
        if (epoch === this.#epoch) this.#handlers.heard(stream);
      },
    });
  }

  #opened(): void {
    if (this.#state !== 'connecting') return;
    this.#openedAt = performance.now();
    this.#hasWorked = true;
    this.#tokenIsRefused = false;
    this.#become('open');
  }

  #receive(event: RealtimeEvent): void {
    if (event.type === 'session.created') this.#opened();
    this.#handlers.received(event);
    if (event.type !== 'error') return;
    // An error with `retryable` is the relay's announcement of the end; all others leave the session open.
    type Announced = { code?: string | null; message?: string; retryable?: boolean; retry_after_ms?: number };
    const { code, message = '', retryable, retry_after_ms } = event.error as Announced;
    if (retryable !== undefined) this.#announced = { code: code ?? '', retryAfterMs: retry_after_ms };
    // A cancel that crossed the end of the answer has done what it should.
    if (code === 'response_cancel_not_active') return;
    this.#handlers.failed({ code: code ?? 'error', message, isFinal: retryable !== undefined });
  }

  #ended({ code, reason, message, retryAfterMs }: TransportEnd, hadNewToken: boolean): void {
    const isProven = this.#state === 'open' && performance.now() - this.#openedAt > provenMs;
    const id = reason || this.#announced?.code || '';
    this.#epoch++;
    this.#transport = null;
    this.#attempt = isProven ? 1 : this.#attempt + 1;
    const next = nextAfter({
      code,
      id,
      retryAfterMs: retryAfterMs ?? this.#announced?.retryAfterMs,
      attempt: this.#attempt,
      hasWorked: this.#hasWorked,
      hadNewToken: hadNewToken && !isProven,
    });
    this.#tokenIsRefused = ['unauthorized', 'token_expired', 'revoked'].includes(id);
    this.#handlers.lost();
    if (!this.#announced && id !== 'normal') {
      const broken = this.#hasWorked ? 'The connection broke.' : 'The relay cannot be reached, or refuses this page.';
      this.#fail(id || 'unreachable', message ?? (id ? 'The session has ended.' : broken));
    }
    if (next.kind === 'stop') {
      this.#become('idle');
      return;
    }
    this.#become('waiting', next.afterMs);
    this.#timer = setTimeout(() => void this.#open(), next.afterMs);
  }

  #become(state: State, retryInMs?: number): void {
    this.#state = state;
    this.#handlers.became(state, retryInMs);
  }

  #fail(code: string, message: string): void {
    this.#handlers.failed({ code, message, isFinal: true });
  }
}

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

/** Longer than a relay takes to open a session, or to say that it cannot. */
const openingMs = 60_000;
/** A session that lived this long has worked, so that the next attempt is a first one again. */
const provenMs = 10_000;

const broken: TransportEnd = { code: 1006, reason: '' };

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** One session after another, as long as there is to be one. */
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
  /** What a session was asked to go on with, until it says that it does. */
  #nextToken = '';
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
      const given: unknown = await this.#options.token(hadNewToken);
      token = typeof given === 'string' ? given.trim() : '';
    } catch (error) {
      if (epoch !== this.#epoch) return;
      const message = messageOf(error);
      // A page that has worked, and now cannot even ask its own server, is off the network: it comes back as any other.
      if (!this.#hasWorked || !(error instanceof TypeError)) this.#giveUp('no_token', message);
      else {
        this.#ended({ ...broken, message }, hadNewToken, 'no_token');
        this.#tokenIsRefused = hadNewToken;
      }
      return;
    }
    if (epoch !== this.#epoch) return;
    const problem = problemOf(token);
    if (problem) {
      this.#giveUp('unusable_token', problem);
      return;
    }
    if (hadNewToken && token === this.#token) {
      // There is no other token: what was wrong with this one has been told.
      this.stop();
      return;
    }
    this.#token = token;
    const ended = (end: TransportEnd) => {
      if (epoch === this.#epoch) this.#ended(end, hadNewToken);
    };
    try {
      const transport = this.#options.transport(this.#options.url, token, {
        opened: () => {
          if (epoch === this.#epoch) this.#opened();
        },
        received: (event) => {
          if (epoch === this.#epoch) this.#receive(event);
        },
        ended,
        troubled: (code, message) => {
          if (epoch === this.#epoch) this.#handlers.failed({ code, message, isFinal: false });
        },
        heard: (stream) => {
          if (epoch === this.#epoch) this.#handlers.heard(stream);
        },
      });
      if (epoch !== this.#epoch) {
        transport.close();
        return;
      }
      this.#transport = transport;
    } catch (error) {
      if (epoch === this.#epoch) this.#giveUp('unusable_address', messageOf(error));
      return;
    }
    if (this.#state !== 'connecting') return;
    this.#timer = setTimeout(() => {
      const transport = this.#transport;
      ended({ ...broken, message: 'No session began within a minute.' });
      transport?.close();
    }, openingMs);
  }

  #opened(): void {
    if (this.#state !== 'connecting') return;
    clearTimeout(this.#timer);
    this.#openedAt = performance.now();
    this.#hasWorked = true;
    this.#tokenIsRefused = false;
    this.#become('open');
  }

  #receive(event: RealtimeEvent): void {
    if (event.type === 'session.created') {
      this.#handlers.began?.(event);
      this.#opened();
    }
    this.#handlers.received(event);
    if (event.type === 'relay.session_expiring' && event.reason === 'token_expired') void this.#renew(this.#epoch);
    if (event.type === 'relay.authenticated') this.#token = this.#nextToken;
    if (event.type !== 'error') return;
    // An error with `retryable` is the relay's announcement of the end; all others leave the session open.
    type Announced = { code?: string | null; message?: string; retryable?: boolean; retry_after_ms?: number };
    const { code, message = '', retryable, retry_after_ms } = event.error as Announced;
    if (retryable !== undefined) this.#announced = { code: code ?? '', retryAfterMs: retry_after_ms };
    // A cancel that crossed the end of the answer has done what it should.
    if (code === 'response_cancel_not_active') return;
    this.#handlers.failed({ code: code ?? 'error', message, isFinal: retryable !== undefined });
  }

  /** Goes on with another token. Where there is none the session ends when it would have, and is begun anew. */
  async #renew(epoch: number): Promise<void> {
    try {
      const given: unknown = await this.#options.token(false);
      const token = typeof given === 'string' ? given.trim() : '';
      const problem = problemOf(token);
      if (epoch !== this.#epoch) return;
      if (problem) this.#handlers.failed({ code: 'unusable_token', message: problem, isFinal: false });
      else {
        this.#nextToken = token;
        this.#transport?.send({ type: 'relay.authenticate', token });
      }
    } catch (error) {
      if (epoch === this.#epoch) this.#handlers.failed({ code: 'no_token', message: messageOf(error), isFinal: false });
    }
  }

  #ended({ code, reason, message, retryAfterMs }: TransportEnd, hadNewToken: boolean, problem = 'unreachable'): void {
    clearTimeout(this.#timer);
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
      const how = this.#hasWorked ? 'The connection broke.' : 'The relay cannot be reached, or refuses this page.';
      this.#fail(id || problem, message ?? (id ? 'The session has ended.' : how));
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

  #giveUp(code: string, message: string): void {
    this.#fail(code, message);
    this.stop();
  }

  #fail(code: string, message: string): void {
    this.#handlers.failed({ code, message, isFinal: true });
  }
}

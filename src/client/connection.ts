/** Gets connected and stays so, as far as the relay's table of exits allows. */

import { exits, isExitId } from '../errors.js';
import { Lifeline } from './lifeline.js';
import { nextAfter } from './retry.js';
import type { ConnectionHandlers, ConnectionOptions, State } from './states.js';
import {
  problemOf,
  type RealtimeEvent,
  type Transport,
  type TransportEnd,
  type TransportHandlers,
} from './transport.js';

/** Longer than a relay takes to open a session, or to say that it cannot. */
const openingMs = 60_000;
/** Long enough for a network that is there; one that was only just found again may swallow the first try. */
const resumingMs = 5000;
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
  readonly #lifeline = new Lifeline((end) => {
    this.#transport?.abandon?.();
    this.#ended(end, false);
  });
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

  /** Sends an event that holds so much sound, or keeps it for when the session goes on. */
  send(event: RealtimeEvent, ms = 0): void {
    if (this.#state === 'open' || this.#state === 'resuming') this.#lifeline.send(event, ms);
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
    this.#letGo();
    if (this.#state === 'idle') return;
    this.#handlers.lost();
    this.#become('idle');
    transport?.close();
  }

  async #open(): Promise<void> {
    const epoch = ++this.#epoch;
    const hadNewToken = this.#tokenIsRefused;
    this.#announced = null;
    const { shown } = this.#lifeline;
    if (!shown) {
      this.#lifeline.begin();
      this.#become('connecting');
    }
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
      const handlers: TransportHandlers = {
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
      };
      const transport = this.#options.transport(this.#options.url, token, handlers, shown);
      if (epoch !== this.#epoch) {
        transport.close();
        return;
      }
      this.#transport = transport;
    } catch (error) {
      if (epoch === this.#epoch) this.#giveUp('unusable_address', messageOf(error));
      return;
    }
    if (this.#state !== 'connecting' && this.#state !== 'resuming') return;
    this.#timer = setTimeout(
      () => {
        const transport = this.#transport;
        ended({ ...broken, message: 'No session began within a minute.' });
        if (shown && transport?.abandon) transport.abandon();
        else transport?.close();
      },
      shown ? resumingMs : openingMs,
    );
  }

  #opened(): void {
    if (this.#state !== 'connecting') return;
    clearTimeout(this.#timer);
    this.#openedAt = performance.now();
    this.#hasWorked = true;
    this.#tokenIsRefused = false;
    if (this.#transport) this.#lifeline.hold(this.#transport);
    this.#become('open');
  }

  /** The session goes on: nothing of it is forgotten. */
  #resumed(event: RealtimeEvent): void {
    clearTimeout(this.#timer);
    this.#tokenIsRefused = false;
    if (this.#transport) this.#lifeline.resumed(event, this.#transport);
    this.#become('open');
    this.#handlers.received(event);
  }

  /** Another session has begun in place of the one that was to go on. */
  #beganAnew(): void {
    this.#handlers.lost();
    this.#lifeline.begin();
    this.#become('connecting');
  }

  #letGo(): void {
    this.#transport = null;
    this.#lifeline.release();
  }

  #receive(event: RealtimeEvent): void {
    if (event.type === 'relay.resumed') {
      this.#resumed(event);
      return;
    }
    if (event.type === 'session.created' && this.#state === 'resuming') this.#beganAnew();
    this.#lifeline.came(event);
    if (event.type === 'relay.ack') return;
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
        this.send({ type: 'relay.authenticate', token });
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
    this.#letGo();
    if (this.#goesOn(code, id, retryAfterMs ?? this.#announced?.retryAfterMs)) return;
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

  /** Whether the session is still there and is being gone on with: its connection has broken, or could not be made just now. */
  #goesOn(code: number, id: string, retryAfterMs = 0): boolean {
    if (this.#state !== 'open' && this.#state !== 'resuming') return false;
    const isOver = code === 1000 || (isExitId(id) && !['wait', 'after_new_token'].includes(exits[id].retry));
    // The end of the session itself is no end of a connection.
    const pause = isOver || (this.#state === 'open' && isExitId(id)) ? null : this.#lifeline.pauseMs();
    if (pause === null) {
      this.#lifeline.begin();
      return false;
    }
    this.#tokenIsRefused = isExitId(id) && exits[id].retry === 'after_new_token';
    if (this.#state === 'open') this.#become('resuming');
    this.#timer = setTimeout(() => void this.#open(), Math.max(pause, retryAfterMs));
    return true;
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

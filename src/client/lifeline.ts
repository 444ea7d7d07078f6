/** Holds on to a session while its connections come and go. */

import { type Shown, Thread } from './thread.js';
import type { RealtimeEvent, Transport, TransportEnd } from './transport.js';

/** Attempts to go on with a session: at once, then with growing pauses, of which each is a little different. */
const firstPauseMs = 250;
const longestPauseMs = 4000;
const beatMs = 1000;

export class Lifeline {
  #thread = new Thread();
  #transport: Transport | null = null;
  #beat: ReturnType<typeof setInterval> | undefined;
  /** Until when the relay waits; null while there is a connection. */
  #until: number | null = null;
  #attempts = 0;
  readonly #broke: (end: TransportEnd) => void;

  /** @param broke told when nothing is heard of a connection any more that should be */
  constructor(broke: (end: TransportEnd) => void) {
    this.#broke = broke;
  }

  /** What the session is gone on with; null while nothing has to be, or can. */
  get shown(): Shown | null {
    return this.#until === null ? null : this.#thread.shown;
  }

  /** A session begins that has nothing to do with any before. */
  begin(): void {
    this.#thread = new Thread();
    this.#until = null;
    this.#attempts = 0;
  }

  /** A connection carries the session from now on. */
  hold(transport: Transport): void {
    this.#transport = transport;
    this.#until = null;
    this.#attempts = 0;
    clearInterval(this.#beat);
    if (!transport.carriesAudio) this.#beat = setInterval(() => this.#look(), beatMs);
  }

  /** There is no connection any more. */
  release(): void {
    clearInterval(this.#beat);
    this.#transport = null;
  }

  #look(): void {
    const count = this.#thread.count();
    if (count) this.send(count, 0);
    if (this.#thread.isSilent) this.#broke({ code: 1006, reason: '', message: 'The relay is not heard any more.' });
  }

  came(event: RealtimeEvent): void {
    this.#thread.came(event);
  }

  /** Sends an event that holds so much sound, or keeps it until there is a connection. */
  send(event: RealtimeEvent, ms: number): void {
    if (this.#transport?.carriesAudio !== true) this.#thread.keep(event, ms, this.#transport !== null);
    this.#transport?.send(event);
  }

  /** The relay goes on with the session over this connection. */
  resumed(event: RealtimeEvent, transport: Transport): void {
    for (const one of this.#thread.resumed(event)) transport.send(one);
    this.hold(transport);
  }

  /** How long to wait before the next attempt to go on; null when there is to be none. */
  pauseMs(random: () => number = Math.random): number | null {
    const now = performance.now();
    const { shown, windowMs } = this.#thread;
    this.#until ??= now + windowMs;
    if (!shown || now >= this.#until) return null;
    const attempt = this.#attempts++;
    if (attempt === 0) return 0;
    const most = Math.min(longestPauseMs, firstPauseMs * 2 ** (attempt - 1));
    return Math.min(most * (0.5 + random() / 2), this.#until - now);
  }
}

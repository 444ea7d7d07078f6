/**
 * How much may be on its way to a client. What was handed to the system cannot be taken back, and its buffers hold half a
 * minute of speech for a slow link; so what a client has read is known by its pongs, and speech waits here for them.
 */

import { Pings } from './pings.js';

const kilobyte = 1024;
/** Never less than this is let out: at first, for a reader who was found quick, and for one who was found slow. */
const least = { normal: 128 * kilobyte, quick: 256 * kilobyte, slow: 48 * kilobyte } as const;
/** In flight behind a quick answer that proves a quick reader, and in flight behind a late one that proves a slow one. */
const proof = { quick: 64 * kilobyte, slow: 48 * kilobyte } as const;
/** Speech at nearly twice its pace, in bytes a millisecond: a window of less would be the limit itself. */
const leastPace = (80 * kilobyte) / 1000;
/** An answer may be so much later than the quickest one before it says that something is in its way. */
const slackMs = 250;
const slowMs = 60_000;
const quickMs = 5000;
/** Who is heard but has answered no ping for so long does not answer pings. */
const answersMs = 2000;

/** Bytes that were acknowledged up to a moment. */
interface Mark {
  readonly at: number;
  readonly acknowledged: number;
}

/** The window of one connection; all times are monotonic, in milliseconds. */
export class Window {
  readonly #pings = new Pings();
  #sent = 0;
  #acknowledged = 0;
  #size: number = least.normal;
  /** When so much has been sent, a ping is due. */
  #nextPing = 0;
  /** The shortest time to an answer. */
  #trip = Number.POSITIVE_INFINITY;
  #firstPingAt = Number.POSITIVE_INFINITY;
  #lastPingAt = Number.NEGATIVE_INFINITY;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #isQuick = false;
  #slowUntil = Number.NEGATIVE_INFINITY;
  /** The acknowledgements of the last span, and the one before them. */
  #recent: Mark[] = [{ at: Number.NEGATIVE_INFINITY, acknowledged: 0 }];

  /** Bytes that were sent. */
  get handed(): number {
    return this.#sent;
  }

  /** Bytes that the peer has read, as far as it is known. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Whether the peer has ever answered a ping. */
  get isAnswered(): boolean {
    return this.#trip !== Number.POSITIVE_INFINITY;
  }

  /** Whether speech has to wait. */
  get isShut(): boolean {
    return this.#sent - this.#acknowledged >= this.#size;
  }

  /** Counts bytes that were sent; true when a ping has to follow them. */
  sent(bytes: number): boolean {
    this.#sent += bytes;
    return this.#sent >= this.#nextPing;
  }

  /** Whether no answer that is to come can open the window, because no ping is on its way behind what shuts it. */
  get needsPing(): boolean {
    return this.isShut && this.#pings.last === undefined;
  }

  /** The payload of a ping that is sent now. */
  ask(now: number): Buffer {
    if (now - this.#lastPingAt > quickMs) this.#isQuick = false;
    this.#lastPingAt = now;
    this.#firstPingAt = Math.min(this.#firstPingAt, now);
    const token = this.#pings.ask(this.#sent, now, this.#sent - this.#acknowledged);
    this.#resize(now);
    this.#nextPing = this.#sent + this.#step(now);
    return token;
  }

  /** Takes a pong; false when it answers no ping of ours. */
  answer(pong: Buffer, now: number): boolean {
    const ping = this.#pings.answered(pong);
    if (ping === null) return false;
    const took = now - ping.at;
    this.#trip = Math.min(this.#trip, took);
    if (took <= this.#span) {
      if (ping.ahead >= proof.quick) this.#isQuick = true;
    } else if (this.#sent - ping.mark >= proof.slow) this.#slowUntil = now + slowMs;
    this.#acknowledged = ping.mark;
    this.#recent.push({ at: now, acknowledged: ping.mark });
    this.#resize(now);
    this.#nextPing = Math.min(this.#nextPing, (this.#pings.last?.mark ?? ping.mark) + this.#step(now));
    return true;
  }

  /**
   * To be called about once a second; `heard` when anything has come since the last time. True once, when it shows that the
   * peer, or something in between, answers no pings: then nothing waits until one is answered.
   */
  look(now: number, heard: boolean): boolean {
    const before = this.#lookedAt;
    this.#lookedAt = now;
    if (this.isAnswered) {
      this.#resize(now);
      return false;
    }
    const isMute = heard && before >= this.#firstPingAt && now - this.#firstPingAt >= answersMs;
    if (!isMute || this.#size === Number.POSITIVE_INFINITY) return false;
    this.#size = Number.POSITIVE_INFINITY;
    return true;
  }

  get #span(): number {
    return this.#trip + slackMs;
  }

  #step(now: number): number {
    const size = this.#size === Number.POSITIVE_INFINITY ? least.normal : this.#size;
    return size / (now < this.#slowUntil ? 4 : 2);
  }

  #resize(now: number): void {
    if (!this.isAnswered) return;
    const since = now - this.#span;
    while ((this.#recent[1]?.at ?? Number.POSITIVE_INFINITY) <= since) this.#recent.shift();
    const flow = this.#acknowledged - (this.#recent[0] as Mark).acknowledged;
    const atLeast = now < this.#slowUntil ? least.slow : this.#isQuick ? least.quick : least.normal;
    this.#size = Math.max(atLeast, leastPace * this.#span, flow);
  }
}

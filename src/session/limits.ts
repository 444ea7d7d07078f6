/** How fast a client may send: what comes faster is held, never refused, but for requests for a response. */

import { audioBytesUp } from '../protocol/audio.js';
import type { RealtimeEvent, Refusal, Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';

/** Rates of a profile; audio is measured against real time. */
export interface Rates {
  readonly events_per_second: number;
  readonly events_burst: number;
  readonly responses_per_second: number;
  readonly responses_burst: number;
  readonly audio_realtime_factor: number;
  readonly audio_burst_seconds: number;
}

/** The rates of one session's client. */
export interface Limits {
  /**
   * For how many milliseconds this event has to wait; 0 when it may pass, and is counted then. One that comes when its
   * rate is not used up passes whole, however much more it is.
   */
  waitMs(event: RealtimeEvent, bytes: number, nowMs: number): number;
  /** Counts bytes that were read and are no event; the next one has to wait for so many milliseconds. */
  wasted(bytes: number, nowMs: number): number;
  /** A step that refuses requests for a response over their rate: who waits for an answer must not get a late one. */
  readonly responses: Step;
}

/** Regains `perSecond` units up to `most`. Who takes may overdraw; the next one waits until that is made up for. */
class Bucket {
  #level: number;
  #at: number;
  constructor(
    readonly perSecond: number,
    level: number,
    readonly most: number,
    nowMs: number,
  ) {
    this.#level = level;
    this.#at = nowMs;
  }

  /** Milliseconds until there is so much to take; 0: now. */
  waitMs(needed: number, nowMs: number): number {
    this.#level = Math.min(this.most, this.#level + ((nowMs - this.#at) / 1000) * this.perSecond);
    this.#at = nowMs;
    return this.#level >= needed ? 0 : Math.ceil(((needed - this.#level) / this.perSecond) * 1000) + grainMs;
  }

  take(amount: number): void {
    this.#level -= amount;
  }
}

/** Who is held is held for a moment at least: a timer for each event would cost more than the event. */
const grainMs = 10;
/** A page that sends each AudioWorklet quantum sends 187 a second; a profile may allow more events than this, but not fewer of sound. */
const leastAudioEvents = 1000;
/** What a client did not say so far it may say at once, but no more than this. */
const audioCreditSeconds = 600;
/** What there must be before an event of sound that is larger may overdraw. */
const leastAudioSeconds = 0.1;
/** Bytes that have to be parsed. */
const slowBytesPerSecond = 512 * 1024;
const slowBurstBytes = 2 * 1024 * 1024;
const leastSlowBytes = 16 * 1024;

/** Bytes a second of 24 kHz mono PCM16 and of 8 kHz G.711. */
const pcmRate = 48_000;
const g711Rate = 8_000;

/** The bytes of one second of audio in a session's input or output format. */
export function bytesPerSecond(format: unknown): number {
  const type = (format as { type?: unknown } | null | undefined)?.type;
  return type === 'audio/pcmu' || type === 'audio/pcma' ? g711Rate : pcmRate;
}

/**
 * Makes the limits of a session that begins now.
 * @param inputRate gives the bytes of one second of input audio, which depends on the session's format
 */
export function createLimits(
  rates: Rates,
  inputRate: () => number,
  refuse: (refusal: Refusal) => void,
  now: () => number = () => performance.now(),
): Limits {
  const start = now();
  const bucket = (perSecond: number, burst: number, most = burst) => new Bucket(perSecond, burst, most, start);
  const { audio_burst_seconds: burst } = rates;
  const audio = bucket(rates.audio_realtime_factor, burst, Math.max(burst, audioCreditSeconds));
  const audioEvents = bucket(
    Math.max(leastAudioEvents, rates.events_per_second),
    Math.max(leastAudioEvents, rates.events_burst),
  );
  const events = bucket(rates.events_per_second, rates.events_burst);
  const slow = bucket(slowBytesPerSecond, slowBurstBytes);
  const responses = bucket(rates.responses_per_second, rates.responses_burst);

  return {
    waitMs(event, bytes, nowMs) {
      const isSlow = event.raw === null;
      const seconds = audioBytesUp(event) / inputRate();
      const counted = event.type === family.up.audio ? audioEvents : events;
      let wait = counted.waitMs(1, nowMs);
      if (seconds > 0) wait = Math.max(wait, audio.waitMs(Math.min(seconds, leastAudioSeconds), nowMs));
      if (isSlow) wait = Math.max(wait, slow.waitMs(Math.min(bytes, leastSlowBytes), nowMs));
      if (wait > 0) return wait;
      counted.take(1);
      audio.take(seconds);
      if (isSlow) slow.take(bytes);
      return 0;
    },
    wasted(bytes, nowMs) {
      events.take(1);
      slow.take(bytes);
      return Math.max(events.waitMs(1, nowMs), slow.waitMs(leastSlowBytes, nowMs));
    },
    responses(event) {
      if (event.type !== family.up.ask) return event;
      if (responses.waitMs(1, now()) > 0) {
        const id = event.body?.event_id;
        refuse({
          code: 'rate_limited',
          message: `Too many responses: at most ${rates.responses_per_second} a second on average.`,
          param: null,
          eventId: typeof id === 'string' ? id : null,
        });
        return null;
      }
      responses.take(1);
      return event;
    },
  };
}

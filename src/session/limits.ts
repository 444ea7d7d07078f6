/** Budgets of one session against abuse: events, audio and responses per second. */

import { audioUp } from '../protocol/catalogue.js';
import type { RealtimeEvent, Refusal, Step } from '../protocol/event.js';

/** Rates of a profile; audio is measured against real time. */
export interface Rates {
  readonly events_per_second: number;
  readonly events_burst: number;
  readonly responses_per_second: number;
  readonly responses_burst: number;
  readonly audio_realtime_factor: number;
  readonly audio_burst_seconds: number;
}

/** Holds up to `burst` units and regains `perSecond` of them; empty at once is allowed, below zero is not. */
class Bucket {
  #level: number;
  #at: number;
  constructor(
    readonly perSecond: number,
    readonly burst: number,
    nowMs: number,
  ) {
    this.#level = burst;
    this.#at = nowMs;
  }
  take(amount: number, nowMs: number): boolean {
    this.#level = Math.min(this.burst, this.#level + ((nowMs - this.#at) / 1000) * this.perSecond);
    this.#at = nowMs;
    if (this.#level < amount) return false;
    this.#level -= amount;
    return true;
  }
}

/** Bytes a second of 24 kHz mono PCM16 and of 8 kHz G.711. */
const pcmRate = 48_000;
const g711Rate = 8_000;

/** The bytes of one second of audio in a session's input or output format. */
export function bytesPerSecond(format: unknown): number {
  const type = (format as { type?: unknown } | null | undefined)?.type;
  return type === 'audio/pcmu' || type === 'audio/pcma' ? g711Rate : pcmRate;
}

/** Decoded length of base64 audio in a parsed event; 0 when it is not a string. */
export function base64Bytes(value: unknown): number {
  return typeof value === 'string' ? Math.floor((value.length * 3) / 4) : 0;
}

/**
 * A step that refuses client events over the session's rates.
 * @param inputRate gives the bytes of one second of input audio, which depends on the session's format
 */
export function rateLimit(
  rates: Rates,
  inputRate: () => number,
  refuse: (refusal: Refusal) => void,
  now: () => number = () => performance.now(),
): Step {
  const start = now();
  const events = new Bucket(rates.events_per_second, rates.events_burst, start);
  const responses = new Bucket(rates.responses_per_second, rates.responses_burst, start);
  const audio = new Bucket(rates.audio_realtime_factor, rates.audio_burst_seconds, start);
  const over = (event: RealtimeEvent, message: string) => {
    const id = event.body?.event_id;
    refuse({ code: 'rate_limited', message, param: null, eventId: typeof id === 'string' ? id : null });
    return null;
  };

  return (event) => {
    const at = now();
    if (!events.take(1, at)) {
      return over(event, `Too many events: at most ${rates.events_per_second} a second on average.`);
    }
    if (event.type === audioUp) {
      const bytes = event.raw ? event.audioBytes : base64Bytes(event.body?.audio);
      if (!audio.take(bytes / inputRate(), at)) {
        return over(event, `Audio comes too fast: at most ${rates.audio_realtime_factor} times real time.`);
      }
    } else if (event.type === 'response.create' && !responses.take(1, at)) {
      return over(event, `Too many responses: at most ${rates.responses_per_second} a second on average.`);
    }
    return event;
  };
}

/** Counts what passes through one session: events, audio, tokens, turns, and the time to the first audio. */

import { audioBytesUp, base64Bytes } from '../protocol/audio.js';
import { type JsonObject, objectOf, type Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Origin } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type Usage, UsageSums } from '../telemetry/usage.js';
import { type CourseTotals, createCourse } from './course.js';
import { bytesPerSecond } from './limits.js';
import { createTurns, type Turns } from './pending.js';

/** Totals for the session's last log line. */
export interface Totals extends CourseTotals {
  readonly turns: number;
  readonly interruptions: number;
  readonly tokens: number;
  /** Null where sound does not pass the relay. */
  readonly audioSecondsUp: number | null;
  readonly audioSecondsDown: number | null;
}

export interface Meter {
  readonly up: Step;
  readonly down: Step;
  /** Takes note of the audio formats of the session as upstream runs it. */
  configured(session: JsonObject): void;
  /** Takes note of an event that the relay itself sends upstream. */
  injected(body: JsonObject): void;
  /** What upstream owes. */
  readonly turns: Turns;
  /** What upstream reported so far. */
  readonly usage: Readonly<Usage>;
  /** Bytes of one second of input audio in the session's current format. */
  inputRate(): number;
  totals(): Totals;
}

/** What a meter needs of its session. */
export interface MeterPorts {
  /** The upstream's name, for the rate-limit gauge. */
  upstream(): string;
  /** A response or a transcription is finished, and upstream reported so many tokens. */
  spent(tokens: number): void;
  /** Upstream could not put an utterance into words; told of the first one only. */
  untranscribed(code: string, model: string): void;
}

/** More events than the relay has on the way at a time. */
const injectionsKept = 64;
/** Codes of upstream's own trouble under any error type. Source: the Realtime API's documented error codes. */
const upstreamTrouble = new Set<unknown>([
  'rate_limit_exceeded',
  'insufficient_quota',
  'server_error',
  'internal_error',
]);

/** Makes the meter of one session. */
export function createMeter(metrics: Metrics, ports: MeterPorts): Meter {
  return new SessionMeter(metrics, ports);
}

class SessionMeter implements Meter {
  readonly metrics: Metrics;
  readonly ports: MeterPorts;
  readonly turns = createTurns();
  readonly ledger: UsageSums;
  readonly course = createCourse();
  #injections: readonly string[] = [];
  #askedAt = 0;
  #responses = 0;
  #interruptions = 0;
  #up = 0;
  #down = 0;
  #inputRate = bytesPerSecond(null);
  #outputRate = bytesPerSecond(null);
  #transcriber = '';
  #untranscribed = false;

  constructor(metrics: Metrics, ports: MeterPorts) {
    this.metrics = metrics;
    this.ports = ports;
    this.ledger = new UsageSums(metrics.tokens);
  }

  readonly up: Step = (event) => {
    const bytes = audioBytesUp(event);
    if (bytes > 0) {
      const seconds = bytes / this.#inputRate;
      this.#up += seconds;
      this.turns.isRecording = true;
      this.metrics.traffic.up.audioSeconds += seconds;
    }
    if (event.type === family.up.commit || event.type === family.up.ask) this.asked();
    if (event.body) this.turns.up(event.body);
    return event;
  };

  readonly down: Step = (event) => {
    if (event.type === family.down.audio) {
      if (this.#askedAt !== 0) this.firstAudio();
      const seconds = (event.raw ? event.audioBytes : base64Bytes(event.body?.delta)) / this.#outputRate;
      this.#down += seconds;
      this.metrics.traffic.down.audioSeconds += seconds;
    } else if (event.body) {
      this.turns.down(event.type, event.body);
      onDown.get(event.type)?.(this, event.body);
    }
    return event;
  };

  configured(session: JsonObject): void {
    const { input, output } = objectOf(session.audio);
    this.#inputRate = bytesPerSecond(objectOf(input).format);
    this.#outputRate = bytesPerSecond(objectOf(output).format);
    const { model } = objectOf(objectOf(input).transcription);
    this.#transcriber = typeof model === 'string' ? model.slice(0, 128) : '';
    this.turns.configured(session);
  }

  injected(body: JsonObject): void {
    this.turns.up(body);
    if (typeof body.event_id !== 'string') return;
    this.#injections = [...this.#injections.slice(1 - injectionsKept), body.event_id];
  }

  get usage(): Readonly<Usage> {
    return this.ledger.usage;
  }

  readonly inputRate = (): number => this.#inputRate;

  totals(): Totals {
    const { total_tokens, transcription_tokens } = this.usage;
    return {
      turns: this.#responses,
      interruptions: this.#interruptions,
      tokens: total_tokens + transcription_tokens,
      audioSecondsUp: round(this.#up),
      audioSecondsDown: round(this.#down),
      ...this.course.totals(),
    };
  }

  /** Starts the clock of `relay_first_audio_seconds`; the latest of speech end, commit and response.create counts. */
  asked(): void {
    this.#askedAt = performance.now();
  }

  begun(): void {
    if (this.#askedAt === 0) this.asked();
  }

  firstAudio(): void {
    if (this.#askedAt === 0) return;
    const waitedMs = performance.now() - this.#askedAt;
    this.metrics.firstAudio(waitedMs / 1000);
    this.course.firstAudio(waitedMs);
    this.#askedAt = 0;
  }

  done(response: JsonObject): void {
    this.#responses++;
    this.#askedAt = 0;
    this.ports.spent(this.ledger.response(response.usage));
    const details = objectOf(response.status_details);
    const interrupted = response.status === 'cancelled' && details.reason === 'turn_detected';
    this.course.answered(response.status, interrupted);
    if (interrupted) {
      this.#interruptions++;
      this.metrics.interrupted();
    }
    if (response.status === 'failed') {
      const { code } = objectOf(details.error);
      this.course.failed(code);
      this.metrics.upstreamError('upstream', String(code));
    }
  }

  untranscribed({ code }: JsonObject): void {
    const known = this.metrics.untranscribed(code);
    this.course.failed(code);
    if (this.#untranscribed) return;
    this.#untranscribed = true;
    this.ports.untranscribed(known, this.#transcriber);
  }

  /** Whose fault an error event is: that of whoever sent what it is about, unless upstream has trouble of its own. */
  originOf({ type, code, event_id }: JsonObject): Origin {
    if (type === 'server_error' || upstreamTrouble.has(code)) return 'upstream';
    return typeof event_id === 'string' && this.#injections.includes(event_id) ? 'relay' : 'client';
  }
}

const onDown: ReadonlyMap<string, (meter: SessionMeter, body: JsonObject) => void> = new Map([
  [family.down.configured, (meter: SessionMeter, body: JsonObject) => meter.configured(objectOf(body.session))],
  [family.down.speechEnded, (meter: SessionMeter) => meter.asked()],
  [family.down.answerBegun, (meter: SessionMeter) => meter.begun()],
  [family.down.answerEnded, (meter: SessionMeter, body: JsonObject) => meter.done(objectOf(body.response))],
  // Of a call, whose sound is not seen here.
  [family.down.playingBegun, (meter: SessionMeter) => meter.firstAudio()],
  [
    family.down.transcribed,
    ({ ports, ledger }: SessionMeter, body: JsonObject) => ports.spent(ledger.transcription(body.usage)),
  ],
  [family.down.untranscribed, (meter: SessionMeter, body: JsonObject) => meter.untranscribed(objectOf(body.error))],
  [
    family.down.rateLimits,
    ({ metrics, ports }: SessionMeter, body: JsonObject) => {
      for (const limit of Array.isArray(body.rate_limits) ? body.rate_limits : []) {
        const { name, remaining } = objectOf(limit);
        if ((name === 'requests' || name === 'tokens') && typeof remaining === 'number') {
          metrics.rateLimit(ports.upstream(), name, remaining);
        }
      }
    },
  ],
  [
    family.down.error,
    (meter: SessionMeter, body: JsonObject) => {
      const error = objectOf(body.error);
      meter.course.failed(error.code);
      meter.metrics.upstreamError(meter.originOf(error), String(error.code));
    },
  ],
]);

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

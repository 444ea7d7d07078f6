/** Counts what passes on one leg to upstream: audio, tokens, turns, and the time to the first audio. */

import { busyCode } from '../policy/faults.js';
import { audioBytesUp, base64Bytes } from '../protocol/audio.js';
import { type JsonObject, objectOf, type Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Origin } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Books } from './books.js';
import { bytesPerSecond } from './limits.js';
import { createTurns, type Turns } from './pending.js';

export interface Meter {
  readonly up: Step;
  readonly down: Step;
  /** Takes note of the audio formats of the session as upstream runs it. */
  configured(session: JsonObject): void;
  /** Takes note of an event that the relay itself sends upstream. */
  injected(body: JsonObject): void;
  /** What upstream owes. */
  readonly turns: Turns;
  /** Bytes of sound that the client has sent on this leg for its buffer. */
  readonly soundBytes: number;
  /** Bytes of one second of input audio in the session's current format. */
  inputRate(): number;
  /** The same of output audio. */
  outputRate(): number;
}

/** What a meter needs of its session. */
export interface MeterPorts {
  /** The upstream's name, for the rate-limit gauge. */
  upstream(): string;
  /** A response or a transcription is finished, and upstream reported so many tokens. */
  spent(tokens: number): void;
  /** Upstream could not put an utterance into words; told of the first one only. */
  untranscribed(code: string, model: string): void;
  /** Whether the call with this `call_id` is the server's to answer. */
  isServed(callId: unknown): boolean;
  /** Whether what the user waits for comes with a response after this one, which ends now. */
  goesOn(responseId: unknown): boolean;
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

/** Makes the meter of one leg, which writes into the books of its session. */
export function createMeter(books: Books, metrics: Metrics, ports: MeterPorts): Meter {
  return new LegMeter(books, metrics, ports);
}

class LegMeter implements Meter {
  readonly books: Books;
  readonly metrics: Metrics;
  readonly ports: MeterPorts;
  readonly turns: Turns;
  #injections: readonly string[] = [];
  soundBytes = 0;
  #askedAt = 0;
  #inputRate = bytesPerSecond(null);
  #outputRate = bytesPerSecond(null);
  #transcriber = '';

  constructor(books: Books, metrics: Metrics, ports: MeterPorts) {
    this.books = books;
    this.metrics = metrics;
    this.ports = ports;
    this.turns = createTurns((callId) => ports.isServed(callId));
  }

  readonly up: Step = (event) => {
    const bytes = audioBytesUp(event);
    if (bytes > 0) {
      const seconds = bytes / this.#inputRate;
      if (event.type === family.up.audio) this.soundBytes += bytes;
      this.books.audioSecondsUp += seconds;
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
      this.books.audioSecondsDown += seconds;
      this.metrics.traffic.down.audioSeconds += seconds;
    } else if (event.body) {
      // Before it is forgotten what was asked for.
      if (event.type === family.down.error) this.failed(objectOf(event.body.error));
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

  readonly inputRate = (): number => this.#inputRate;
  readonly outputRate = (): number => this.#outputRate;

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
    this.books.course.firstAudio(waitedMs);
    this.#askedAt = 0;
  }

  done(response: JsonObject): void {
    this.books.responses++;
    if (!this.ports.goesOn(response.id)) this.#askedAt = 0;
    this.ports.spent(this.books.ledger.response(response.usage));
    const details = objectOf(response.status_details);
    const interrupted = response.status === 'cancelled' && details.reason === 'turn_detected';
    this.books.course.answered(response.status, interrupted);
    if (interrupted) {
      this.books.interruptions++;
      this.metrics.interrupted();
    }
    if (response.status === 'failed') {
      const { code } = objectOf(details.error);
      this.books.course.failed(code);
      this.metrics.upstreamError('upstream', String(code));
    }
  }

  untranscribed({ code }: JsonObject): void {
    const known = this.metrics.untranscribed(code);
    this.books.course.failed(code);
    if (this.books.isUntranscribed) return;
    this.books.isUntranscribed = true;
    this.ports.untranscribed(known, this.#transcriber);
  }

  failed(error: JsonObject): void {
    this.books.course.failed(error.code);
    this.metrics.upstreamError(this.originOf(error), String(error.code));
  }

  /** Whose fault an error event is: that of whoever sent what it is about, unless upstream has trouble of its own. */
  originOf({ type, code, event_id }: JsonObject): Origin {
    if (type === 'server_error' || upstreamTrouble.has(code)) return 'upstream';
    const isOurs = (id: string) => this.#injections.includes(id);
    // Upstream that is busy does not always say for whom; while an ask of the relay's is unanswered, it is that one.
    if (typeof event_id !== 'string') return code === busyCode && this.turns.asked.some(isOurs) ? 'relay' : 'client';
    return isOurs(event_id) ? 'relay' : 'client';
  }
}

const onDown: ReadonlyMap<string, (meter: LegMeter, body: JsonObject) => void> = new Map([
  [family.down.configured, (meter: LegMeter, body: JsonObject) => meter.configured(objectOf(body.session))],
  [family.down.speechEnded, (meter: LegMeter) => meter.asked()],
  [family.down.answerBegun, (meter: LegMeter) => meter.begun()],
  [family.down.answerEnded, (meter: LegMeter, body: JsonObject) => meter.done(objectOf(body.response))],
  // Of a call, whose sound is not seen here.
  [family.down.playingBegun, (meter: LegMeter) => meter.firstAudio()],
  [
    family.down.transcribed,
    ({ ports, books }: LegMeter, body: JsonObject) => ports.spent(books.ledger.transcription(body.usage)),
  ],
  [family.down.untranscribed, (meter: LegMeter, body: JsonObject) => meter.untranscribed(objectOf(body.error))],
  [
    family.down.rateLimits,
    ({ metrics, ports }: LegMeter, body: JsonObject) => {
      for (const limit of Array.isArray(body.rate_limits) ? body.rate_limits : []) {
        const { name, remaining } = objectOf(limit);
        if ((name === 'requests' || name === 'tokens') && typeof remaining === 'number') {
          metrics.rateLimit(ports.upstream(), name, remaining);
        }
      }
    },
  ],
]);

/** Counts what passes through one session: events, audio, tokens, turns, and the time to the first audio. */

import { audioDown, audioUp } from '../protocol/catalogue.js';
import type { JsonObject, Step } from '../protocol/event.js';
import type { Metrics, Origin } from '../telemetry/metrics.js';
import { createLedger, type Usage } from '../telemetry/usage.js';
import { type CourseTotals, createCourse } from './course.js';
import { base64Bytes, bytesPerSecond } from './limits.js';
import { createTurns, type Turns } from './turns.js';

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
export function createMeter(metrics: Metrics, { upstream, spent }: MeterPorts): Meter {
  const open = createTurns();
  const ledger = createLedger(metrics.tokens);
  const injections = new Set<string>();
  const course = createCourse();
  let askedAt = 0;
  let turns = 0;
  let interruptions = 0;
  let up = 0;
  let down = 0;
  let inputRate = bytesPerSecond(null);
  let outputRate = bytesPerSecond(null);

  /** Starts the clock of `relay_first_audio_seconds`; the latest of speech end, commit and response.create counts. */
  const asked = () => {
    askedAt = performance.now();
  };

  const firstAudio = () => {
    if (askedAt === 0) return;
    const waitedMs = performance.now() - askedAt;
    metrics.firstAudio(waitedMs / 1000);
    course.firstAudio(waitedMs);
    askedAt = 0;
  };

  /** Whose fault an error event is: that of whoever sent what it is about, unless upstream has trouble of its own. */
  const originOf = ({ type, code, event_id }: JsonObject): Origin => {
    if (type === 'server_error' || upstreamTrouble.has(code)) return 'upstream';
    return typeof event_id === 'string' && injections.has(event_id) ? 'relay' : 'client';
  };

  const responseDone = (body: JsonObject): void => {
    const response = object(body.response);
    turns++;
    askedAt = 0;
    spent(ledger.response(response.usage));
    const details = object(response.status_details);
    const interrupted = response.status === 'cancelled' && details.reason === 'turn_detected';
    course.answered(response.status, interrupted);
    if (interrupted) {
      interruptions++;
      metrics.interrupted();
    }
    if (response.status === 'failed') {
      const { code } = object(details.error);
      course.failed(code);
      metrics.upstreamError('upstream', String(code));
    }
  };

  const configured = (session: JsonObject): void => {
    const { input, output } = object(session.audio);
    inputRate = bytesPerSecond(object(input).format);
    outputRate = bytesPerSecond(object(output).format);
    open.configured(session);
  };

  const onDown: Record<string, (body: JsonObject) => void> = {
    'session.updated': (body) => configured(object(body.session)),
    'input_audio_buffer.speech_stopped': asked,
    'response.created': () => {
      if (askedAt === 0) asked();
    },
    'response.done': responseDone,
    // Of a call, whose sound is not seen here.
    'output_audio_buffer.started': firstAudio,
    'conversation.item.input_audio_transcription.completed': (body) => spent(ledger.transcription(body.usage)),
    'rate_limits.updated': (body) => {
      for (const limit of Array.isArray(body.rate_limits) ? body.rate_limits : []) {
        const { name, remaining } = object(limit);
        if ((name === 'requests' || name === 'tokens') && typeof remaining === 'number') {
          metrics.rateLimit(upstream(), name, remaining);
        }
      }
    },
    error: (body) => {
      const error = object(body.error);
      course.failed(error.code);
      metrics.upstreamError(originOf(error), String(error.code));
    },
  };

  return {
    up(event) {
      if (event.type === audioUp) {
        const seconds = (event.raw ? event.audioBytes : base64Bytes(event.body?.audio)) / inputRate;
        up += seconds;
        metrics.traffic.up.audioSeconds += seconds;
      } else if (event.type === 'input_audio_buffer.commit' || event.type === 'response.create') {
        asked();
      }
      if (event.body) open.up(event.body);
      return event;
    },
    down(event) {
      if (event.type === audioDown.ga) {
        if (askedAt !== 0) firstAudio();
        const seconds = (event.raw ? event.audioBytes : base64Bytes(event.body?.delta)) / outputRate;
        down += seconds;
        metrics.traffic.down.audioSeconds += seconds;
      } else if (event.body) {
        open.down(event.type, event.body);
        if (Object.hasOwn(onDown, event.type)) onDown[event.type]?.(event.body);
      }
      return event;
    },
    configured,
    injected(body) {
      open.up(body);
      if (typeof body.event_id !== 'string') return;
      injections.add(body.event_id);
      const [oldest] = injections;
      if (injections.size > injectionsKept && oldest !== undefined) injections.delete(oldest);
    },
    turns: open,
    usage: ledger.usage,
    inputRate: () => inputRate,
    totals: () => ({
      turns,
      interruptions,
      tokens: ledger.usage.total_tokens + ledger.usage.transcription_tokens,
      audioSecondsUp: round(up),
      audioSecondsDown: round(down),
      ...course.totals(),
    }),
  };
}

function object(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

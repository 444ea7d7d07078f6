/** Counts what passes through one session: events, audio, tokens, turns, and the time to the first audio. */

import { audioDown, audioUp } from '../protocol/catalogue.js';
import type { JsonObject, Step } from '../protocol/event.js';
import type { Metrics, TokenKind } from '../telemetry/metrics.js';
import { type CourseTotals, createCourse } from './course.js';
import { base64Bytes, bytesPerSecond } from './limits.js';

/** Totals for the session's last log line. */
export interface Totals extends CourseTotals {
  readonly turns: number;
  readonly interruptions: number;
  readonly tokens: number;
  readonly audioSecondsUp: number;
  readonly audioSecondsDown: number;
}

export interface Meter {
  readonly up: Step;
  readonly down: Step;
  /** Takes note of the audio formats of the session as upstream runs it. */
  configured(session: JsonObject): void;
  /** Whether an answer is running or has been asked for. */
  isBusy(): boolean;
  /** Bytes of one second of input audio in the session's current format. */
  inputRate(): number;
  totals(): Totals;
}

/** Makes the meter of one session; `upstream` names it in the rate-limit gauge. */
export function createMeter(metrics: Metrics, upstream: () => string): Meter {
  const running = new Set<string>();
  const course = createCourse();
  let askedAt = 0;
  let turns = 0;
  let interruptions = 0;
  let tokens = 0;
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

  const count = (kind: TokenKind, value: unknown): void => {
    if (typeof value === 'number' && Number.isFinite(value)) metrics.tokens(kind, value);
  };

  const usage = (value: unknown): void => {
    const { total_tokens, input_token_details, output_token_details } = object(value);
    if (typeof total_tokens === 'number' && Number.isFinite(total_tokens)) tokens += total_tokens;
    const input = object(input_token_details);
    const cached = object(input.cached_tokens_details);
    for (const kind of ['text', 'audio', 'image'] as const) {
      count(`cached_${kind}`, cached[`${kind}_tokens`]);
      count(`input_${kind}`, number(input[`${kind}_tokens`]) - number(cached[`${kind}_tokens`]));
    }
    count('output_text', object(output_token_details).text_tokens);
    count('output_audio', object(output_token_details).audio_tokens);
  };

  const responseDone = (body: JsonObject): void => {
    const response = object(body.response);
    running.delete(String(response.id));
    turns++;
    askedAt = 0;
    usage(response.usage);
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
  };

  const onDown: Record<string, (body: JsonObject) => void> = {
    'session.updated': (body) => configured(object(body.session)),
    'input_audio_buffer.speech_stopped': asked,
    'response.created': (body) => {
      if (askedAt === 0) asked();
      if (running.size < 64) running.add(String(object(body.response).id));
    },
    'response.done': responseDone,
    'conversation.item.input_audio_transcription.completed': (body) => usage(body.usage),
    'rate_limits.updated': (body) => {
      for (const limit of Array.isArray(body.rate_limits) ? body.rate_limits : []) {
        const { name, remaining } = object(limit);
        if ((name === 'requests' || name === 'tokens') && typeof remaining === 'number') {
          metrics.rateLimit(upstream(), name, remaining);
        }
      }
    },
    error: (body) => {
      const { code } = object(body.error);
      course.failed(code);
      metrics.upstreamError('client', String(code));
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
      return event;
    },
    down(event) {
      if (event.type === audioDown.ga) {
        if (askedAt !== 0) firstAudio();
        const seconds = (event.raw ? event.audioBytes : base64Bytes(event.body?.delta)) / outputRate;
        down += seconds;
        metrics.traffic.down.audioSeconds += seconds;
      } else if (event.body && Object.hasOwn(onDown, event.type)) {
        onDown[event.type]?.(event.body);
      }
      return event;
    },
    configured,
    isBusy: () => running.size > 0 || askedAt !== 0,
    inputRate: () => inputRate,
    totals: () => ({
      turns,
      interruptions,
      tokens,
      audioSecondsUp: round(up),
      audioSecondsDown: round(down),
      ...course.totals(),
    }),
  };
}

function object(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** What a session cost, as upstream reports it: added up by kind, and told as one record when the session is over. */

import { isObject, type JsonObject, objectOf } from '../protocol/event.js';
import type { TokenKind } from './labels.js';

/**
 * Everything upstream reported about one session. `cached_*` are subsets of `input_*`; input transcription is billed by
 * another model and therefore counted apart, in tokens or, by models that are billed by duration, in seconds.
 */
export interface Usage {
  responses: number;
  total_tokens: number;
  input_tokens: number;
  input_text_tokens: number;
  input_audio_tokens: number;
  input_image_tokens: number;
  cached_tokens: number;
  cached_text_tokens: number;
  cached_audio_tokens: number;
  cached_image_tokens: number;
  output_tokens: number;
  output_text_tokens: number;
  output_audio_tokens: number;
  transcriptions: number;
  transcription_tokens: number;
  transcription_input_tokens: number;
  transcription_output_tokens: number;
  transcription_seconds: number;
  /** Counts that this version has no name for, by their path in what upstream reported. */
  other: Record<string, number>;
}

/** The record of one session, in the log as `session.usage` and as `data` of the webhook. No content, no credential. */
export interface UsageRecord extends Usage {
  readonly session: string;
  readonly subject: string;
  readonly tenant: string | null;
  readonly profile: string;
  readonly upstream: string;
  /** RFC 3339. */
  readonly started_at: string;
  readonly ended_at: string;
  /** From the first to the last moment at which the client could talk. */
  readonly minutes: number;
  /** What was relayed; null for calls, whose sound goes past the relay. */
  readonly input_audio_seconds: number | null;
  readonly output_audio_seconds: number | null;
  /** False when upstream was gone before it said what everything had cost. */
  readonly complete: boolean;
}

const modalities = ['text', 'audio', 'image'] as const;

/** Adds up the usage of one session. */
export class UsageSums {
  readonly #count: (kind: TokenKind, tokens: number) => void;
  readonly #sums: Usage = {
    responses: 0,
    total_tokens: 0,
    input_tokens: 0,
    input_text_tokens: 0,
    input_audio_tokens: 0,
    input_image_tokens: 0,
    cached_tokens: 0,
    cached_text_tokens: 0,
    cached_audio_tokens: 0,
    cached_image_tokens: 0,
    output_tokens: 0,
    output_text_tokens: 0,
    output_audio_tokens: 0,
    transcriptions: 0,
    transcription_tokens: 0,
    transcription_input_tokens: 0,
    transcription_output_tokens: 0,
    transcription_seconds: 0,
    other: {},
  };

  /** @param count gets every token once, in its kind */
  constructor(count: (kind: TokenKind, tokens: number) => void) {
    this.#count = count;
  }

  get usage(): Readonly<Usage> {
    return this.#sums;
  }

  /** Adds the `usage` of a `response.done`, which may be missing; returns its tokens. */
  response(value: unknown): number {
    const sums = this.#sums;
    const usage = objectOf(value);
    const input = objectOf(usage.input_token_details);
    const cached = objectOf(input.cached_tokens_details);
    const output = objectOf(usage.output_token_details);
    sums.responses++;
    sums.total_tokens += amount(usage.total_tokens);
    sums.input_tokens += amount(usage.input_tokens);
    sums.output_tokens += amount(usage.output_tokens);
    sums.cached_tokens += amount(input.cached_tokens);
    for (const modality of modalities) {
      const read = amount(input[`${modality}_tokens`]);
      const known = amount(cached[`${modality}_tokens`]);
      sums[`input_${modality}_tokens`] += read;
      sums[`cached_${modality}_tokens`] += known;
      this.#count(`cached_${modality}`, known);
      this.#count(`input_${modality}`, read - known);
    }
    for (const modality of ['text', 'audio'] as const) {
      const written = amount(output[`${modality}_tokens`]);
      sums[`output_${modality}_tokens`] += written;
      this.#count(`output_${modality}`, written);
    }
    this.#others(usage, '');
    return amount(usage.total_tokens);
  }

  /** Adds the `usage` of a completed input transcription; returns its tokens. */
  transcription(value: unknown): number {
    const sums = this.#sums;
    const usage = objectOf(value);
    const text = amount(objectOf(usage.input_token_details).text_tokens);
    const input = amount(usage.input_tokens);
    const output = amount(usage.output_tokens);
    sums.transcriptions++;
    sums.transcription_seconds += amount(usage.seconds);
    sums.transcription_tokens += amount(usage.total_tokens);
    sums.transcription_input_tokens += input;
    sums.transcription_output_tokens += output;
    this.#count('input_text', text);
    this.#count('input_audio', input - text);
    this.#count('output_text', output);
    this.#others(usage, '');
    return amount(usage.total_tokens);
  }

  /** A service counts more from one month to the next; what is not known yet is not lost. */
  #others(counts: JsonObject, prefix: string): void {
    const { other } = this.#sums;
    for (const [name, value] of Object.entries(counts).slice(0, othersKept)) {
      const path = `${prefix}${name}`;
      if (!countName.test(name) || known.has(path)) continue;
      if (isObject(value)) {
        if (prefix.split('.').length < 3) this.#others(value, `${path}.`);
        continue;
      }
      const counted = amount(value);
      if (counted === 0 || (other[path] === undefined && Object.keys(other).length >= othersKept)) continue;
      other[path] = (other[path] ?? 0) + counted;
      if (name.endsWith('_tokens')) this.#count('other', counted);
    }
  }
}

const countName = /^[a-z][a-z0-9_]{0,63}$/;
/** More than any service counts. */
const othersKept = 32;
/** What the record has fields for. */
const known: ReadonlySet<string> = new Set([
  ...['total_tokens', 'input_tokens', 'output_tokens', 'seconds'],
  ...['cached_tokens', 'text_tokens', 'audio_tokens', 'image_tokens'].map((name) => `input_token_details.${name}`),
  ...modalities.map((modality) => `input_token_details.cached_tokens_details.${modality}_tokens`),
  ...['text', 'audio'].map((modality) => `output_token_details.${modality}_tokens`),
]);

/** What upstream reports is added to sums that money depends on: nothing negative, nothing endless. */
function amount(value: unknown): number {
  return typeof value === 'number' && value > 0 && value <= Number.MAX_SAFE_INTEGER ? value : 0;
}

/** Input transcription: words while the user speaks, where the sound comes at the pace of speech, and the rest after the commit. */
import type { JsonObject } from '../protocol/event.js';
import { padded, pieces } from './padding.js';
import { textHeard } from './said.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs, type Speech, wordsOf } from './speech.js';
import { audioTokensIn, textTokens } from './tokens.js';

type Emit = (event: JsonObject) => void;

const family = 'conversation.item.input_audio_transcription';
/** Of speech, before its first words are told. */
const leastMs = 600;

/** How one utterance becomes words. */
export interface Terms {
  readonly model: string;
  readonly withLogprobs: boolean;
  readonly format: AudioFormat;
}

/** The transcript of one utterance, told in deltas. */
export class Transcript {
  readonly #itemId: string;
  readonly #emit: Emit;
  readonly #startedAt = performance.now();
  #words: readonly string[] | null = null;
  #expectedMs = 0;
  #told = 0;

  constructor(itemId: string, emit: Emit) {
    this.#itemId = itemId;
    this.#emit = emit;
  }

  /** The user goes on speaking: tells what can be understood by now. `last` is the sound that came last. */
  hear(spokenMs: number, last: Buffer, terms: Terms, speech: Speech): void {
    const isLive = performance.now() - this.#startedAt >= spokenMs / 3;
    if (!isLive || spokenMs < leastMs || isClassic(terms.model)) return;
    if (this.#words === null) {
      const known = [...speech.values()].find((recording) => recording.bytes(terms.format).includes(last));
      // A recording that came through a microphone is known once it is over, and a stranger's words never are.
      if (!known) return;
      this.#words = toldBy(terms.model, known.text);
      this.#expectedMs = known.seconds * 1000;
    }
    // The last word is never understood before it is over.
    const due = Math.min(this.#words.length - 1, Math.floor((this.#words.length * spokenMs) / this.#expectedMs));
    this.#tell(due, terms);
  }

  /** The utterance is over; returns its text and what it cost. */
  finish(audio: Buffer, terms: Terms, speech: Speech): { text: string; usage: JsonObject } {
    this.#words ??= toldBy(terms.model, textHeard(audio, terms.format, speech));
    this.#tell(this.#words.length, terms);
    const text = this.#words.join('').trim();
    const usage = usageOf(text, audio.length / bytesPerMs(terms.format), terms.model);
    const logprobs = terms.withLogprobs ? { logprobs: this.#words.map(logprob) } : {};
    this.#emit({ type: `${family}.completed`, ...this.#at(), transcript: text, usage, ...logprobs });
    return { text, usage };
  }

  /** There is no such deployment: accepted when it was configured, refused with every turn. Source: recordings. */
  refuse(): void {
    const message = `Input transcription failed for item '${this.#itemId}'. The deployment does not exist.`;
    const error = { type: 'server_error', code: 'DeploymentNotFound', message, param: null };
    this.#emit({ type: `${family}.failed`, ...this.#at(), error });
  }

  #tell(until: number, { withLogprobs }: Terms): void {
    const words = this.#words ?? [];
    for (; this.#told < until; this.#told++) {
      const word = words[this.#told] as string;
      const logprobs = withLogprobs ? { logprobs: [logprob(word)] } : {};
      for (const piece of pieces(word)) {
        this.#emit({ type: `${family}.delta`, ...this.#at(), ...padded(piece), ...logprobs });
      }
    }
  }

  #at(): JsonObject {
    return { item_id: this.#itemId, content_index: 0 };
  }
}

/** The first model of all tells nothing before the end. */
function isClassic(model: string): boolean {
  return /^whisper/.test(model);
}

/** The words as a model tells them: the first one of this one begins with a blank. Source: recordings. */
function toldBy(model: string, text: string): string[] {
  return wordsOf(model.startsWith('gpt-realtime-whisper') ? ` ${text}` : text);
}

/** Whisper is billed by duration, the newer models by tokens. */
function usageOf(transcript: string, audioMs: number, model: string): JsonObject {
  if (/whisper/i.test(model)) return { type: 'duration', seconds: Math.ceil(audioMs / 1000) };
  const input = audioTokensIn(audioMs);
  const output = textTokens(transcript.length);
  return {
    type: 'tokens',
    total_tokens: input + output,
    input_tokens: input,
    input_token_details: { text_tokens: 0, audio_tokens: input },
    output_tokens: output,
  };
}

function logprob(token: string): JsonObject {
  return { token, bytes: [...Buffer.from(token)], logprob: -0.01 };
}

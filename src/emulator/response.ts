/** One response while it is given: its events in the order of the service, paced, and what it cost. */
import type { Json, JsonObject } from '../protocol/event.js';
import type { Answer, Output } from './answer.js';
import { newId } from './ids.js';
import { OutputItem, type Personality, type Showing } from './output.js';
import { pieces } from './padding.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs, wordsOf } from './speech.js';
import type { Conversation } from './thread.js';
import { type Tokens, tokensOut, usageOf } from './tokens.js';

/** What holds for this response: the session's settings under the overrides of `response.create`. */
export interface ResponseTerms {
  readonly modality: 'audio' | 'text';
  readonly format: AudioFormat;
  readonly voice: Json;
  readonly maxOutputTokens: number | 'inf';
  readonly metadata: Json;
  /** Null for a response outside the default conversation. */
  readonly conversationId: string | null;
}

/** What a response needs of the session it is given in. */
export interface Stage {
  /** Where output items go; null when they stay outside the conversation. */
  readonly conversation: Conversation | null;
  /** What the model read, and what it had read before. */
  readonly input: Tokens;
  readonly cached: Tokens | null;
  /** Multiple of real time; Infinity for at once. */
  readonly speed: number;
  /** Silence before the first audio delta, in milliseconds of the clock. */
  readonly firstAudioDelayMs: number;
  readonly like: Personality;
  /** Models of the second generation name the phase of a message, and begin a call before the message before it ends. */
  readonly isNewer: boolean;
  /** Called instead of going on after so many deltas, or before the first item ends if it is shorter. */
  readonly accident: { readonly afterDeltas: number; happen(): void } | null;
  emit(event: JsonObject): void;
  /** True when the peer keeps up; else false, and `resume` is called once it does. */
  ready(resume: () => void): boolean;
  audioWasHeard(): void;
  ended(response: ResponseRun, usage: JsonObject | null): void;
  /** Does something once the response is over, unless the session ends before. */
  after(ms: number, act: () => void): void;
}

/** Milliseconds of speech in one audio delta, and of reading time in one text delta. */
const chunkMs = 150;
const wordMs = 40;
/** The service takes about 300 ms to its first audio; at the default speed of 4, so does this. */
const thinkingMs = 1200;
/** An answer given at once still lets the event loop breathe. */
const burst = 32;

/** A response from `response.created` to `response.done`; it owns the one timer that paces it. */
export class ResponseRun {
  readonly id = newId('resp');
  readonly #answer: Answer;
  readonly #terms: ResponseTerms;
  readonly #stage: Stage;
  readonly #steps: Generator<number, void>;
  readonly #finished: JsonObject[] = [];
  readonly #open: OutputItem[] = [];
  /** Calls by the service that go on when the response is done. */
  readonly #outlasting: { item: OutputItem; ms: number }[] = [];
  #timer: NodeJS.Timeout | null = null;
  #immediate: NodeJS.Immediate | null = null;
  #deltas = 0;
  #characters = 0;
  #audioMs = 0;
  #isOver = false;

  constructor(answer: Answer, terms: ResponseTerms, stage: Stage) {
    this.#answer = answer;
    this.#terms = terms;
    this.#stage = stage;
    this.#steps = this.#perform();
  }

  start(): void {
    this.#stage.emit({ type: 'response.created', response: this.#shown('in_progress', null, null) });
    this.#later(0);
  }

  /** Ends it where it stands, with the events that tell so. */
  cancel(reason: 'turn_detected' | 'client_cancelled'): void {
    this.#conclude('cancelled', { type: 'cancelled', reason });
  }

  /** Ends it without a word: the peer is gone. */
  drop(): void {
    this.#isOver = true;
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#immediate) clearImmediate(this.#immediate);
  }

  #advance = (): void => {
    this.#timer = null;
    this.#immediate = null;
    for (let count = 0; !this.#isOver; count++) {
      if (!this.#stage.ready(this.#advance)) return;
      const step = this.#steps.next();
      if (step.done || this.#isOver) return;
      const delayMs = step.value < 0 ? -step.value : step.value / this.#stage.speed;
      if (delayMs > 0 || count >= burst) {
        this.#later(delayMs);
        return;
      }
    }
  };

  #later(delayMs: number): void {
    if (this.#isOver) return;
    if (delayMs > 0) this.#timer = setTimeout(this.#advance, delayMs);
    else this.#immediate = setImmediate(this.#advance);
  }

  /** Yields how long to wait after each step: milliseconds of content, or negative ones of the clock. */
  *#perform(): Generator<number, void> {
    const { outputs, status, reason } = this.#answer;
    if (status === 'failed') {
      const message = 'Rate limit reached. Please try again later.';
      const error = { type: 'server_error', code: reason, message };
      this.#conclude('failed', { type: 'failed', error });
      return;
    }
    for (const [index, output] of outputs.entries()) {
      const isCutHere = status !== 'completed' && index === outputs.length - 1;
      const item = new OutputItem(output, index, this.#showing(outputs[index + 1]?.kind === 'call'));
      if ('name' in output) this.#characters += output.name.length;
      this.#open.push(item);
      let fits = true;
      for (const wait of this.#deltasOf(item, isCutHere ? 0.5 : 1)) {
        fits = wait !== null;
        if (wait === null) break;
        yield wait;
      }
      if (this.#accidentHappened(Number.POSITIVE_INFINITY)) return;
      if (!fits) {
        this.#conclude('incomplete', { type: 'incomplete', reason: 'max_output_tokens' });
        return;
      }
      if (isCutHere) {
        this.#conclude(status, { type: status, reason });
        return;
      }
      if (output.kind === 'mcp') yield* this.#call(item, output);
      const overlaps = this.#answer.overlapping && outputs[index + 1]?.kind === 'call' && isMessage(output);
      if (!overlaps) this.#closeItems('completed');
    }
    this.#conclude('completed', null);
  }

  #showing(isBeforeCall: boolean): Showing {
    const { conversation, like, isNewer, emit } = this.#stage;
    const phase = !isNewer ? null : isBeforeCall ? 'commentary' : 'final_answer';
    return { responseId: this.id, conversation, like, phase, emit };
  }

  /** Emits one delta per step; yields null when the next one would not fit in `max_output_tokens`. */
  *#deltasOf(item: OutputItem, share: number): Generator<number | null> {
    const { output } = item;
    if (output.kind === 'audio') yield* this.#speak(item, share);
    else {
      const parts = output.kind === 'text' ? wordsOf(output.text) : pieces(output.arguments);
      const wait = output.kind === 'call' && output.ms !== null ? -output.ms / Math.max(1, parts.length) : wordMs;
      for (const part of cut(parts, share)) {
        if (this.#exceeds(part.length, 0)) return yield null;
        this.#words(item, part);
        yield wait;
      }
    }
  }

  /** A call that the service makes: within the response, or beyond its end. */
  *#call(item: OutputItem, { ms, doneFirst }: Output & { kind: 'mcp' }): Generator<number> {
    item.run();
    if (!doneFirst) {
      yield -ms;
      return;
    }
    this.#open.splice(this.#open.indexOf(item), 1);
    this.#finished.push(item.item.shown);
    this.#outlasting.push({ item, ms });
  }

  *#speak(item: OutputItem, share: number): Generator<number | null> {
    if (item.output.kind !== 'audio') return;
    const { clip, text } = item.output;
    yield this.#stage.firstAudioDelayMs > 0 ? -this.#stage.firstAudioDelayMs : thinkingMs;
    const words = wordsOf(text);
    const perMs = bytesPerMs(clip.format);
    const step = chunkMs * perMs;
    const spoken = { clip, bytes: 0, truncated: false };
    item.item.spoken = spoken;
    let told = 0;
    for (let from = 0; from < clip.bytes * share; from += step) {
      const to = Math.min(clip.bytes, from + step);
      const due = Math.ceil((words.length * to) / clip.bytes);
      const piece = words.slice(told, due).join('');
      if (this.#exceeds(piece.length, (to - from) / perMs)) return yield null;
      told = due;
      if (piece !== '') this.#words(item, piece);
      spoken.bytes = to;
      this.#audioMs += (to - from) / perMs;
      this.#stage.audioWasHeard();
      if (this.#mayGoOn()) item.audio(clip.slice(from, to).toString('base64'));
      yield (to - from) / perMs;
    }
  }

  #words(item: OutputItem, words: string): void {
    if (!this.#mayGoOn()) return;
    this.#characters += words.length;
    item.words(words);
  }

  /** Counts one more delta, unless it is the one at which an accident is to happen. */
  #mayGoOn(): boolean {
    if (this.#isOver || this.#accidentHappened(this.#deltas)) return false;
    this.#deltas += 1;
    return true;
  }

  #accidentHappened(deltas: number): boolean {
    const { accident } = this.#stage;
    if (!accident || deltas < accident.afterDeltas || this.#isOver) return false;
    this.drop();
    accident.happen();
    return true;
  }

  #exceeds(characters: number, audioMs: number): boolean {
    const { maxOutputTokens } = this.#terms;
    if (maxOutputTokens === 'inf') return false;
    const { text, audio } = tokensOut(this.#characters + characters, this.#audioMs + audioMs);
    return text + audio > maxOutputTokens;
  }

  #closeItems(status: 'completed' | 'incomplete'): void {
    for (const item of this.#open.splice(0)) this.#finished.push(item.close(status));
  }

  #conclude(status: string, details: JsonObject | null): void {
    if (this.#isOver) return;
    this.#closeItems(status === 'completed' ? 'completed' : 'incomplete');
    this.drop();
    const output = tokensOut(this.#characters, this.#audioMs);
    const usage = status === 'failed' ? null : usageOf(this.#stage.input, output, this.#stage.cached);
    this.#stage.ended(this, usage);
    this.#stage.emit({ type: 'response.done', response: this.#shown(status, details, usage) });
    for (const { item, ms } of this.#outlasting) this.#stage.after(ms, () => item.close('completed'));
    if (this.#stage.like === 'azure') return;
    const remaining = Math.max(0, 40_000 - Number(usage?.total_tokens ?? 0));
    const limit = { name: 'tokens', limit: 40_000, remaining, reset_seconds: ((40_000 - remaining) * 60) / 40_000 };
    this.#stage.emit({ type: 'rate_limits.updated', rate_limits: [limit] });
  }

  #shown(status: string, details: JsonObject | null, usage: JsonObject | null): JsonObject {
    const { conversationId, modality, maxOutputTokens, format, voice, metadata } = this.#terms;
    return {
      object: 'realtime.response',
      id: this.id,
      status,
      status_details: details,
      output: [...this.#finished],
      conversation_id: conversationId,
      output_modalities: [modality],
      max_output_tokens: maxOutputTokens,
      audio: { output: { format, voice } },
      usage,
      metadata,
    };
  }
}

function isMessage({ kind }: Output): boolean {
  return kind === 'text' || kind === 'audio';
}

/** The first part of a list; all but the whole of it, where it is to be cut. */
function cut(parts: readonly string[], share: number): readonly string[] {
  const [only] = parts;
  if (share < 1 && parts.length === 1 && only) return [only.slice(0, Math.ceil(only.length * share))];
  return parts.slice(0, Math.ceil(parts.length * share));
}

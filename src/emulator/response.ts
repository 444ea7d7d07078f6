/** One response while it is given: its events in the order of the service, paced, and what it cost. */
import type { Json, JsonObject } from '../protocol/event.js';
import type { Answer, Output } from './answer.js';
import type { Conversation, Item } from './conversation.js';
import { newId } from './ids.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs, wordsOf } from './speech.js';
import { type Tokens, tokensOut, usageOf } from './usage.js';

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
  /** Called instead of going on after so many deltas, or before the first item ends if it is shorter. */
  readonly accident: { readonly afterDeltas: number; happen(): void } | null;
  emit(event: JsonObject): void;
  /** True when the peer keeps up; else false, and `resume` is called once it does. */
  ready(resume: () => void): boolean;
  audioWasHeard(): void;
  ended(response: ResponseRun, usage: JsonObject | null): void;
}

/** Milliseconds of speech in one audio delta, and of reading time in one text delta. */
const chunkMs = 150;
const wordMs = 40;
/** The service takes about 300 ms to its first audio; at the default speed of 4, so does this. */
const thinkingMs = 1200;
/** An answer given at once still lets the event loop breathe. */
const burst = 32;

interface OpenItem {
  readonly output: Output;
  readonly item: Item;
  readonly index: number;
  readonly previousId: string | null;
  readonly callId: string;
  text: string;
}

/** A response from `response.created` to `response.done`; it owns the one timer that paces it. */
export class ResponseRun {
  readonly id = newId('resp');
  readonly #answer: Answer;
  readonly #terms: ResponseTerms;
  readonly #stage: Stage;
  readonly #steps: Generator<number, void>;
  readonly #finished: JsonObject[] = [];
  #open: OpenItem | null = null;
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
      const open = this.#openItem(output, index);
      const share = status === 'incomplete' ? 0.5 : 1;
      let fits = true;
      for (const wait of this.#deltasOf(open, share)) {
        fits = wait !== null;
        if (wait === null) break;
        yield wait;
      }
      if (this.#accidentHappened(Number.POSITIVE_INFINITY)) return;
      if (!fits || status === 'incomplete') {
        this.#conclude('incomplete', { type: 'incomplete', reason: fits ? reason : 'max_output_tokens' });
        return;
      }
      this.#closeItem('completed');
    }
    this.#conclude('completed', null);
  }

  /** Emits one delta per step; yields null when the next one would not fit in `max_output_tokens`. */
  *#deltasOf(open: OpenItem, share: number): Generator<number | null> {
    const { output } = open;
    if (output.kind === 'audio') yield* this.#speak(open, share);
    else {
      const whole = output.kind === 'text' ? output.text : output.arguments;
      const pieces = output.kind === 'text' ? wordsOf(whole) : (whole.match(/[\s\S]{1,12}/g) ?? []);
      for (const piece of pieces.slice(0, Math.ceil(pieces.length * share))) {
        if (this.#exceeds(piece.length, 0)) return yield null;
        open.text += piece;
        this.#characters += piece.length;
        this.#delta(open, output.kind === 'text' ? 'response.output_text.delta' : callDelta, piece);
        yield wordMs;
      }
    }
  }

  *#speak(open: OpenItem, share: number): Generator<number | null> {
    if (open.output.kind !== 'audio') return;
    const { clip, text } = open.output;
    yield this.#stage.firstAudioDelayMs > 0 ? -this.#stage.firstAudioDelayMs : thinkingMs;
    const words = wordsOf(text);
    const perMs = bytesPerMs(clip.format);
    const step = chunkMs * perMs;
    const spoken = { clip, bytes: 0, truncated: false };
    open.item.spoken = spoken;
    let told = 0;
    for (let from = 0; from < clip.bytes * share; from += step) {
      const to = Math.min(clip.bytes, from + step);
      const due = Math.ceil((words.length * to) / clip.bytes);
      const piece = words.slice(told, due).join('');
      if (this.#exceeds(piece.length, (to - from) / perMs)) return yield null;
      told = due;
      if (piece !== '') {
        open.text += piece;
        this.#characters += piece.length;
        this.#delta(open, 'response.output_audio_transcript.delta', piece);
      }
      spoken.bytes = to;
      this.#audioMs += (to - from) / perMs;
      this.#stage.audioWasHeard();
      this.#delta(open, 'response.output_audio.delta', clip.slice(from, to).toString('base64'));
      yield (to - from) / perMs;
    }
  }

  #delta(open: OpenItem, type: string, delta: string): void {
    if (this.#isOver || this.#accidentHappened(this.#deltas)) return;
    this.#deltas += 1;
    this.#stage.emit({ type, ...this.#at(open), delta });
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

  #openItem(output: Output, index: number): OpenItem {
    const callId = newId('call');
    const id = newId('item');
    const shown: JsonObject =
      output.kind === 'call'
        ? { id, type: 'function_call', status: 'in_progress', call_id: callId, name: output.name, arguments: '' }
        : { id, type: 'message', status: 'in_progress', role: 'assistant', content: [] };
    if (output.kind === 'call') this.#characters += output.name.length;
    const item: Item = { id, shown, heard: null, spoken: null };
    const previousId = this.#stage.conversation?.lastId ?? null;
    const open = { output, item, index, previousId, callId, text: '' };
    this.#open = open;
    this.#stage.emit({ type: 'response.output_item.added', response_id: this.id, output_index: index, item: shown });
    if (this.#stage.conversation) {
      this.#stage.conversation.insert(item);
      this.#stage.emit({ type: 'conversation.item.added', previous_item_id: previousId, item: shown });
    }
    if (output.kind !== 'call') {
      const part = output.kind === 'text' ? { type: 'text', text: '' } : { type: 'audio', transcript: '' };
      this.#stage.emit({ type: 'response.content_part.added', ...this.#at(open), part });
    }
    return open;
  }

  #closeItem(status: 'completed' | 'incomplete'): void {
    const open = this.#open;
    if (!open) return;
    this.#open = null;
    const { output, item, index, text } = open;
    const at = this.#at(open);
    if (output.kind === 'text') {
      this.#stage.emit({ type: 'response.output_text.done', ...at, text });
      this.#stage.emit({ type: 'response.content_part.done', ...at, part: { type: 'text', text } });
    } else if (output.kind === 'audio') {
      this.#stage.emit({ type: 'response.output_audio.done', ...at });
      this.#stage.emit({ type: 'response.output_audio_transcript.done', ...at, transcript: text });
      this.#stage.emit({ type: 'response.content_part.done', ...at, part: { type: 'audio', transcript: text } });
    } else {
      this.#stage.emit({ type: 'response.function_call_arguments.done', ...at, name: output.name, arguments: text });
    }
    const content = output.kind === 'text' ? { type: 'output_text', text } : { type: 'output_audio', transcript: text };
    const wasCut = item.spoken?.truncated === true;
    const told = output.kind === 'call' ? { arguments: text } : wasCut ? {} : { content: [content] };
    item.shown = { ...item.shown, status, ...told };
    this.#finished.push(item.shown);
    if (this.#stage.conversation) {
      this.#stage.emit({ type: 'conversation.item.done', previous_item_id: open.previousId, item: item.shown });
    }
    const done = { response_id: this.id, output_index: index, item: item.shown };
    this.#stage.emit({ type: 'response.output_item.done', ...done });
  }

  #conclude(status: string, details: JsonObject | null): void {
    if (this.#isOver) return;
    this.#closeItem('incomplete');
    this.drop();
    const output = tokensOut(this.#characters, this.#audioMs);
    const usage = status === 'failed' ? null : usageOf(this.#stage.input, output, this.#stage.cached);
    this.#stage.ended(this, usage);
    this.#stage.emit({ type: 'response.done', response: this.#shown(status, details, usage) });
    const remaining = Math.max(0, 40_000 - Number(usage?.total_tokens ?? 0));
    const limit = { name: 'tokens', limit: 40_000, remaining, reset_seconds: ((40_000 - remaining) * 60) / 40_000 };
    this.#stage.emit({ type: 'rate_limits.updated', rate_limits: [limit] });
  }

  #at({ item, index, output, callId }: OpenItem): JsonObject {
    const ids = { response_id: this.id, item_id: item.id, output_index: index };
    return output.kind === 'call' ? { ...ids, call_id: callId } : { ...ids, content_index: 0 };
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

const callDelta = 'response.function_call_arguments.delta';

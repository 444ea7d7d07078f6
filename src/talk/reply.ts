/** The answer, put together from the events of one or more responses. */

import type { JsonObject } from '../protocol/event.js';
import { oneLine } from '../terminal.js';
import { adviceFor, explainError } from './failures.js';
import { child, errorIn, text } from './reading.js';

// 23 minutes of 24 kHz PCM16: no answer is that long, and a relay gone mad must not fill the memory.
const maxAudioBytes = 64 * 1024 * 1024;
const maxTextLength = 1024 * 1024;

/** What the end of a response means: there is an answer, another response may follow, or nothing more will come. */
export type Verdict =
  | { readonly kind: 'answered' | 'none' | 'interrupted' }
  | { readonly kind: 'fault'; reason: string };

/** The answer so far. */
export class Reply {
  readonly #print: (line: string) => void;
  readonly #audio: Buffer[] = [];
  readonly #texts: string[] = [];
  #audioBytes = 0;
  #isInWriting = false;

  #current: string | null = null;
  #interrupted: string | null = null;
  #spoken: Buffer[] = [];
  #said = '';
  #written = '';

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  /** Whether a response is under way. */
  get isUnderWay(): boolean {
    return this.#current !== null;
  }

  /** Whether a response with an answer has come to its end. */
  get isThere(): boolean {
    return this.#texts.length > 0;
  }

  /** The session answers in writing alone. */
  expectWriting(): void {
    this.#isInWriting = true;
  }

  /** Everything that came, also of a response that has not ended. */
  get text(): string {
    return [...this.#texts, this.#said || this.#written].filter(Boolean).join(' ');
  }

  /** Everything that came, also of a response that has not ended; in the session's output format. */
  get audio(): Buffer {
    return Buffer.concat([...this.#audio, ...this.#spoken]);
  }

  /** Takes `response.created`. */
  begin(event: JsonObject): void {
    this.#forget();
    this.#current = text(child(event, 'response').id);
  }

  /** Takes a delta of audio, transcript or text; returns the number of bytes of sound that it added. */
  add(event: JsonObject): number {
    // What was on its way when the user interrupted belongs to nobody.
    if (this.#interrupted !== null && event.response_id === this.#interrupted) return 0;
    const delta = text(event.delta);
    if (event.type === 'response.output_audio_transcript.delta') this.#said = append(this.#said, delta);
    if (event.type === 'response.output_text.delta') this.#written = append(this.#written, delta);
    if (event.type !== 'response.output_audio.delta') return 0;
    const bytes = Buffer.from(delta, 'base64');
    if (this.#audioBytes + bytes.length > maxAudioBytes) return 0;
    this.#audioBytes += bytes.length;
    if (bytes.length > 0) this.#spoken.push(bytes);
    return bytes.length;
  }

  /** Takes `response.done`. */
  finish(event: JsonObject): Verdict {
    const response = child(event, 'response');
    if (this.#current !== null && response.id !== this.#current) return { kind: 'none' };
    this.#current = null;
    if (this.#said || this.#written) this.#print(`answer: ${oneLine(this.#said || this.#written)}`);
    const verdict = this.#judge(response);
    if (verdict.kind !== 'fault') this.#forget();
    return verdict;
  }

  #judge(response: JsonObject): Verdict {
    const details = child(response, 'status_details');
    const why = oneLine(text(details.reason) || 'no reason given', 100);
    const isSpoken = this.#spoken.length > 0;
    if (response.status === 'failed') {
      const error = errorIn(details);
      return { kind: 'fault', reason: `The response failed: ${explainError(error)}${adviceFor(error.code)}` };
    }
    if (response.status === 'cancelled') {
      // A user who goes on after a pause gets a new response; with any other cause none follows.
      if (why !== 'turn_detected') return { kind: 'fault', reason: `The answer was cancelled (${why}).` };
      this.#print('the answer was interrupted by more speech');
      this.#interrupted = text(response.id);
      return { kind: 'interrupted' };
    }
    if (response.status === 'incomplete') this.#print(`the answer is incomplete (${why})`);
    if (isSpoken || (this.#isInWriting && this.#written)) {
      this.#audio.push(...this.#spoken);
      this.#texts.push(this.#said || this.#written);
      return { kind: 'answered' };
    }
    if (this.#written) {
      const todo = 'set output_modalities: [audio] in the profile.';
      return { kind: 'fault', reason: `The answer came as text and not as speech: ${todo}` };
    }
    if (response.status === 'incomplete') {
      return { kind: 'fault', reason: `The response stopped before it said anything (${why}).` };
    }
    // A response without content is how a call to one of the server's own tools looks from here.
    return { kind: 'none' };
  }

  #forget(): void {
    this.#spoken = [];
    this.#said = '';
    this.#written = '';
  }
}

function append(whole: string, part: string): string {
  return (whole + part).slice(0, maxTextLength);
}

/** One question and its answer, as the events of the relay tell it. Knows no socket, and no clock but `now`. */

import { pcm, type SoundFormat, soundFormat } from '../audio/formats.js';
import type { JsonObject } from '../protocol/event.js';
import { oneLine } from '../terminal.js';
import { adviceFor, type ErrorEvent, explainError } from './failures.js';
import { child, errorIn, text } from './reading.js';
import { Reply } from './reply.js';
import { Words } from './words.js';

const idPrefix = 'talk_';
const tailSeconds = 1;

/** What the session says about the sound it takes and gives. */
export interface SessionSound {
  readonly input: SoundFormat;
  readonly output: SoundFormat;
  /** Whether the other side hears by itself when the user has finished. */
  readonly detectsTurns: boolean;
  /** Whether it answers by itself when it has heard that. */
  readonly answersTurns: boolean;
  /** Whether it writes down what is said, and answers nothing. */
  readonly onlyTranscribes: boolean;
}

/** What a conversation needs from outside. */
export interface ConversationOptions {
  /** A text to send in place of sound. */
  readonly text: string | undefined;
  readonly print: (line: string) => void;
  readonly send: (event: JsonObject) => void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** The session is there: the sound may begin. */
  readonly ready: (sound: SessionSound) => void;
  /** Called once, when there is an answer, or a transcript where nothing is answered (null), or a reason why none will come. */
  readonly settled: (reason: string | null) => void;
}

/** What came of it; `audio` is mono. */
export interface Heard {
  readonly sessionId: string | null;
  readonly heard: string;
  readonly answer: string;
  readonly audio: Int16Array;
  /** Samples per second of `audio`. */
  readonly rate: number;
  readonly firstAudioMs: number | null;
}

/** One question and its answer, under way. */
export class Question {
  readonly #options: ConversationOptions;
  readonly #answer: Reply;
  #sessionId: string | null = null;
  #sound: SessionSound | null = null;
  #isSettled = false;
  #lastError: ErrorEvent | null = null;

  #recordingSent = false;
  #quietSeconds = 0;
  #isSpeaking = false;
  #speechHeard = false;
  #turnEndedAt: number | null = null;
  /** A turn has ended and its response has not begun. */
  #responseDue = false;
  #firstAudioMs: number | null = null;

  readonly #words = new Words();

  readonly #handlers: ReadonlyMap<unknown, (event: JsonObject) => void> = new Map<unknown, (event: JsonObject) => void>(
    [
      ['session.created', (event) => this.#begin(child(event, 'session'))],
      ['input_audio_buffer.speech_started', (event) => this.#speechStarted(event)],
      ['input_audio_buffer.speech_stopped', (event) => this.#speechStopped(event)],
      ['input_audio_buffer.committed', (event) => this.#committed(event)],
      ['conversation.item.input_audio_transcription.delta', (event) => this.#words.add(event)],
      ['conversation.item.input_audio_transcription.completed', (event) => this.#transcribed(event)],
      ['conversation.item.input_audio_transcription.failed', (event) => this.#notTranscribed(event)],
      ['response.created', (event) => this.#responding(event)],
      ['response.output_audio.delta', (event) => this.#answering(event)],
      ['response.output_audio_transcript.delta', (event) => this.#answering(event)],
      ['response.output_text.delta', (event) => this.#answering(event)],
      ['response.done', (event) => this.#responded(event)],
      ['error', (event) => this.#failed(event)],
    ],
  );

  constructor(options: ConversationOptions) {
    this.#options = options;
    this.#answer = new Reply(options.print);
  }

  /** Takes one event of the relay; events it has no use for are ignored. */
  take(event: JsonObject): void {
    this.#handlers.get(event.type)?.(event);
  }

  /** The recording has been sent, and this much silence after it. */
  silence(quietSeconds: number): void {
    const isFirst = !this.#recordingSent;
    this.#recordingSent = true;
    this.#quietSeconds = quietSeconds;
    if (isFirst && !this.#sound?.detectsTurns) {
      this.#options.send({ type: 'input_audio_buffer.commit', event_id: `${idPrefix}commit` });
      this.#endTurn();
      this.#askForResponse();
    }
    this.#settleIfDone();
  }

  /** Whether more silence could still end a turn. */
  get needsSilence(): boolean {
    if (!this.#sound?.detectsTurns) return false;
    return this.#isSpeaking || this.#turnEndedAt === null || this.#quietSeconds < tailSeconds;
  }

  /** Whether the relay has noticed that there is speech. */
  get heardSpeech(): boolean {
    return this.#speechHeard;
  }

  /** How sure it is that a transcript of the user is still to come. */
  get transcriptDue(): 'no' | 'perhaps' | 'yes' {
    return this.#words.due;
  }

  get lastError(): ErrorEvent | null {
    return this.#lastError;
  }

  /** What it waits for, for when it has waited too long. */
  get waitsFor(): string {
    if (!this.#sound) return 'No session.created came: the relay has no session with Azure yet; its log says why.';
    if (this.#sound.onlyTranscribes && this.#words.areAwaited)
      return 'Speech was taken, but its words did not come: is transcription.model deployed?';
    if (this.#answer.isUnderWay) return 'The answer began but did not end.';
    if (this.#isSpeaking) {
      return 'Speech began but its end was not heard: is there noise at the end, or a long silence_duration_ms?';
    }
    if (this.#responseDue) return 'The turn was taken, but no response began: is the model busy or out of quota?';
    if (this.#options.text === undefined && !this.#recordingSent) return 'The recording was not sent to its end.';
    return 'A response ended without an answer and no other followed: does a tool hang?';
  }

  /** What has come so far. */
  result(): Heard {
    const output = this.#sound?.output ?? pcm;
    return {
      sessionId: this.#sessionId,
      heard: this.#options.text ?? this.#words.all,
      answer: this.#answer.text,
      audio: output.decode(this.#answer.audio),
      rate: output.rate,
      firstAudioMs: this.#firstAudioMs,
    };
  }

  #begin(session: JsonObject): void {
    if (this.#sound) return;
    this.#sessionId = text(session.id) || null;
    this.#options.print(`session ${oneLine(this.#sessionId ?? 'without an id', 128)}`);
    // Flat fields are the preview dialect, whose events have other names; a relay speaks it on some paths only.
    if (session.modalities !== undefined) {
      this.#settle('The session is in the preview dialect; give the base URL of the relay, or one of its GA paths.');
      return;
    }
    const audio = child(session, 'audio');
    const input = child(audio, 'input');
    this.#sound = {
      input: formatOf(input),
      output: formatOf(child(audio, 'output')),
      detectsTurns: input.turn_detection !== null,
      answersTurns: child(input, 'turn_detection').create_response !== false,
      onlyTranscribes: session.type === 'transcription',
    };
    const modalities = session.output_modalities;
    if (Array.isArray(modalities) && !modalities.includes('audio')) this.#answer.expectWriting();
    if (this.#sound.onlyTranscribes && this.#options.text !== undefined) {
      this.#settle('The profile of this token transcribes speech and answers nothing; say a recording.');
      return;
    }
    if (this.#options.text !== undefined) this.#sayText(this.#options.text);
    this.#options.ready(this.#sound);
  }

  #sayText(words: string): void {
    this.#options.print(`you: ${oneLine(words)}`);
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: words }] };
    this.#options.send({ type: 'conversation.item.create', event_id: `${idPrefix}item`, item });
    this.#endTurn();
    this.#askForResponse();
  }

  #speechStarted(event: JsonObject): void {
    this.#speechHeard = true;
    this.#isSpeaking = true;
    this.#options.print(`speech heard${at(event.audio_start_ms)}`);
  }

  #speechStopped(event: JsonObject): void {
    this.#options.print(`speech ended${at(event.audio_end_ms)}`);
    this.#endTurn();
  }

  #committed(event: JsonObject): void {
    this.#words.commit(event);
    if (!this.#responseDue && !this.#answer.isUnderWay) this.#endTurn();
    if (this.#sound?.detectsTurns && !this.#sound.answersTurns) this.#askForResponse();
  }

  #endTurn(): void {
    this.#speechHeard = true;
    this.#isSpeaking = false;
    this.#turnEndedAt = this.#options.now();
    this.#responseDue = !this.#sound?.onlyTranscribes;
    if (this.#options.text === undefined) this.#words.expect();
  }

  #askForResponse(): void {
    if (this.#sound?.onlyTranscribes) return;
    this.#options.send({ type: 'response.create', event_id: `${idPrefix}response` });
  }

  #transcribed(event: JsonObject): void {
    this.#options.print(`you: ${oneLine(this.#words.complete(event))}`);
    this.#settleIfDone();
  }

  #notTranscribed(event: JsonObject): void {
    this.#words.fail(event);
    const why = `what you said was not transcribed: ${explainError(errorIn(event))}`;
    if (this.#sound?.onlyTranscribes) this.#settle(`W${why.slice(1)}`);
    else this.#options.print(why);
  }

  #responding(event: JsonObject): void {
    this.#speechHeard = true;
    this.#responseDue = false;
    this.#answer.begin(event);
  }

  #answering(event: JsonObject): void {
    const bytes = this.#answer.add(event);
    if (bytes === 0 || this.#firstAudioMs !== null || this.#turnEndedAt === null) return;
    this.#firstAudioMs = Math.round(this.#options.now() - this.#turnEndedAt);
    this.#options.print(`first audio after ${this.#firstAudioMs} ms`);
  }

  #responded(event: JsonObject): void {
    const verdict = this.#answer.finish(event);
    if (verdict.kind === 'fault') this.#settle(verdict.reason);
    if (verdict.kind === 'interrupted') this.#firstAudioMs = null;
    this.#settleIfDone();
  }

  #failed(event: JsonObject): void {
    const error = errorIn(event);
    // Sound that is refused is refused piece by piece; one line says it all.
    const isNew = error.code !== this.#lastError?.code || error.message !== this.#lastError.message;
    this.#lastError = error;
    if (isNew) this.#options.print(`error ${explainError(error)}`);
    const isForAsking = text(child(event, 'error').event_id).startsWith(idPrefix);
    if (isForAsking) this.#settle(`The relay refused: ${explainError(error)}${adviceFor(error.code)}`);
  }

  #settleIfDone(): void {
    if (!(this.#sound?.onlyTranscribes ? this.#words.areComplete : this.#isAnswered) || this.#isSpeaking) return;
    // A last word can still be on its way to where speech is detected when the answer to an earlier one is complete.
    const isAllSaid = this.#options.text !== undefined || (this.#recordingSent && !this.needsSilence);
    if (isAllSaid) this.#settle(null);
  }

  get #isAnswered(): boolean {
    return this.#answer.isThere && !this.#answer.isUnderWay && !this.#responseDue;
  }

  #settle(reason: string | null): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#options.settled(reason);
  }
}

function formatOf(side: JsonObject): SoundFormat {
  return soundFormat(child(side, 'format').type) ?? pcm;
}

function at(ms: unknown): string {
  return typeof ms === 'number' ? ` at ${(ms / 1000).toFixed(2)} s` : '';
}

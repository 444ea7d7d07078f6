/**
 * A voice client of the relay for web pages: connects, speaks and listens, is interrupted like a person, and comes back
 * after a failure when the relay's table of exits says that it should.
 *
 *     const client = new RelayClient({ url: 'https://relay.example', token: () => fetchTokenFromMyBackend() });
 *     client.on('transcript', ({ role, text }) => show(role, text));
 *     button.onclick = async () => { client.connect(); await client.startMicrophone(); };
 */

import { Emitter } from './emitter.js';
import { type Microphone, openMicrophone } from './microphone.js';
import { type Interrupted, Playback } from './playback.js';
import { nextAfter } from './retry.js';
import { type Transcript, Transcripts } from './transcripts.js';
import {
  type OpenTransport,
  openWebSocket,
  problemOf,
  type RealtimeEvent,
  type Transport,
  type TransportEnd,
} from './transport.js';

export type { Interrupted } from './playback.js';
export type { Transcript } from './transcripts.js';
export { type OpenTransport, openWebSocket, type RealtimeEvent, type Transport } from './transport.js';
export { openCall } from './webrtc.js';

export interface RelayClientOptions {
  /** Address of the relay, such as `https://relay.example`. */
  readonly url: string;
  /**
   * The user's token, or a client secret. Asked for before every connection; `isRefused` is true when the last one was
   * not accepted or ran out, so that one kept in a cache must not be given again.
   */
  readonly token: (isRefused: boolean) => string | Promise<string>;
  /** WebSocket by default; `openCall` for WebRTC. */
  readonly transport?: OpenTransport;
  /** Where the compiled `microphone-worklet` is served; by default beside this file. */
  readonly workletUrl?: URL | string;
}

/** `connecting` lasts until `session.created`; `waiting` is the pause before another attempt. */
export type State = 'idle' | 'connecting' | 'open' | 'waiting';

/** Something that went wrong: an event was refused, upstream complained, or the session ended. */
export interface Problem {
  /** Of the table of exits, or of an `error` event; `unreachable`, `unusable_token` and `no_microphone` are the client's own. */
  readonly code: string;
  readonly message: string;
  /** Whether it ended the session. */
  readonly isFinal: boolean;
}

/** What a page may listen to. */
export interface RelayClientEvents {
  /** `retryInMs` is there while waiting. */
  state: { readonly state: State; readonly retryInMs?: number };
  /** Every event of the protocol, in both directions. */
  event: { readonly direction: 'sent' | 'received'; readonly event: RealtimeEvent };
  transcript: Transcript;
  problem: Problem;
  /** The model's speech was cut off, by the user's voice, by text or by `interrupt()`. */
  interrupted: Interrupted;
  /** Milliseconds from the end of the user's turn until the first sound of the answer, or its first words, came. */
  answered: { readonly afterMs: number };
}

/** Audio that could not be sent for about 5 s is too old to be of use. */
const maxUnsentBytes = 320 * 1024;
/** A session that lived this long has worked, so that the next attempt is a first one again. */
const provenMs = 10_000;

/** One user's conversation with the model. */
export class RelayClient extends Emitter<RelayClientEvents> {
  readonly #options: RelayClientOptions;
  readonly #transcripts = new Transcripts();
  #context: AudioContext | null = null;
  #playback: Playback | null = null;
  #microphone: Microphone | null = null;
  #transport: Transport | null = null;
  #state: State = 'idle';
  /** Changes with every connection and every stop, so that what comes late from an old one is known for what it is. */
  #epoch = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #openedAt = 0;
  #hasWorked = false;
  #tokenIsRefused = false;
  #lastError: { code: string; retryAfterMs: number | undefined } | null = null;
  #responseId: string | null = null;
  #mutedResponseId: string | null = null;
  #answerIsWanted = false;
  #interruptsBySpeech = true;
  #turnEndedAt: number | null = null;

  constructor(options: RelayClientOptions) {
    super();
    this.#options = options;
  }

  get state(): State {
    return this.#state;
  }

  get isListening(): boolean {
    return this.#microphone !== null;
  }

  /** Whether the model can be heard at this moment. */
  get isSpeaking(): boolean {
    return this.#playback?.isPlaying ?? false;
  }

  /** How loud both sides are: root mean square, 0 to 1. */
  get levels(): { readonly microphone: number; readonly model: number } {
    return { microphone: this.#microphone?.level ?? 0, model: this.#playback?.level ?? 0 };
  }

  /** Connects, and stays connected as far as the relay allows it. Call it from a click: browsers start no sound otherwise. */
  connect(): void {
    if (this.#state !== 'idle') return;
    this.#context ??= new AudioContext({ sampleRate: 24_000 });
    this.#playback ??= new Playback(this.#context);
    this.#context
      .resume()
      .catch(() => this.#report('no_sound', 'The browser does not let this page play sound.', false));
    this.#attempt = 0;
    this.#hasWorked = false;
    void this.#open();
  }

  /** Ends the session, the sound and the microphone. */
  disconnect(): void {
    this.#epoch++;
    clearTimeout(this.#retryTimer);
    this.stopMicrophone();
    this.#letGo()?.close();
    this.#become('idle');
  }

  /** Sends any event. For what the relay accepts see "What a client may send" in PROTOCOL.md. */
  send(event: RealtimeEvent): void {
    if (this.#state !== 'open') return;
    this.#transport?.send(event);
    this.emit('event', { direction: 'sent', event });
  }

  /** Says something in writing and asks for an answer. An answer that is running is interrupted, as by speech. */
  sendText(text: string): void {
    if (this.#state !== 'open') return;
    this.interrupt();
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text }] };
    this.send({ type: 'conversation.item.create', item });
    this.#turnEndedAt = performance.now();
    // Upstream refuses a second response while the first, though cancelled, is not done.
    if (this.#responseId) this.#answerIsWanted = true;
    else this.send({ type: 'response.create' });
  }

  /** Silences the model, and tells it how much of its answer was heard. */
  interrupt(): void {
    if (this.#responseId) this.send({ type: 'response.cancel' });
    this.#silence();
  }

  /** Opens the microphone; what it hears is sent while a session is open. Problems are told by the event `problem`. */
  async startMicrophone(): Promise<void> {
    if (this.#microphone) return;
    const epoch = this.#epoch;
    const url = this.#options.workletUrl ?? new URL('./microphone-worklet.js', import.meta.url);
    try {
      const microphone = await openMicrophone(url, (pcm) => this.#say(pcm));
      if (this.#microphone || (this.#epoch !== epoch && this.#state === 'idle')) {
        microphone.close();
        return;
      }
      this.#microphone = microphone;
      this.#transport?.setMicrophone?.(microphone.track);
    } catch (error) {
      this.#report('no_microphone', error instanceof Error ? error.message : String(error), false);
    }
  }

  stopMicrophone(): void {
    this.#transport?.setMicrophone?.(null);
    this.#microphone?.close();
    this.#microphone = null;
  }

  async #open(): Promise<void> {
    const epoch = ++this.#epoch;
    const isCurrent = () => epoch === this.#epoch;
    this.#become('connecting');
    const hadNewToken = this.#tokenIsRefused;
    this.#lastError = null;
    let token = '';
    try {
      token = (await this.#options.token(hadNewToken)).trim();
    } catch (error) {
      if (isCurrent()) this.#ended({ code: 1006, reason: '', message: `No token: ${String(error)}` }, hadNewToken);
      return;
    }
    if (!isCurrent()) return;
    const problem = problemOf(token);
    if (problem) {
      this.#report('unusable_token', problem, true);
      this.disconnect();
      return;
    }
    this.#transport = (this.#options.transport ?? openWebSocket)(this.#options.url, token, {
      received: (event) => isCurrent() && this.#receive(event),
      ended: (end) => isCurrent() && this.#ended(end, hadNewToken),
      heard: (stream) => isCurrent() && this.#playback?.playStream(stream),
    });
    if (this.#microphone) this.#transport.setMicrophone?.(this.#microphone.track);
  }

  #ended({ code, reason, message, retryAfterMs }: TransportEnd, hadNewToken: boolean): void {
    const isProven = this.#state === 'open' && performance.now() - this.#openedAt > provenMs;
    this.#letGo();
    this.#epoch++;
    const last = this.#lastError;
    const id = reason || (last?.code ?? '');
    this.#attempt = isProven ? 1 : this.#attempt + 1;
    const next = nextAfter({
      code,
      id,
      retryAfterMs: retryAfterMs ?? last?.retryAfterMs,
      attempt: this.#attempt,
      hasWorked: this.#hasWorked,
      hadNewToken: hadNewToken && !isProven,
    });
    this.#tokenIsRefused = ['unauthorized', 'token_expired', 'revoked'].includes(id);
    // What an `error` event announced was reported when it came.
    if (!last && id !== 'normal') {
      const unreachable = this.#hasWorked
        ? 'The connection broke.'
        : 'The relay cannot be reached, or refuses this page.';
      this.#report(id || 'unreachable', message ?? (id ? 'The session has ended.' : unreachable), true);
    }
    if (next.kind === 'stop') {
      this.disconnect();
      return;
    }
    this.#become('waiting', next.afterMs);
    this.#retryTimer = setTimeout(() => void this.#open(), next.afterMs);
  }

  /** Forgets everything that belongs to the connection, and returns it. */
  #letGo(): Transport | null {
    const transport = this.#transport;
    this.#transport = null;
    this.#playback?.stop();
    this.#playback?.playStream(null);
    this.#responseId = null;
    this.#mutedResponseId = null;
    this.#answerIsWanted = false;
    this.#turnEndedAt = null;
    this.#transcripts.clear();
    return transport;
  }

  #say(pcm: ArrayBuffer): void {
    if (this.#state !== 'open' || !this.#transport || this.#transport.carriesAudio) return;
    if (this.#transport.bufferedBytes > maxUnsentBytes) return;
    const audio = btoa(String.fromCharCode(...new Uint8Array(pcm)));
    this.send({ type: 'input_audio_buffer.append', audio });
  }

  #receive(event: RealtimeEvent): void {
    this.emit('event', { direction: 'received', event });
    const transcript = this.#transcripts.after(event);
    if (transcript) this.emit('transcript', transcript);
    switch (event.type) {
      case 'session.created':
        this.#openedAt = performance.now();
        this.#hasWorked = true;
        this.#tokenIsRefused = false;
        this.#noteSession(event);
        this.#become('open');
        return;
      case 'session.updated':
        this.#noteSession(event);
        return;
      case 'input_audio_buffer.speech_started':
        if (this.#interruptsBySpeech) this.#silence();
        return;
      case 'input_audio_buffer.speech_stopped':
        this.#turnEndedAt = performance.now();
        return;
      case 'response.created':
        this.#responseId = (event.response as { id: string }).id;
        return;
      case 'response.output_audio.delta':
        // Upstream had sent this before it knew that it was interrupted.
        if (event.response_id === this.#mutedResponseId) return;
        this.#playback?.add(String(event.item_id), String(event.delta));
        this.#answered();
        return;
      case 'response.output_text.delta':
      case 'output_audio_buffer.started':
        this.#answered();
        return;
      case 'conversation.item.truncated':
        // Over WebRTC upstream plays the sound, so it is upstream that knows where it stopped.
        if (!this.#transport?.carriesAudio) return;
        this.emit('interrupted', { itemId: String(event.item_id), playedMs: Number(event.audio_end_ms) });
        return;
      case 'response.done':
        this.#responseId = null;
        if (this.#answerIsWanted) this.send({ type: 'response.create' });
        this.#answerIsWanted = false;
        return;
      case 'error':
        this.#noteError(event);
        return;
    }
  }

  #noteSession({ session }: RealtimeEvent): void {
    type Shown = { audio?: { input?: { turn_detection?: { interrupt_response?: boolean } | null } } };
    const detection = (session as Shown | undefined)?.audio?.input?.turn_detection;
    this.#interruptsBySpeech = detection?.interrupt_response !== false;
  }

  /** An error with `retryable` is the relay's announcement of the end; all others leave the session open. */
  #noteError({ error }: RealtimeEvent): void {
    type Announced = { code?: string | null; message?: string; retryable?: boolean; retry_after_ms?: number };
    const { code, message, retryable, retry_after_ms } = error as Announced;
    const isFinal = retryable !== undefined;
    if (isFinal) this.#lastError = { code: code ?? '', retryAfterMs: retry_after_ms };
    // A cancel that crossed the end of the answer has done what it should.
    if (code !== 'response_cancel_not_active') this.#report(code ?? 'error', message ?? '', isFinal);
  }

  #answered(): void {
    if (this.#turnEndedAt === null) return;
    this.emit('answered', { afterMs: performance.now() - this.#turnEndedAt });
    this.#turnEndedAt = null;
  }

  #silence(): void {
    this.#mutedResponseId = this.#responseId;
    if (this.#transport?.carriesAudio) return;
    for (const cut of this.#playback?.stop() ?? []) {
      this.send({
        type: 'conversation.item.truncate',
        item_id: cut.itemId,
        content_index: 0,
        audio_end_ms: cut.playedMs,
      });
      this.emit('interrupted', cut);
    }
  }

  #become(state: State, retryInMs?: number): void {
    if (this.#state === state && state === 'idle') return;
    this.#state = state;
    this.emit('state', { state, ...(retryInMs !== undefined && { retryInMs }) });
  }

  #report(code: string, message: string, isFinal: boolean): void {
    this.emit('problem', { code, message, isFinal });
  }
}

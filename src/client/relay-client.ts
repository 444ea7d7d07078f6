/**
 * A voice client of the relay for web pages: connects, speaks and listens, can be interrupted like a person, and comes
 * back after a failure when the relay's table of exits says that it should.
 *
 *     const client = new RelayClient({ url: 'https://relay.example', token: () => fetchTokenFromMyBackend() });
 *     client.on('transcript', ({ role, text }) => show(role, text));
 *     button.onclick = async () => { client.connect(); await client.startMicrophone(); };
 */

import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import type { Interrupted } from './playback.js';
import { Sound } from './sound.js';
import type { ConnectionOptions, Problem, State } from './states.js';
import { failureIn, settingsOf, unknownSession } from './told.js';
import { type Transcript, Transcripts } from './transcripts.js';
import { type OpenTransport, openWebSocket, type RealtimeEvent } from './transport.js';

export type { Interrupted } from './playback.js';
export type { Problem, State } from './states.js';
export type { Transcript } from './transcripts.js';
export { type OpenTransport, openWebSocket, type RealtimeEvent, type Transport } from './transport.js';
export { openCall } from './webrtc.js';

export interface RelayClientOptions extends Omit<ConnectionOptions, 'transport'> {
  /** WebSocket by default; `openCall` for WebRTC. */
  readonly transport?: OpenTransport;
  /** Where the compiled `microphone-worklet` is served; by default beside this file. */
  readonly workletUrl?: URL | string;
}

/** What a page may listen to. */
export interface RelayClientEvents {
  /** `retryInMs` is there while waiting. */
  state: { readonly state: State; readonly retryInMs?: number };
  /** Every event of the protocol, both ways; what only acknowledges is none. */
  event: { readonly direction: 'sent' | 'received'; readonly event: RealtimeEvent };
  transcript: Transcript;
  problem: Problem;
  /** The microphone is open, or is not any more, whoever ended it. */
  microphone: { readonly isListening: boolean };
  /** The model's speech was cut off, by the user's voice, by text or by `interrupt()`. */
  interrupted: Interrupted;
  /** Milliseconds from the end of the user's turn until the first sound of the answer, or its first words, came. */
  answered: { readonly afterMs: number };
}

/** Audio that could not be sent for about 5 s, in pieces of 40 ms, is too old to be of use. */
const maxUnsentPieces = 125;
/** Upstream takes no turn that is shorter. */
const shortestTurnMs = 100;

/** One user's conversation with the model. */
export class RelayClient extends Emitter<RelayClientEvents> {
  readonly #connection: Connection;
  readonly #transcripts = new Transcripts();
  readonly #sound: Sound;
  #responseId: string | null = null;
  /** A response whose sound is not wanted any more. */
  #mutedResponseId: string | null = null;
  #answerIsWanted = false;
  #session = unknownSession;
  #turnEndedAt: number | null = null;
  /** What was said since a turn was ended last. */
  #unendedMs = 0;
  #isTooSlow = false;

  constructor({ url, token, transport = openWebSocket, workletUrl }: RelayClientOptions) {
    super();
    this.#sound = new Sound(workletUrl ?? new URL('./microphone-worklet.js', import.meta.url), {
      said: (audio) => this.#say(audio),
      listening: (track) => {
        this.#connection.transport?.setMicrophone?.(track);
        this.emit('microphone', { isListening: track !== null });
      },
      failed: (code, message) => this.#tell(code, message),
    });
    this.#connection = new Connection(
      { url, token, transport },
      {
        began: (event) => this.#noteSession(event),
        became: (state, retryInMs) => this.#became(state, retryInMs),
        received: (event) => this.#receive(event),
        heard: (stream) => this.#sound.playback?.playStream(stream),
        failed: (problem) => this.emit('problem', problem),
        lost: () => this.#forget(),
      },
    );
  }

  get state(): State {
    return this.#connection.state;
  }

  get #isOn(): boolean {
    return this.state === 'open' || this.state === 'resuming';
  }

  get isListening(): boolean {
    return this.#sound.track !== null;
  }

  /** Whether the other side notices that the user has finished. Where it does not, `endTurn` says so. */
  get detectsTurns(): boolean {
    return this.#session.detectsTurns;
  }

  /** Whether there is speech of the model left to hear. Over WebRTC nobody here knows: false. */
  get isSpeaking(): boolean {
    return this.#sound.playback?.isPlaying ?? false;
  }

  /** Whether sound travels beside the events, as it does over WebRTC, where many events do not come. */
  get carriesAudio(): boolean {
    return this.#connection.transport?.carriesAudio ?? false;
  }

  /** How loud both sides are: root mean square, 0 to 1. */
  get levels(): { readonly microphone: number; readonly model: number } {
    return this.#sound.levels;
  }

  /** Connects, and stays connected as far as the relay allows. Call it from a click: browsers start no sound otherwise. */
  connect(): void {
    if (this.state !== 'idle') return;
    this.#sound.wake();
    this.#connection.start();
  }

  /** Ends the session, the sound and the microphone, also one that is still being opened. */
  disconnect(): void {
    this.#connection.stop();
    this.#sound.rest();
  }

  /** Sends any event; while the session is being gone on with, as soon as it is. For what the relay accepts see "What a client may send" in PROTOCOL.md. */
  send(event: RealtimeEvent): void {
    if (!this.#isOn) return;
    const ms = event.type === 'input_audio_buffer.append' ? this.#sound.millisecondsOf(String(event.audio)) : 0;
    this.#unendedMs += ms;
    if (event.type === 'input_audio_buffer.commit' || event.type === 'input_audio_buffer.clear') this.#unendedMs = 0;
    this.#connection.send(event, ms);
    this.emit('event', { direction: 'sent', event });
  }

  /** Says something in writing and asks for an answer. An answer that is running is interrupted, as by speech. */
  sendText(text: string): void {
    if (!this.#isOn) return;
    this.interrupt();
    const content = [{ type: 'input_text', text }];
    this.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    this.#ask();
  }

  /**
   * Ends the user's turn: what was said so far is taken as a whole and, where the session answers at all, answered. For
   * sessions that do not notice it themselves (`turn_detection: null`); does nothing when nothing was said.
   */
  endTurn(): void {
    if (!this.#isOn || (this.#unendedMs < shortestTurnMs && !this.carriesAudio)) return;
    this.interrupt();
    this.send({ type: 'input_audio_buffer.commit' });
    if (this.#session.answersTurns) this.#ask();
  }

  /** Silences the model, and tells it how much of its answer was heard. */
  interrupt(): void {
    if (this.#responseId) this.send({ type: 'response.cancel' });
    // Over WebRTC what was sent but not played yet waits upstream.
    if (this.carriesAudio) this.send({ type: 'output_audio_buffer.clear' });
    this.#silence();
  }

  /**
   * Opens the microphone; what it hears is sent while a session is open. Settles also when it does not open: what goes
   * wrong, now or later, is told as `problem`.
   */
  startMicrophone(): Promise<void> {
    return this.#sound.startMicrophone();
  }

  stopMicrophone(): void {
    this.#sound.stopMicrophone();
  }

  #became(state: State, retryInMs?: number): void {
    if (state === 'idle') this.#sound.rest();
    if (state === 'open') this.#connection.transport?.setMicrophone?.(this.#sound.track);
    this.emit('state', { state, ...(retryInMs !== undefined && { retryInMs }) });
  }

  /** The next session knows nothing of this one: neither its items nor its answers. */
  #forget(): void {
    this.#sound.playback?.stop();
    this.#sound.playback?.playStream(null);
    this.#sound.cut();
    this.#transcripts.clear();
    this.#responseId = null;
    this.#mutedResponseId = null;
    this.#answerIsWanted = false;
    this.#turnEndedAt = null;
    this.#unendedMs = 0;
    this.#isTooSlow = false;
    this.#session = unknownSession;
  }

  #tell(code: string, message: string): void {
    this.emit('problem', { code, message, isFinal: false });
  }

  #noteSession(event: RealtimeEvent): void {
    this.#session = settingsOf(event);
    this.#sound.use(this.#session.input, this.#session.output);
  }

  #say(audio: string): void {
    const { transport } = this.#connection;
    if (transport?.carriesAudio || !this.#isOn) return;
    const wasTooSlow = this.#isTooSlow;
    this.#isTooSlow = (transport?.bufferedBytes ?? 0) > maxUnsentPieces * audio.length;
    if (!this.#isTooSlow) this.send({ type: 'input_audio_buffer.append', audio });
    else if (!wasTooSlow)
      this.#tell('not_sent', 'The network is too slow for the microphone; some of its sound is lost.');
  }

  #ask(): void {
    this.#turnEndedAt = performance.now();
    // Upstream refuses a second response while the first, though cancelled, is not done; a call is not told when it is.
    if (this.#responseId && !this.carriesAudio) this.#answerIsWanted = true;
    else this.send({ type: 'response.create' });
  }

  #receive(event: RealtimeEvent): void {
    this.emit('event', { direction: 'received', event });
    const transcript = this.#transcripts.after(event);
    if (transcript) this.emit('transcript', transcript);
    const failure = failureIn(event);
    if (failure) this.emit('problem', failure);
    switch (event.type) {
      case 'session.updated':
        this.#noteSession(event);
        return;
      case 'input_audio_buffer.speech_started':
        if (this.#session.speechInterrupts) this.#silence();
        return;
      case 'input_audio_buffer.speech_stopped':
        this.#turnEndedAt = performance.now();
        return;
      case 'input_audio_buffer.committed':
        this.#unendedMs = 0;
        return;
      case 'response.created':
        this.#sound.cut();
        this.#responseId = (event.response as { id: string }).id;
        return;
      case 'response.output_audio.delta':
        // Upstream had sent this before it knew that it was interrupted.
        if (event.response_id === this.#mutedResponseId) return;
        this.#sound.play(String(event.item_id), String(event.delta));
        this.#answered();
        return;
      case 'response.output_text.delta':
        this.#answered();
        return;
      case 'output_audio_buffer.started':
        this.#responseId = String(event.response_id);
        this.#sound.playback?.openStream();
        this.#answered();
        return;
      case 'output_audio_buffer.stopped':
        this.#responseId = null;
        return;
      case 'conversation.item.truncated':
        // Over WebRTC upstream plays the sound, so it is upstream that knows where it stopped.
        if (!this.carriesAudio) return;
        this.emit('interrupted', { itemId: String(event.item_id), playedMs: Number(event.audio_end_ms) });
        return;
      case 'response.done':
        this.#responseId = null;
        if (this.#answerIsWanted) this.send({ type: 'response.create' });
        this.#answerIsWanted = false;
        return;
    }
  }

  #answered(): void {
    if (this.#turnEndedAt === null) return;
    this.emit('answered', { afterMs: performance.now() - this.#turnEndedAt });
    this.#turnEndedAt = null;
  }

  #silence(): void {
    this.#mutedResponseId = this.#responseId;
    this.#sound.cut();
    for (const { itemId, playedMs } of this.#sound.playback?.stop() ?? []) {
      this.send({ type: 'conversation.item.truncate', item_id: itemId, content_index: 0, audio_end_ms: playedMs });
      this.emit('interrupted', { itemId, playedMs });
    }
  }
}

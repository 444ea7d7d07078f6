/**
 * A voice client of the relay for web pages: connects, speaks and listens, can be interrupted like a person, and comes
 * back after a failure when the relay's table of exits says that it should.
 *
 *     const client = new RelayClient({ url: 'https://relay.example', token: () => fetchTokenFromMyBackend() });
 *     client.on('transcript', ({ role, text }) => show(role, text));
 *     button.onclick = async () => { client.connect(); await client.startMicrophone(); };
 */

import { Connection, type Problem, type State } from './connection.js';
import { Emitter } from './emitter.js';
import { type Microphone, openMicrophone } from './microphone.js';
import { type Interrupted, Playback } from './playback.js';
import { type Transcript, Transcripts } from './transcripts.js';
import { type OpenTransport, openWebSocket, type RealtimeEvent } from './transport.js';

export type { Problem, State } from './connection.js';
export type { Interrupted } from './playback.js';
export type { Transcript } from './transcripts.js';
export { type OpenTransport, openWebSocket, type RealtimeEvent, type Transport } from './transport.js';
export { openCall } from './webrtc.js';

export interface RelayClientOptions {
  /** Address of the relay, such as `https://relay.example`. */
  readonly url: string;
  /**
   * The user's token, or a client secret. Asked for before every connection; `isRefused` is true when the last one was
   * not accepted or ran out: the same one again ends it.
   */
  readonly token: (isRefused: boolean) => string | Promise<string>;
  /** WebSocket by default; `openCall` for WebRTC. */
  readonly transport?: OpenTransport;
  /** Where the compiled `microphone-worklet` is served; by default beside this file. */
  readonly workletUrl?: URL | string;
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

/** One user's conversation with the model. */
export class RelayClient extends Emitter<RelayClientEvents> {
  readonly #options: RelayClientOptions;
  readonly #connection: Connection;
  readonly #transcripts = new Transcripts();
  #playback: Playback | null = null;
  #microphone: Microphone | null = null;
  /** Counts the user's decisions about the microphone: one that is still being opened may not be wanted any more. */
  #microphoneWish = 0;
  #responseId: string | null = null;
  /** A response whose sound is not wanted any more. */
  #mutedResponseId: string | null = null;
  #answerIsWanted = false;
  #speechInterrupts = true;
  #turnEndedAt: number | null = null;

  constructor(options: RelayClientOptions) {
    super();
    this.#options = options;
    const { url, token, transport = openWebSocket } = options;
    this.#connection = new Connection(
      { url, token, transport },
      {
        became: (state, retryInMs) => this.#became(state, retryInMs),
        received: (event) => this.#receive(event),
        heard: (stream) => this.#playback?.playStream(stream),
        failed: (problem) => this.emit('problem', problem),
        lost: () => this.#forget(),
      },
    );
  }

  get state(): State {
    return this.#connection.state;
  }

  get isListening(): boolean {
    return this.#microphone !== null;
  }

  /** Whether there is speech of the model left to hear. Over WebRTC nobody here knows: false. */
  get isSpeaking(): boolean {
    return this.#playback?.isPlaying ?? false;
  }

  /** Whether sound travels beside the events, as it does over WebRTC, where many events do not come. */
  get carriesAudio(): boolean {
    return this.#connection.transport?.carriesAudio ?? false;
  }

  /** How loud both sides are: root mean square, 0 to 1. */
  get levels(): { readonly microphone: number; readonly model: number } {
    return { microphone: this.#microphone?.level ?? 0, model: this.#playback?.level ?? 0 };
  }

  /** Connects, and stays connected as far as the relay allows. Call it from a click: browsers start no sound otherwise. */
  connect(): void {
    if (this.state !== 'idle') return;
    this.#playback ??= new Playback(new AudioContext({ sampleRate: 24_000 }));
    this.#playback.resume().catch(() => {
      this.emit('problem', {
        code: 'no_sound',
        message: 'The browser does not let this page play sound.',
        isFinal: false,
      });
    });
    this.#connection.start();
  }

  /** Ends the session, the sound and the microphone. */
  disconnect(): void {
    this.#connection.stop();
  }

  /** Sends any event. For what the relay accepts see "What a client may send" in PROTOCOL.md. */
  send(event: RealtimeEvent): void {
    if (this.state !== 'open') return;
    this.#connection.transport?.send(event);
    this.emit('event', { direction: 'sent', event });
  }

  /** Says something in writing and asks for an answer. An answer that is running is interrupted, as by speech. */
  sendText(text: string): void {
    if (this.state !== 'open') return;
    this.interrupt();
    const content = [{ type: 'input_text', text }];
    this.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    this.#turnEndedAt = performance.now();
    // Upstream refuses a second response while the first, though cancelled, is not done; a call is not told when it is.
    if (this.#responseId && !this.carriesAudio) this.#answerIsWanted = true;
    else this.send({ type: 'response.create' });
  }

  /** Silences the model, and tells it how much of its answer was heard. */
  interrupt(): void {
    if (this.#responseId) this.send({ type: 'response.cancel' });
    // Over WebRTC what was sent but not played yet waits upstream.
    if (this.carriesAudio) this.send({ type: 'output_audio_buffer.clear' });
    this.#silence();
  }

  /** Opens the microphone; what it hears is sent while a session is open. What goes wrong is told as `problem`. */
  async startMicrophone(): Promise<void> {
    if (this.#microphone) return;
    const wish = ++this.#microphoneWish;
    const url = this.#options.workletUrl ?? new URL('./microphone-worklet.js', import.meta.url);
    try {
      const microphone = await openMicrophone(url, (pcm) => this.#say(pcm));
      if (wish !== this.#microphoneWish) {
        microphone.close();
        return;
      }
      this.#microphone = microphone;
      this.#connection.transport?.setMicrophone?.(microphone.track);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.emit('problem', { code: 'no_microphone', message, isFinal: false });
    }
  }

  stopMicrophone(): void {
    this.#microphoneWish++;
    this.#connection.transport?.setMicrophone?.(null);
    this.#microphone?.close();
    this.#microphone = null;
  }

  #became(state: State, retryInMs?: number): void {
    if (state === 'idle') this.stopMicrophone();
    if (state === 'open' && this.#microphone) this.#connection.transport?.setMicrophone?.(this.#microphone.track);
    this.emit('state', { state, ...(retryInMs !== undefined && { retryInMs }) });
  }

  /** The next session knows nothing of this one: neither its items nor its answers. */
  #forget(): void {
    this.#playback?.stop();
    this.#playback?.playStream(null);
    this.#transcripts.clear();
    this.#responseId = null;
    this.#mutedResponseId = null;
    this.#answerIsWanted = false;
    this.#turnEndedAt = null;
  }

  #say(pcm: ArrayBuffer): void {
    const { transport } = this.#connection;
    if (!transport || transport.carriesAudio || transport.bufferedBytes > maxUnsentBytes) return;
    const audio = btoa(String.fromCharCode(...new Uint8Array(pcm)));
    this.send({ type: 'input_audio_buffer.append', audio });
  }

  #receive(event: RealtimeEvent): void {
    this.emit('event', { direction: 'received', event });
    const transcript = this.#transcripts.after(event);
    if (transcript) this.emit('transcript', transcript);
    switch (event.type) {
      case 'session.created':
      case 'session.updated':
        this.#noteSession(event);
        return;
      case 'input_audio_buffer.speech_started':
        if (this.#speechInterrupts) this.#silence();
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
        this.#answered();
        return;
      case 'output_audio_buffer.started':
        this.#responseId = String(event.response_id);
        this.#playback?.openStream();
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

  #noteSession({ session }: RealtimeEvent): void {
    type Shown = { audio?: { input?: { turn_detection?: { interrupt_response?: boolean } | null } } };
    const detection = (session as Shown | undefined)?.audio?.input?.turn_detection;
    this.#speechInterrupts = detection?.interrupt_response !== false;
  }

  #answered(): void {
    if (this.#turnEndedAt === null) return;
    this.emit('answered', { afterMs: performance.now() - this.#turnEndedAt });
    this.#turnEndedAt = null;
  }

  #silence(): void {
    this.#mutedResponseId = this.#responseId;
    for (const { itemId, playedMs } of this.#playback?.stop() ?? []) {
      this.send({ type: 'conversation.item.truncate', item_id: itemId, content_index: 0, audio_end_ms: playedMs });
      this.emit('interrupted', { itemId, playedMs });
    }
  }
}

/** The user's microphone, as the relay wants to hear it. */

import { keepAwake } from './awake.js';

/** What a microphone tells its owner; nothing after `close` or `ended`. */
export interface MicrophoneHandlers {
  /** It is open. Over WebRTC the track is what is sent. */
  opened(track: MediaStreamTrack): void;
  /** PCM16 at 24 kHz, 40 ms. */
  heard(samples: Int16Array): void;
  /** It is open and gives no sound for now: why, for people. */
  silenced(message: string): void;
  /** It could not be opened, or gives nothing any more: why, for people. */
  ended(message: string): void;
}

/** A track that is muted for longer than a change of device takes. */
const mutedMs = 1000;

/** Why a browser gives no microphone, by the name of its DOMException. */
const reasons: Readonly<Record<string, string>> = {
  NotAllowedError: 'The microphone is not allowed for this page.',
  SecurityError: 'The microphone is not allowed for this page.',
  NotFoundError: 'There is no microphone.',
  NotReadableError: 'The microphone cannot be opened; another program may be using it.',
  AbortError: 'The microphone cannot be opened; another program may be using it.',
  OverconstrainedError: 'There is no microphone that can do what is asked of it.',
};

/**
 * One microphone, from the moment it is wanted. It has echo cancellation, without which the model would hear and interrupt
 * itself.
 */
export class Microphone {
  readonly #handlers: MicrophoneHandlers;
  /** What must be ended with it. */
  readonly #ends: (() => void)[] = [];
  #isClosed = false;
  #level = () => 0;
  /** Resolves when it is open, or over: whatever the browser waits for, `close` settles it. */
  readonly settled: Promise<void>;

  /** @param workletUrl where the compiled `microphone-worklet` is served from */
  constructor(workletUrl: URL | string, handlers: MicrophoneHandlers) {
    this.#handlers = handlers;
    const closed = new Promise<void>((resolve) => this.#ends.push(resolve));
    const opened = this.#open(workletUrl).catch((error: unknown) => {
      this.#end(error instanceof Error ? (reasons[error.name] ?? error.message) : String(error));
    });
    this.settled = Promise.race([closed, opened]);
  }

  /** How loud it is: root mean square, 0 to 1. */
  get level(): number {
    return this.#level();
  }

  /** Lets go of the device, also while it is still being opened. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#level = () => 0;
    for (const end of this.#ends.splice(0)) end();
  }

  async #open(workletUrl: URL | string): Promise<void> {
    if (!navigator.mediaDevices) {
      throw new Error('The page must be https: browsers give a microphone only to pages of https:// and of localhost.');
    }
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    this.#until(() => {
      for (const track of stream.getTracks()) track.stop();
    });
    const [track] = stream.getAudioTracks();
    if (this.#isClosed) return;
    if (!track) throw new Error('The device gives no sound.');
    this.#watch(track);
    const { context, source } = graphOf(stream);
    this.#until(() => void context.close());
    await context.audioWorklet.addModule(workletUrl).catch(() => {
      throw new Error(`The page cannot load ${workletUrl}, which the microphone needs.`);
    });
    if (this.#isClosed) return;
    this.#listen(context, source);
    this.#until(keepAwake(context, () => this.#silenced('The browser gives no sound before the page is clicked.')));
    this.#handlers.opened(track);
  }

  /** A device that is pulled out, taken away by the user or by the system. */
  #watch(track: MediaStreamTrack): void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      clearTimeout(timer);
      if (track.muted) timer = setTimeout(() => this.#silenced('The system has muted the microphone.'), mutedMs);
    };
    track.addEventListener('ended', () => this.#end('The microphone has stopped: it was unplugged, or taken away.'));
    track.addEventListener('mute', look);
    track.addEventListener('unmute', look);
    look();
    this.#until(() => {
      clearTimeout(timer);
      track.removeEventListener('mute', look);
    });
  }

  #listen(context: AudioContext, source: MediaStreamAudioSourceNode): void {
    const worklet = new AudioWorkletNode(context, 'relay-microphone', { numberOfOutputs: 0, channelCount: 1 });
    worklet.addEventListener('processorerror', () => this.#end('The microphone has stopped by a fault of the page.'));
    worklet.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => this.#handlers.heard(new Int16Array(data));
    this.#until(() => {
      worklet.port.onmessage = null;
    });
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    const levels = new Float32Array(analyser.fftSize);
    source.connect(worklet);
    source.connect(analyser);
    this.#level = () => {
      analyser.getFloatTimeDomainData(levels);
      return Math.sqrt(levels.reduce((sum, sample) => sum + sample * sample, 0) / levels.length);
    };
  }

  #until(end: () => void): void {
    if (this.#isClosed) end();
    else this.#ends.push(end);
  }

  #silenced(message: string): void {
    if (!this.#isClosed) this.#handlers.silenced(message);
  }

  #end(message: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#handlers.ended(message);
  }
}

/** Firefox refuses a microphone in a context of another rate than the device's; there the worklet resamples. */
function graphOf(stream: MediaStream): { context: AudioContext; source: MediaStreamAudioSourceNode } {
  const context = new AudioContext({ sampleRate: 24_000 });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    void context.close();
    const native = new AudioContext();
    return { context: native, source: native.createMediaStreamSource(stream) };
  }
}

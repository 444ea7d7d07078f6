/** Both voices of a session: what the microphone hears goes out in the session's format, what comes in is played. */

import { pcm, type SoundFormat, soundFormat } from '../audio/formats.js';
import { createResampler } from '../audio/resample.js';
import { keepAwake } from './awake.js';
import { Microphone } from './microphone.js';
import { Playback } from './playback.js';

/** What sound tells its owner. */
export interface SoundHandlers {
  /** A piece of the user's voice, base64 of the session's format. */
  said(audio: string): void;
  /** The microphone is open, or is not any more. */
  listening(track: MediaStreamTrack | null): void;
  failed(code: string, message: string): void;
}

/** What becomes of sound on its way to the session, or from it. */
interface Way {
  readonly format: SoundFormat;
  readonly resample: (samples: Int16Array) => Int16Array;
}

const wayIn = (format: SoundFormat): Way => ({ format, resample: createResampler(pcm.rate, format.rate) });
const wayOut = (format: SoundFormat): Way => ({ format, resample: createResampler(format.rate, pcm.rate) });

/** The microphone and the loudspeaker of one client. */
export class Sound {
  readonly #handlers: SoundHandlers;
  readonly #workletUrl: URL | string;
  #microphone: Microphone | null = null;
  #context: AudioContext | null = null;
  #playback: Playback | null = null;
  #letSleep: (() => void) | null = null;
  #track: MediaStreamTrack | null = null;
  /** Null when the session has a format that is not known here: then nothing is sent, or played. */
  #input: Way | null = wayIn(pcm);
  #output: Way | null = wayOut(pcm);

  constructor(workletUrl: URL | string, handlers: SoundHandlers) {
    this.#workletUrl = workletUrl;
    this.#handlers = handlers;
  }

  /** There once `wake` was called, where the browser has sound at all. */
  get playback(): Playback | null {
    return this.#playback;
  }

  /** The microphone's, while it is open. */
  get track(): MediaStreamTrack | null {
    return this.#track;
  }

  /** How loud both sides are: root mean square, 0 to 1. */
  get levels(): { readonly microphone: number; readonly model: number } {
    return { microphone: this.#microphone?.level ?? 0, model: this.#playback?.level ?? 0 };
  }

  /** Starts the loudspeaker; browsers allow that only after a click or a key. */
  wake(): void {
    const silent = (message: string) => this.#handlers.failed('no_sound', message);
    try {
      this.#context ??= new AudioContext({ sampleRate: pcm.rate });
      this.#playback ??= new Playback(this.#context, silent);
      this.#letSleep ??= keepAwake(this.#context, () =>
        silent('The browser plays no sound before the page is clicked.'),
      );
    } catch (error) {
      silent(`The browser has no sound for this page: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Ends the microphone, and the loudspeaker until it is woken again. */
  rest(): void {
    this.stopMicrophone();
    this.#letSleep?.();
    this.#letSleep = null;
    // It is kept: Safari allows sound of a page once and then always, but of that context only.
    void this.#context?.suspend();
  }

  /** Takes the formats of a session, as `session.created` and `session.updated` name them. */
  use(input: unknown, output: unknown): void {
    this.#input = this.#wayOf(input, this.#input, wayIn);
    this.#output = this.#wayOf(output, this.#output, wayOut);
  }

  /** What is played next does not continue what was played. */
  cut(): void {
    if (this.#output) this.#output = wayOut(this.#output.format);
  }

  /** Plays a piece of an item: base64 of the session's format. */
  play(itemId: string, base64: string): void {
    if (!this.#output) return;
    const { format, resample } = this.#output;
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    this.#playback?.add(itemId, resample(format.decode(bytes)));
  }

  /** How long a piece of the user's voice is. */
  millisecondsOf(audio: string): number {
    const { rate, bytesPerSample } = this.#input?.format ?? pcm;
    return (audio.length * 750) / (rate * bytesPerSample);
  }

  /** Settles always, and is never rejected. */
  startMicrophone(): Promise<void> {
    this.#microphone ??= this.#openMicrophone();
    return this.#microphone.settled;
  }

  stopMicrophone(): void {
    this.#microphone?.close();
    this.#microphone = null;
    this.#listening(null);
  }

  #openMicrophone(): Microphone {
    const failed = (message: string) => this.#handlers.failed('no_microphone', message);
    return new Microphone(this.#workletUrl, {
      opened: (track) => this.#listening(track),
      heard: (samples) => this.#hear(samples),
      silenced: failed,
      ended: (message) => {
        this.stopMicrophone();
        failed(message);
      },
    });
  }

  #listening(track: MediaStreamTrack | null): void {
    if (track === this.#track) return;
    this.#track = track;
    this.#handlers.listening(track);
  }

  #hear(samples: Int16Array): void {
    if (!this.#input) return;
    const { format, resample } = this.#input;
    this.#handlers.said(btoa(String.fromCharCode(...format.encode(resample(samples)))));
  }

  #wayOf(type: unknown, now: Way | null, make: (format: SoundFormat) => Way): Way | null {
    const format = type === undefined ? pcm : soundFormat(type);
    if (format) return format === now?.format ? now : make(format);
    this.#handlers.failed(
      'unknown_format',
      `The sound of this session is ${String(type)}, which this client cannot do.`,
    );
    return null;
  }
}

/** Plays the model's speech without gaps, and knows to the millisecond what has really been heard. */

import { onGesture } from './awake.js';

/** What was queued of one item when playback was stopped. */
export interface Interrupted {
  readonly itemId: string;
  /** Milliseconds of the item that came out of the loudspeaker. */
  readonly playedMs: number;
}

interface Chunk {
  readonly itemId: string;
  readonly startsAt: number;
  readonly seconds: number;
  readonly source: AudioBufferSourceNode;
}

/** A media stream that is played beside the queue. */
interface Remote {
  readonly element: HTMLAudioElement;
  readonly output: GainNode | null;
  /** Ends waiting for a gesture. */
  endGestures(): void;
}

const sampleRate = 24_000;
/** Sound waits this long before it starts, so that the next piece can be a little late without a gap. */
const cushionSeconds = 0.06;
/** The cushion grows by itself when pieces came too late, up to this. */
const longestCushionSeconds = 0.3;
/** More than the longest answer; what would exceed it is not played. */
const maxQueuedSeconds = 900;
/** Long enough that cutting a wave off does not click, too short to hear as a fade. */
const fadeSeconds = 0.01;
/** What of a media stream is still on its way, and in the browser's buffer, when upstream has stopped sending. */
const wakeSeconds = 0.4;

/** A queue of PCM16 at 24 kHz before the loudspeaker. */
export class Playback {
  readonly #context: AudioContext;
  readonly #analyser: AnalyserNode;
  readonly #levels: Float32Array<ArrayBuffer>;
  #output: GainNode;
  #queued: Chunk[] = [];
  /** Seconds of each item whose sound is over already. */
  #finished = new Map<string, number>();
  #endsAt = 0;
  #cushion = cushionSeconds;
  readonly #silent: (message: string) => void;
  #remote: Remote | null = null;

  /** @param silent told when the browser does not play a media stream: why, for people */
  constructor(context: AudioContext, silent: (message: string) => void) {
    this.#context = context;
    this.#silent = silent;
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#analyser.connect(context.destination);
    this.#levels = new Float32Array(this.#analyser.fftSize);
    this.#output = this.#newOutput();
  }

  /** Whether there is sound left to hear. */
  get isPlaying(): boolean {
    return this.#endsAt > this.#heardUntil();
  }

  /** How loud the loudspeaker is: root mean square, 0 to 1. */
  get level(): number {
    this.#analyser.getFloatTimeDomainData(this.#levels);
    return Math.sqrt(this.#levels.reduce((sum, sample) => sum + sample * sample, 0) / this.#levels.length);
  }

  /** Appends a piece of an item, PCM16 at 24 kHz. */
  add(itemId: string, pcm: Int16Array): void {
    const now = this.#context.currentTime;
    if (pcm.length === 0 || this.#endsAt - now > maxQueuedSeconds) return;
    const samples = Float32Array.from(pcm, (sample) => sample / 32_768);
    const buffer = this.#context.createBuffer(1, samples.length, sampleRate);
    buffer.copyToChannel(samples, 0);
    if (this.#endsAt <= now) {
      const ranDry = this.#queued.some((chunk) => chunk.itemId === itemId);
      if (ranDry) this.#cushion = Math.min(longestCushionSeconds, this.#cushion * 1.5);
      this.#endsAt = now + this.#cushion;
    }
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#output);
    source.start(this.#endsAt);
    this.#queued.push({ itemId, startsAt: this.#endsAt, seconds: buffer.duration, source });
    this.#endsAt += buffer.duration;
    this.#forget();
  }

  /** Silences everything at once; tells which items were cut off, and after how much of them. */
  stop(): Interrupted[] {
    const until = this.#heardUntil();
    const cut = new Map<string, number>();
    for (const { itemId, startsAt, seconds } of this.#queued) {
      if (startsAt + seconds > until) cut.set(itemId, 0);
    }
    for (const itemId of cut.keys()) cut.set(itemId, this.#playedSeconds(itemId, until));
    const now = this.#context.currentTime;
    const faded = this.#output;
    faded.gain.setValueAtTime(1, now);
    faded.gain.linearRampToValueAtTime(0, now + fadeSeconds);
    this.#muffle(now);
    for (const { source } of this.#queued) source.stop(now + fadeSeconds);
    this.#output = this.#newOutput();
    this.#queued = [];
    this.#finished.clear();
    this.#endsAt = 0;
    return [...cut].map(([itemId, seconds]) => ({ itemId, playedMs: Math.floor(seconds * 1000) }));
  }

  /** Plays a media stream beside the queue, as WebRTC delivers it; null ends it. */
  playStream(stream: MediaStream | null): void {
    const old = this.#remote;
    this.#remote = null;
    if (old) {
      old.endGestures();
      old.output?.disconnect();
      old.element.srcObject = null;
    }
    if (!stream) return;
    const element = new Audio();
    element.srcObject = stream;
    const output = this.#outputOf(stream);
    // Chromium lets remote sound into the graph only while an element plays the stream, so a silent one does.
    element.muted = output !== null;
    const remote: Remote = { element, output, endGestures: () => undefined };
    this.#remote = remote;
    // The system pauses an element for a call, or with a key of the headset.
    element.onpause = () => this.#refused(remote, 'The browser has paused the sound until the page is clicked.');
    this.#play(remote);
  }

  #play(remote: Remote): void {
    remote.element.play().then(
      () => remote.endGestures(),
      () => this.#refused(remote, 'The browser plays no sound before the page is clicked.'),
    );
  }

  #refused(remote: Remote, why: string): void {
    if (this.#remote !== remote) return;
    remote.endGestures();
    remote.endGestures = onGesture(() => this.#play(remote));
    this.#silent(why);
  }

  /** Another answer begins on the media stream: it is to be heard from its first sound on. */
  openStream(): void {
    const now = this.#context.currentTime;
    const gain = this.#remote?.output?.gain;
    gain?.cancelScheduledValues(now);
    gain?.setTargetAtTime(1, now, fadeSeconds / 3);
  }

  /** The stream in the graph; null where its rate is not the graph's and the browser does not convert, as Firefox. */
  #outputOf(stream: MediaStream): GainNode | null {
    try {
      const source = this.#context.createMediaStreamSource(stream);
      const output = this.#newOutput();
      source.connect(output);
      return output;
    } catch {
      return null;
    }
  }

  /** Upstream stops its stream by itself, but a round trip later than the user wants it. */
  #muffle(now: number): void {
    const gain = this.#remote?.output?.gain;
    gain?.cancelScheduledValues(now);
    gain?.setTargetAtTime(0, now, fadeSeconds / 3);
    gain?.setTargetAtTime(1, now + wakeSeconds, fadeSeconds / 3);
  }

  #newOutput(): GainNode {
    const gain = this.#context.createGain();
    gain.connect(this.#analyser);
    return gain;
  }

  /** The point of the context's time that has left the loudspeaker: what was rendered is heard a little later. */
  #heardUntil(): number {
    return this.#context.currentTime - (this.#context.outputLatency || 0);
  }

  #playedSeconds(itemId: string, until: number): number {
    return this.#queued
      .filter((chunk) => chunk.itemId === itemId)
      .reduce(
        (sum, { startsAt, seconds }) => sum + Math.min(seconds, Math.max(0, until - startsAt)),
        this.#finished.get(itemId) ?? 0,
      );
  }

  /** Keeps of what is over only its length, and that only while the item may still go on. */
  #forget(): void {
    const until = this.#heardUntil();
    const over = this.#queued.findIndex(({ startsAt, seconds }) => startsAt + seconds > until);
    if (over < 64) return;
    for (const { itemId, seconds } of this.#queued.splice(0, over)) {
      this.#finished.set(itemId, (this.#finished.get(itemId) ?? 0) + seconds);
    }
    const open = new Set(this.#queued.map(({ itemId }) => itemId));
    for (const itemId of this.#finished.keys()) if (!open.has(itemId)) this.#finished.delete(itemId);
  }
}

/** Voice activity by energy, on the timeline of the audio itself: it knows bytes, never the clock. */
import { decodeAlaw, decodeUlaw } from '../audio/g711.js';
import type { AudioFormat, TurnDetection } from './settings.js';
import { bytesPerMs } from './speech.js';

/** What the listener noticed while it heard a piece of audio. */
export type Turn =
  | { readonly kind: 'started'; readonly audioMs: number }
  | { readonly kind: 'stopped'; readonly audioMs: number; readonly heard: Utterance };

/** Audio that became one utterance, and how many bytes were appended before it. */
export interface Utterance {
  readonly audio: Buffer;
  readonly from: number;
}

const frameMs = 20;
/** Sound has to last this long to count as speech, so that a click does not interrupt anyone. */
const onsetMs = 60;
/** How long each eagerness waits; shorter than the service's maximum, as most sentences sound complete. */
const patienceMs = { low: 2000, medium: 800, auto: 800, high: 400 };
/** What is kept while nobody commits: ten minutes of PCM16. */
const maxHeldMs = 600_000;

/** The input audio buffer: collects, and when turn detection is on, finds turns. */
export class Listener {
  #format: AudioFormat;
  #detection: TurnDetection | null;
  #rest: Buffer = Buffer.alloc(0);
  #frames: Buffer[] = [];
  #heldBytes = 0;
  #heardBytes = 0;
  #nowMs = 0;
  #loudMs = 0;
  #quietMs = 0;
  #speaking = false;

  constructor(format: AudioFormat, detection: TurnDetection | null) {
    this.#format = format;
    this.#detection = detection;
  }

  /** Milliseconds of audio that a commit would take. */
  get heldMs(): number {
    return (this.#heldBytes + this.#rest.length) / bytesPerMs(this.#format);
  }

  get isFull(): boolean {
    return this.heldMs > maxHeldMs;
  }

  /** Position on the timeline of all audio ever appended. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Milliseconds of the utterance that is being spoken, and the sound that came last of it; null while nobody speaks. */
  get speaking(): { readonly ms: number; readonly last: Buffer } | null {
    const last = this.#frames.at(-1);
    return this.#speaking && last ? { ms: this.heldMs, last } : null;
  }

  configure(format: AudioFormat, detection: TurnDetection | null): void {
    if (format.type !== this.#format.type) this.clear();
    this.#format = format;
    this.#detection = detection;
    if (!detection) this.#speaking = false;
  }

  /** Hears wire bytes and yields what happened, in order; the consumer may reconfigure or clear in between. */
  *append(bytes: Buffer): Generator<Turn> {
    const size = bytesPerMs(this.#format) * frameMs;
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    this.#rest = Buffer.alloc(0);
    while (data.length >= size) {
      const frame = data.subarray(0, size);
      data = data.subarray(size);
      this.#frames.push(frame);
      this.#heldBytes += size;
      this.#heardBytes += size;
      this.#nowMs += frameMs;
      const turn = this.#detection ? this.#hear(frame, this.#detection) : null;
      if (turn) yield turn;
    }
    // Copied: a few left-over bytes must not keep a large append alive.
    this.#rest = Buffer.from(data);
  }

  /** Takes everything held, as one utterance. */
  take(): Utterance {
    const heard = { audio: Buffer.concat([...this.#frames, this.#rest]), from: this.#heardBytes - this.#heldBytes };
    this.clear();
    return heard;
  }

  clear(): void {
    this.#heardBytes += this.#rest.length;
    this.#frames = [];
    this.#rest = Buffer.alloc(0);
    this.#heldBytes = 0;
    this.#speaking = false;
    this.#loudMs = 0;
    this.#quietMs = 0;
  }

  #hear(frame: Buffer, detection: TurnDetection): Turn | null {
    const loud = loudness(frame, this.#format) > floorOf(detection);
    this.#loudMs = loud ? this.#loudMs + frameMs : 0;
    this.#quietMs = loud ? 0 : this.#quietMs + frameMs;
    const padding = detection.prefix_padding_ms ?? 300;
    if (!this.#speaking) {
      if (this.#loudMs < onsetMs) {
        this.#keepOnly(padding + onsetMs);
        return null;
      }
      this.#speaking = true;
      return { kind: 'started', audioMs: Math.max(0, this.#nowMs - this.#loudMs - padding) };
    }
    if (this.#quietMs < silenceOf(detection)) return null;
    return { kind: 'stopped', audioMs: this.#nowMs, heard: this.take() };
  }

  #keepOnly(ms: number): void {
    const bytes = ms * bytesPerMs(this.#format);
    while (this.#heldBytes > bytes) this.#heldBytes -= this.#frames.shift()?.length ?? this.#heldBytes;
  }
}

/** Root mean square of a frame in dB below full scale. Every fourth sample is enough to tell speech from silence. */
function loudness(frame: Buffer, format: AudioFormat): number {
  let sum = 0;
  let count = 0;
  if (format.type === 'audio/pcm') {
    for (let at = 0; at + 1 < frame.length; at += 8) {
      const sample = frame.readInt16LE(at);
      sum += sample * sample;
      count += 1;
    }
  } else {
    const samples = format.type === 'audio/pcmu' ? decodeUlaw(frame) : decodeAlaw(frame);
    for (const sample of samples) sum += sample * sample;
    count = samples.length;
  }
  return 10 * Math.log10(sum / count / 32_768 ** 2 + 1e-12);
}

/** The threshold of 0 to 1 on a scale from a whisper (-60 dB) to a raised voice (-20 dB). */
function floorOf(detection: TurnDetection): number {
  return -60 + 40 * (detection.threshold ?? 0.5);
}

function silenceOf(detection: TurnDetection): number {
  if (detection.type === 'semantic_vad') return patienceMs[detection.eagerness ?? 'auto'];
  return detection.silence_duration_ms ?? 200;
}

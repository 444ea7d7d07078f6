/** Which bundled recording an utterance is, by how its loudness goes: the length alone would take a stranger's words for it. */
import { decodeAlaw, decodeUlaw } from '../audio/g711.js';
import { decodePcm } from '../audio/pcm.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs, type Recording, type Speech } from './speech.js';

const frameMs = 20;
/** Silence around what was said, and the edges that a detector of speech cuts off. */
const mostShiftMs = 1500;
/** Of 1. Through a microphone, a resampler and G.711 a recording stays over 0.9; other speech of its length under 0.5. */
const alike = 0.75;

const known = new WeakMap<Recording, Float64Array>();

/** The recording that was said, from start to end; undefined for everything else. */
export function recognised(bytes: Buffer, format: AudioFormat, speech: Speech): Recording | undefined {
  const seconds = bytes.length / bytesPerMs(format) / 1000;
  const candidates = [...speech.values()].filter(
    (recording) => Math.abs(seconds - recording.seconds) * 1000 <= mostShiftMs,
  );
  if (candidates.length === 0) return undefined;
  const heard = loudness(bytes, format);
  return candidates.find((recording) => likeness(loudnessOf(recording), heard) >= alike);
}

function loudnessOf(recording: Recording): Float64Array {
  const found = known.get(recording);
  if (found) return found;
  const pcm: AudioFormat = { type: 'audio/pcm', rate: 24_000 };
  const made = loudness(recording.bytes(pcm), pcm);
  known.set(recording, made);
  return made;
}

/** The root mean square of each frame. */
function loudness(bytes: Buffer, format: AudioFormat): Float64Array {
  const samples = decode(bytes, format);
  const size = (samples.length === 0 ? 1 : bytesPerMs(format) / (format.type === 'audio/pcm' ? 2 : 1)) * frameMs;
  return Float64Array.from({ length: Math.floor(samples.length / size) }, (_, frame) => {
    let sum = 0;
    for (let at = frame * size; at < (frame + 1) * size; at++) sum += (samples[at] as number) ** 2;
    return Math.sqrt(sum / size);
  });
}

function decode(bytes: Buffer, { type }: AudioFormat): Int16Array {
  if (type === 'audio/pcm') return decodePcm(bytes);
  return type === 'audio/pcmu' ? decodeUlaw(bytes) : decodeAlaw(bytes);
}

/** The best correlation of both, one moved along the other, with silence around: from -1 to 1. */
function likeness(recording: Float64Array, heard: Float64Array): number {
  const most = mostShiftMs / frameMs;
  let best = -1;
  for (let shift = -most; shift <= most; shift++) best = Math.max(best, correlation(recording, heard, shift));
  return best;
}

function correlation(left: Float64Array, right: Float64Array, shift: number): number {
  const from = Math.min(0, shift);
  const to = Math.max(left.length, right.length + shift);
  const count = to - from;
  let [sumLeft, sumRight, squaresLeft, squaresRight, products] = [0, 0, 0, 0, 0];
  for (let at = from; at < to; at++) {
    const a = left[at] ?? 0;
    const b = right[at - shift] ?? 0;
    sumLeft += a;
    sumRight += b;
    squaresLeft += a * a;
    squaresRight += b * b;
    products += a * b;
  }
  const spread = (squaresLeft - sumLeft ** 2 / count) * (squaresRight - sumRight ** 2 / count);
  return spread > 0 ? (products - (sumLeft * sumRight) / count) / Math.sqrt(spread) : 0;
}

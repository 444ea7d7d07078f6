/** The formats in which a session takes and gives sound, and how PCM16 becomes them; runs in browsers as well. */

import { decodeAlaw, decodeUlaw, encodeAlaw, encodeUlaw } from './g711.js';
import { decodePcm, encodePcm } from './pcm.js';

/** One audio format of the protocol. */
export interface SoundFormat {
  /** Samples per second. */
  readonly rate: number;
  readonly bytesPerSample: number;
  readonly encode: (samples: Int16Array) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => Int16Array;
}

/** PCM16 at 24 kHz: what a session has that names no format. */
export const pcm: SoundFormat = { rate: 24_000, bytesPerSample: 2, encode: encodePcm, decode: decodePcm };

const formats = new Map<unknown, SoundFormat>([
  ['audio/pcm', pcm],
  ['audio/pcmu', { rate: 8000, bytesPerSample: 1, encode: encodeUlaw, decode: decodeUlaw }],
  ['audio/pcma', { rate: 8000, bytesPerSample: 1, encode: encodeAlaw, decode: decodeAlaw }],
]);

/** The format that a session names in `audio.input.format.type` or `audio.output.format.type`, where it is known. */
export function soundFormat(type: unknown): SoundFormat | undefined {
  return formats.get(type);
}

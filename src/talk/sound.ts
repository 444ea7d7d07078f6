/** The formats in which a session takes and gives sound, and how PCM16 becomes them. */

import { decodeAlaw, decodeUlaw, encodeAlaw, encodeUlaw } from '../audio/g711.js';
import { pcm16FromBytes, pcm16ToBytes } from '../audio/wav.js';
import type { JsonObject } from '../protocol/event.js';

/** One audio format of the protocol. */
export interface SoundFormat {
  /** Samples per second. */
  readonly rate: number;
  readonly encode: (samples: Int16Array) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => Int16Array;
}

const pcm: SoundFormat = { rate: 24_000, encode: pcm16ToBytes, decode: pcm16FromBytes };
const formats = new Map<unknown, SoundFormat>([
  ['audio/pcm', pcm],
  ['audio/pcmu', { rate: 8000, encode: encodeUlaw, decode: decodeUlaw }],
  ['audio/pcma', { rate: 8000, encode: encodeAlaw, decode: decodeAlaw }],
]);

/** The format that a session object names in `audio.input.format` or `audio.output.format`; PCM at 24 kHz if it does not. */
export function soundFormat(format: JsonObject): SoundFormat {
  return formats.get(format.type) ?? pcm;
}

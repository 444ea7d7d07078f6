/** WAV files to and from PCM16, the sample type of the Realtime protocol. Source: Microsoft RIFF/WAVE (RFC 2361 for format tags). */

import { encodePcm } from './pcm.js';

export { decodePcm as pcm16FromBytes } from './pcm.js';

/** The sound of a WAV file; `samples` holds the channels interleaved. */
export interface Sound {
  /** Samples per second of one channel. */
  readonly sampleRate: number;
  readonly channels: number;
  readonly samples: Int16Array;
}

const formatPcm = 0x0001;
const formatFloat = 0x0003;
const formatExtensible = 0xfffe;
const formatNames: Readonly<Record<number, string>> = {
  2: 'MS ADPCM',
  6: 'A-law',
  7: 'mu-law',
  17: 'IMA ADPCM',
  80: 'MPEG',
  85: 'MP3',
};
const advice = 'Convert it first, for example: sox input.wav -b 16 -e signed-integer output.wav';

interface Format {
  readonly tag: number;
  readonly channels: number;
  readonly sampleRate: number;
  readonly bits: number;
}

/**
 * Reads a WAV file of PCM (8, 16, 24, 32 bit) or 32-bit float. Sizes that run over the end of the file, as programs
 * write that stream to a pipe, mean "until the end". Throws an Error that says what is wrong with the file.
 */
export function readWav(data: Buffer): Sound {
  if (data.length === 0) throw new Error('This is not a WAV file: it is empty.');
  const container = data.toString('latin1', 0, 4);
  if (container === 'RF64' || container === 'RIFX') {
    throw new Error(`This WAV file is of the rare kind ${container}; only RIFF is read. ${advice}`);
  }
  if (container !== 'RIFF' || data.toString('latin1', 8, 12) !== 'WAVE') {
    throw new Error('This is not a WAV file: it does not start with RIFF and WAVE. Give a .wav file of PCM sound.');
  }
  let format: Format | null = null;
  for (let at = 12; at + 8 <= data.length; ) {
    const name = data.toString('latin1', at, at + 4);
    const size = data.readUInt32LE(at + 4);
    const body = data.subarray(at + 8, at + 8 + size);
    if (name === 'fmt ') {
      format = readFormat(body);
    } else if (name === 'data') {
      if (!format) throw new Error('This WAV file is damaged: its sound comes before its fmt chunk.');
      // A program that streams may leave 0 where it did not know the length; then the file's own length is wrong too.
      const unfinished = size === 0 && data.readUInt32LE(4) + 8 !== data.length;
      const sound = unfinished ? data.subarray(at + 8) : body;
      return { sampleRate: format.sampleRate, channels: format.channels, samples: toPcm16(sound, format) };
    }
    at += 8 + size + (size % 2);
  }
  throw new Error(`This WAV file is damaged or cut short: it has no ${format ? 'data' : 'fmt'} chunk.`);
}

function readFormat(body: Buffer): Format {
  if (body.length < 16) throw new Error('This WAV file is damaged: its fmt chunk is shorter than 16 bytes.');
  let tag = body.readUInt16LE(0);
  const channels = body.readUInt16LE(2);
  const sampleRate = body.readUInt32LE(4);
  const bits = body.readUInt16LE(14);
  if (tag === formatExtensible) {
    if (body.length < 26)
      throw new Error('This WAV file is damaged: its extensible fmt chunk is shorter than 26 bytes.');
    // The sub-format is a GUID whose first two bytes are the plain format tag.
    tag = body.readUInt16LE(24);
  }
  const known = tag === formatPcm ? [8, 16, 24, 32].includes(bits) : tag === formatFloat && bits === 32;
  if (!known) {
    const name =
      tag === formatPcm ? 'PCM' : tag === formatFloat ? 'float' : (formatNames[tag] ?? `format 0x${tag.toString(16)}`);
    throw new Error(
      `This WAV file holds ${bits}-bit ${name}; PCM of 8, 16, 24 or 32 bit and 32-bit float are read. ${advice}`,
    );
  }
  if (channels < 1) throw new Error('This WAV file is damaged: it says it has 0 channels.');
  if (sampleRate < 1) throw new Error('This WAV file is damaged: it says its sample rate is 0 Hz.');
  if (body.readUInt16LE(12) !== (channels * bits) / 8) {
    throw new Error(`This WAV file pads its ${bits}-bit samples in an unusual way, which is not read. ${advice}`);
  }
  return { tag, channels, sampleRate, bits };
}

function toPcm16(sound: Buffer, { tag, bits, channels }: Format): Int16Array {
  const width = bits / 8;
  const frames = Math.floor(sound.length / (width * channels));
  const samples = new Int16Array(frames * channels);
  const read = reader(sound, tag === formatFloat ? 'float' : bits);
  for (let i = 0; i < samples.length; i++) samples[i] = read(i * width);
  return samples;
}

function reader(sound: Buffer, kind: number | 'float'): (at: number) => number {
  switch (kind) {
    case 8:
      return (at) => ((sound[at] ?? 128) - 128) << 8;
    case 16:
      return (at) => sound.readInt16LE(at);
    case 24:
      return (at) => sound.readInt16LE(at + 1);
    case 32:
      return (at) => sound.readInt16LE(at + 2);
    default:
      return (at) => clampToInt16(sound.readFloatLE(at) * 32768);
  }
}

function clampToInt16(value: number): number {
  return Math.max(-32768, Math.min(32767, Math.round(value)));
}

/** One channel out of interleaved ones: their mean, so that nothing clips. */
export function mixToMono(samples: Int16Array, channels: number): Int16Array {
  if (channels === 1) return samples;
  const mono = new Int16Array(Math.floor(samples.length / channels));
  for (let frame = 0; frame < mono.length; frame++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += samples[frame * channels + channel] ?? 0;
    mono[frame] = Math.round(sum / channels);
  }
  return mono;
}

/** A mono PCM16 WAV file; `sampleRate` in Hz. */
export function writeWav(samples: Int16Array, sampleRate: number): Buffer {
  const file = Buffer.alloc(44 + samples.length * 2);
  file.write('RIFF', 0, 'latin1');
  file.writeUInt32LE(file.length - 8, 4);
  file.write('WAVEfmt ', 8, 'latin1');
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(formatPcm, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(sampleRate, 24);
  file.writeUInt32LE(sampleRate * 2, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36, 'latin1');
  file.writeUInt32LE(samples.length * 2, 40);
  pcm16ToBytes(samples).copy(file, 44);
  return file;
}

/** PCM16 as the little-endian bytes the protocol carries. */
export function pcm16ToBytes(samples: Int16Array): Buffer {
  return Buffer.from(encodePcm(samples).buffer);
}

/** The bundled recordings the emulator speaks with, in every audio format of the protocol. */
import { readFile } from 'node:fs/promises';
import { encodeAlaw, encodeUlaw } from '../audio/g711.js';
import { resample } from '../audio/resample.js';
import { readWav } from '../audio/wav.js';
import type { AudioFormat } from './settings.js';

/** One bundled recording. */
export interface Recording {
  readonly name: string;
  readonly text: string;
  readonly seconds: number;
  /** Wire bytes in a format; computed once. */
  bytes(format: AudioFormat): Buffer;
}

/** Speech of any length: a recording, cut or repeated. */
export interface Clip {
  readonly bytes: number;
  readonly format: AudioFormat;
  slice(from: number, to: number): Buffer;
}

/** All bundled recordings by name. */
export type Speech = ReadonlyMap<string, Recording>;

// From src/emulator and from dist/emulator alike the assets are two folders up.
const folder = new URL('../../assets/speech/', import.meta.url);

// Read once for all emulators of a process: the recordings are part of the package and never change.
let loaded: Promise<Speech> | null = null;

/** The recordings named in `speech.json`. Rejects when they are missing or not WAV. */
export function loadSpeech(): Promise<Speech> {
  loaded ??= read();
  return loaded;
}

async function read(): Promise<Speech> {
  const manifest = JSON.parse(await readFile(new URL('speech.json', folder), 'utf8')) as Record<
    string,
    { text: string; seconds: number }
  >;
  const recordings = await Promise.all(
    Object.entries(manifest).map(async ([name, { text }]) => {
      const wav = readWav(await readFile(new URL(`${name}.wav`, folder)));
      return recordingOf(name, text, resample(wav.samples, wav.sampleRate, 24_000));
    }),
  );
  return new Map(recordings.map((recording) => [recording.name, recording]));
}

function recordingOf(name: string, text: string, samples: Int16Array): Recording {
  const encoded = new Map<AudioFormat['type'], Buffer>();
  return {
    name,
    text,
    seconds: samples.length / 24_000,
    bytes({ type }) {
      const known = encoded.get(type);
      if (known) return known;
      const bytes = encode(samples, type);
      encoded.set(type, bytes);
      return bytes;
    },
  };
}

function encode(samples: Int16Array, type: AudioFormat['type']): Buffer {
  if (type === 'audio/pcm') return Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
  const slow = resample(samples, 24_000, 8000);
  return Buffer.from(type === 'audio/pcmu' ? encodeUlaw(slow) : encodeAlaw(slow));
}

/** Bytes of one millisecond on the wire. */
export function bytesPerMs(format: AudioFormat): number {
  return format.type === 'audio/pcm' ? 48 : 8;
}

/** The recording as it is, or as long as `seconds` says. */
export function clipOf(recording: Recording, format: AudioFormat, seconds = recording.seconds): Clip {
  const source = recording.bytes(format);
  const bytes = Math.max(20, Math.round(seconds * 1000)) * bytesPerMs(format);
  return {
    bytes: seconds === recording.seconds ? source.length : bytes,
    format,
    slice(from, to) {
      const parts: Buffer[] = [];
      for (let at = from; at < to; ) {
        const start = at % source.length;
        const part = source.subarray(start, Math.min(source.length, start + to - at));
        parts.push(part);
        at += part.length;
      }
      return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    },
  };
}

/** A text in words, each with the space before it, as transcripts are streamed. */
export function wordsOf(text: string): string[] {
  return text.match(/\s*\S+/g) ?? [];
}

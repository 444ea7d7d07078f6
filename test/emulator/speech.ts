import { readFileSync } from 'node:fs';
import { encodeAlaw, encodeUlaw } from '../../src/audio/g711.js';
import { resample } from '../../src/audio/resample.js';
import { readWav } from '../../src/audio/wav.js';

const folder = new URL('../../assets/speech/', import.meta.url);

/** The texts of the bundled recordings. */
export const texts = JSON.parse(readFileSync(new URL('speech.json', folder), 'utf8')) as Record<
  string,
  { text: string; seconds: number }
>;

const question = readWav(readFileSync(new URL('question-order.wav', folder))).samples;

/** The bundled question with silence around it, as wire bytes. */
export function spoken(format: 'pcm' | 'ulaw' | 'alaw' = 'pcm', leadMs = 500, trailMs = 1500): Buffer {
  const samples = new Int16Array(leadMs * 24 + question.length + trailMs * 24);
  samples.set(question, leadMs * 24);
  if (format === 'pcm') return Buffer.from(samples.buffer);
  const slow = resample(samples, 24_000, 8000);
  return Buffer.from(format === 'ulaw' ? encodeUlaw(slow) : encodeAlaw(slow));
}

/** A tone at this level in dB of full scale, as PCM16. */
export function tone(ms: number, level: number): Buffer {
  const peak = 32_768 * 10 ** (level / 20) * Math.SQRT2;
  const samples = Int16Array.from({ length: ms * 24 }, (_, at) => Math.sin((at / 24_000) * 2 * Math.PI * 300) * peak);
  return Buffer.from(samples.buffer);
}

/** Silence as PCM16. */
export function silence(ms: number): Buffer {
  return Buffer.alloc(ms * 48);
}

/** The append events for some audio, 100 ms or so each. */
export function appends(audio: Buffer, size = 4800): object[] {
  const events: object[] = [];
  for (let at = 0; at < audio.length; at += size) {
    events.push({ type: 'input_audio_buffer.append', audio: audio.subarray(at, at + size).toString('base64') });
  }
  return events;
}

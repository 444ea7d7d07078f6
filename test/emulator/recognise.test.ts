import { describe, expect, it } from 'vitest';
import { encodeUlaw } from '../../src/audio/g711.js';
import { resample } from '../../src/audio/resample.js';
import { pcm16ToBytes } from '../../src/audio/wav.js';
import { recognised } from '../../src/emulator/recognise.js';
import { textHeard } from '../../src/emulator/said.js';
import type { AudioFormat } from '../../src/emulator/settings.js';
import { loadSpeech, type Recording } from '../../src/emulator/speech.js';

const speech = await loadSpeech();
const pcm: AudioFormat = { type: 'audio/pcm', rate: 24_000 };
const recording = (name: string) => speech.get(name) as Recording;
const question = recording('question-order').bytes(pcm);
const samplesOf = (bytes: Buffer) =>
  Int16Array.from({ length: bytes.length / 2 }, (_, at) => bytes.readInt16LE(at * 2));
const silence = (ms: number) => Buffer.alloc(ms * 48);

/** As a microphone hands it on: another rate, another level, and a room that hums. */
function throughMicrophone(bytes: Buffer, level: number): Int16Array {
  const at48 = resample(samplesOf(bytes), 24_000, 48_000);
  const back = resample(at48.subarray(331), 48_000, 24_000);
  return back.map((sample, at) => Math.round(sample * level + 60 * Math.sin(at / 9)));
}

describe('a recording', () => {
  it.each([...speech.keys()])('is known as itself: %s', (name) => {
    expect(recognised(recording(name).bytes(pcm), pcm, speech)?.name).toBe(name);
  });

  it.each([0.2, 0.5, 1])('is known through a microphone at level %f, with silence before and behind', (level) => {
    const heard = pcm16ToBytes(throughMicrophone(Buffer.concat([silence(310), question, silence(700)]), level));
    expect(recognised(heard, pcm, speech)?.name).toBe('question-order');
  });

  it('is known in G.711', () => {
    const slow = resample(throughMicrophone(question, 0.6), 24_000, 8000);
    expect(recognised(Buffer.from(encodeUlaw(slow)), { type: 'audio/pcmu' }, speech)?.name).toBe('question-order');
  });
});

describe('what is no recording', () => {
  const backwards = pcm16ToBytes(samplesOf(question).reverse());
  const tone = Buffer.alloc(question.length);
  for (let at = 0; at < tone.length; at += 2) tone.writeInt16LE(Math.round(8000 * Math.sin(at / 20)), at);
  const half = question.subarray(0, question.length / 2);
  const story = recording('answer-story').bytes(pcm).subarray(0, question.length);

  it.each([
    ['speech backwards', backwards],
    ['a tone of the length of one', tone],
    ['the first half of one', half],
    ['other words of its length', story],
    ['silence', silence(3100)],
    ['nothing', Buffer.alloc(0)],
  ])('is only said to be speech, and how long: %s', (_, bytes) => {
    expect(recognised(bytes, pcm, speech)).toBeUndefined();
    expect(textHeard(bytes, pcm, speech)).toBe(`(speech, ${(bytes.length / 48_000).toFixed(1)} s)`);
  });
});

import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { createResampler, resample } from '../../src/audio/resample.js';
import { readWav, writeWav } from '../../src/audio/wav.js';

const amplitude = 16_000;

function sine(hertz: number, rate: number, seconds = 0.5): Int16Array {
  return Int16Array.from({ length: rate * seconds }, (_, i) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * hertz * i) / rate)),
  );
}

/** Decibels of the difference to `expected`, relative to a full `sine`; the ends are left out. */
function difference(actual: Int16Array, expected: Int16Array): number {
  const margin = 400;
  let sum = 0;
  for (let i = margin; i < expected.length - margin; i++) sum += ((actual[i] ?? 0) - (expected[i] ?? 0)) ** 2;
  return 10 * Math.log10((sum + 1e-9) / (expected.length - 2 * margin) / (amplitude ** 2 / 2));
}

function concat(parts: Int16Array[]): Int16Array {
  return Int16Array.from(parts.flatMap((part) => [...part]));
}

describe('resample', () => {
  it.each([
    [8000, 24_000, 1000],
    [24_000, 8000, 1000],
    [16_000, 24_000, 3000],
    [44_100, 24_000, 1000],
    [48_000, 24_000, 9000],
    [24_000, 48_000, 9000],
    [11_025, 24_000, 440],
    [44_101, 24_000, 1000],
    [8000, 24_000, 3300],
  ])('keeps pitch, level and place of a tone from %i Hz to %i Hz (%i Hz)', (from, to, hertz) => {
    const result = resample(sine(hertz, from), from, to);
    const expected = sine(hertz, to);
    expect(Math.abs(result.length - expected.length)).toBeLessThanOrEqual(1);
    expect(difference(result, expected)).toBeLessThan(-65);
  });

  it.each([
    [24_000, 8000, 4500],
    [24_000, 8000, 7000],
    [48_000, 24_000, 13_000],
    [44_100, 24_000, 15_000],
  ])('lets nothing of a tone alias from %i Hz to %i Hz (%i Hz)', (from, to, hertz) => {
    expect(difference(resample(sine(hertz, from), from, to), new Int16Array(to / 2))).toBeLessThan(-65);
  });

  it('makes no images of a tone on the way up', () => {
    const up = resample(sine(1000, 8000), 8000, 24_000);
    expect(difference(up, sine(1000, 24_000))).toBeLessThan(-80);
  });

  it('keeps a constant constant', () => {
    const result = resample(new Int16Array(8000).fill(1000), 8000, 24_000);
    expect(new Set(result.subarray(200, -200))).toEqual(new Set([1000]));
  });

  it('cuts what overshoots instead of wrapping around', () => {
    const square = Int16Array.from({ length: 800 }, (_, i) => (i % 80 < 40 ? 32767 : -32768));
    const result = resample(square, 8000, 24_000);
    for (let i = 200; i < 1000; i++) {
      const place = (i % 240) / 240;
      if (place > 0.05 && place < 0.45) expect(result[i]).toBeGreaterThan(20_000);
    }
  });

  it('takes sound that is shorter than its filter', () => {
    expect(resample(new Int16Array(0), 8000, 24_000)).toHaveLength(0);
    expect(resample(Int16Array.of(1000), 8000, 24_000)).toHaveLength(3);
    expect(resample(new Int16Array(7), 48_000, 8000)).toHaveLength(2);
  });

  it('returns the same samples for the same rate', () => {
    const samples = sine(440, 24_000, 0.1);
    expect(resample(samples, 24_000, 24_000)).toBe(samples);
  });

  it.each([0, -1, 999, 8000.5, Number.NaN, 192_001, Infinity])('refuses a rate of %d Hz', (rate) => {
    expect(() => resample(new Int16Array(1), rate, 24_000)).toThrow(RangeError);
    expect(() => resample(new Int16Array(1), 24_000, rate)).toThrow(/1000 to 192000 Hz/);
  });

  it('agrees with SoX where that is installed', (context) => {
    if (spawnSync('sox', ['--version']).error) context.skip('SoX is not installed: apt-get install sox');
    const samples = Int16Array.from({ length: 12_000 }, (_, i) =>
      Math.round(8000 * Math.sin((i * i) / 40_000) + 8000 * Math.sin(i / 9)),
    );
    const theirs = execFileSync('sox', ['-D', '-t', 'wav', '-', '-t', 'wav', '-', 'rate', '-v', '8000'], {
      input: writeWav(samples, 24_000),
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    expect(difference(resample(samples, 24_000, 8000), readWav(theirs).samples)).toBeLessThan(-45);
  });
});

describe('createResampler', () => {
  it.each([
    [8000, 24_000, 160],
    [24_000, 8000, 480],
    [24_000, 8000, 7],
    [44_100, 24_000, 1],
    [8000, 24_000, 1999],
  ])('gives the same from %i Hz to %i Hz in chunks of %i as in one', (from, to, size) => {
    const samples = sine(700, from, 0.25);
    const whole = createResampler(from, to)(samples);
    const next = createResampler(from, to);
    const parts: Int16Array[] = [];
    for (let at = 0; at < samples.length; at += size) parts.push(next(samples.subarray(at, at + size)));
    expect(concat(parts)).toEqual(whole);
  });

  it.each([
    [8000, 24_000],
    [24_000, 8000],
  ])('runs 4 ms behind from %i Hz to %i Hz, and no more as time goes on', (from, to) => {
    const next = createResampler(from, to);
    let made = 0;
    for (let i = 1; i <= 500; i++) {
      made += next(new Int16Array(from / 50)).length;
      expect((i * to) / 50 - made).toBeLessThanOrEqual(to * 0.004);
      expect((i * to) / 50 - made).toBeGreaterThan(0);
    }
  });

  it('takes empty chunks', () => {
    const next = createResampler(8000, 24_000);
    expect(next(new Int16Array(0))).toHaveLength(0);
    expect(next(new Int16Array(80)).length).toBeGreaterThan(0);
  });

  it('does not keep the memory of its caller', () => {
    const next = createResampler(8000, 24_000);
    const chunk = sine(700, 8000, 0.02);
    next(chunk);
    chunk.fill(32_767);
    const tail = next(new Int16Array(160));
    expect(Math.max(...tail.subarray(200).map(Math.abs))).toBeLessThan(100);
  });
});

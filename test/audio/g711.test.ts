import { describe, expect, it } from 'vitest';
import { decodeAlaw, decodeUlaw, encodeAlaw, encodeUlaw } from '../../src/audio/g711.js';

const everyCode = Uint8Array.from({ length: 256 }, (_, code) => code);
const everySample = Int16Array.from({ length: 65_536 }, (_, i) => i - 32_768);

describe('mu-law', () => {
  // ITU-T G.711 table 2 (values of 14 bits, here of 16): the ends of the range, both zeros, the ends of segments.
  it.each([
    [0x00, -32124],
    [0x01, -31100],
    [0x0f, -16764],
    [0x10, -15996],
    [0x1f, -8316],
    [0x3f, -1980],
    [0x6f, -132],
    [0x7e, -8],
    [0x7f, 0],
    [0x80, 32124],
    [0x8f, 16764],
    [0xa0, 7932],
    [0xcf, 924],
    [0xd0, 876],
    [0xe0, 372],
    [0xfe, 8],
    [0xff, 0],
  ])('decodes the byte %i to %i', (byte, sample) => {
    expect(decodeUlaw(Uint8Array.of(byte))).toEqual(Int16Array.of(sample));
  });

  it('encodes what it decoded to the same byte, and both zeros to the positive one', () => {
    const expected = everyCode.map((code) => (code === 0x7f ? 0xff : code));
    expect(encodeUlaw(decodeUlaw(everyCode))).toEqual(expected);
  });

  it('puts every sample in the middle of its step, where steps double with each segment', () => {
    const middle = (magnitude: number) => middleOfStep(Math.min(magnitude, 32_635) + 132, 8) - 132;
    expect(decodeUlaw(encodeUlaw(everySample))).toEqual(everySample.map((sample) => mirrored(sample, middle)));
  });

  it('encodes the loudest samples without wrapping around', () => {
    expect(encodeUlaw(Int16Array.of(-32768, -32636, 32635, 32767))).toEqual(Uint8Array.of(0x00, 0x00, 0x80, 0x80));
  });
});

describe('A-law', () => {
  it.each([
    [0x2a, -32256],
    [0x2b, -31232],
    [0x55, -8],
    [0x54, -24],
    [0x5a, -248],
    [0x45, -264],
    [0xd5, 8],
    [0xd4, 24],
    [0xc5, 264],
    [0xaa, 32256],
    [0x80, 5504],
    [0x00, -5504],
    [0xff, 848],
  ])('decodes the byte %i to %i', (byte, sample) => {
    expect(decodeAlaw(Uint8Array.of(byte))).toEqual(Int16Array.of(sample));
  });

  it('encodes what it decoded to the same byte', () => {
    expect(encodeAlaw(decodeAlaw(everyCode))).toEqual(everyCode);
  });

  it('puts every sample in the middle of its step, where steps double with each segment', () => {
    const middle = (magnitude: number) => middleOfStep(magnitude, 16);
    expect(decodeAlaw(encodeAlaw(everySample))).toEqual(everySample.map((sample) => mirrored(sample, middle)));
  });

  it('encodes the loudest samples without wrapping around', () => {
    expect(encodeAlaw(Int16Array.of(-32768, 32767))).toEqual(Uint8Array.of(0x2a, 0xaa));
  });
});

it('takes no sound for no sound', () => {
  expect(encodeUlaw(new Int16Array(0))).toHaveLength(0);
  expect(decodeAlaw(new Uint8Array(0))).toHaveLength(0);
});

/** The smallest step holds for the first 32 steps; from there each segment of 16 steps has steps twice as wide. */
function middleOfStep(magnitude: number, smallestStep: number): number {
  let step = smallestStep;
  while (magnitude >= 32 * step) step *= 2;
  return Math.floor(magnitude / step) * step + step / 2;
}

/** A value on a decision level belongs to the step away from zero, except that -1 is the mirror of 0 (ITU-T G.191). */
function mirrored(sample: number, middle: (magnitude: number) => number): number {
  return sample < 0 ? -middle(~sample) : middle(sample);
}

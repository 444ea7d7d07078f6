import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { mixToMono, pcm16FromBytes, pcm16ToBytes, readWav, writeWav } from '../../src/audio/wav.js';

const some = Int16Array.of(0, 1, -1, 258, -32768, 32767);

interface Shape {
  tag?: number;
  channels?: number;
  sampleRate?: number;
  bits?: number;
  blockAlign?: number;
  extra?: Buffer;
}

function chunk(name: string, body: Buffer, size = body.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(name, 'latin1');
  head.writeUInt32LE(size, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

function fmt({ tag = 1, channels = 1, sampleRate = 24_000, bits = 16, blockAlign, extra = Buffer.alloc(0) }: Shape) {
  const body = Buffer.alloc(16);
  body.writeUInt16LE(tag, 0);
  body.writeUInt16LE(channels, 2);
  body.writeUInt32LE(sampleRate, 4);
  body.writeUInt16LE(blockAlign ?? (channels * bits) / 8, 12);
  body.writeUInt16LE(bits, 14);
  return chunk('fmt ', Buffer.concat([body, extra]));
}

function riff(chunks: Buffer[], size?: number): Buffer {
  const body = Buffer.concat([Buffer.from('WAVE'), ...chunks]);
  return chunk('RIFF', body, size);
}

const file = (shape: Shape, sound: Buffer) => riff([fmt(shape), chunk('data', sound)]);

describe('readWav', () => {
  it('reads back what writeWav wrote', () => {
    expect(readWav(writeWav(some, 24_000))).toEqual({ sampleRate: 24_000, channels: 1, samples: some });
  });

  it('reads 8-bit sound, whose middle is 128', () => {
    expect(readWav(file({ bits: 8 }, Buffer.of(0, 128, 255, 129))).samples).toEqual(
      Int16Array.of(-32768, 0, 32512, 256),
    );
  });

  it('reads 24-bit and 32-bit sound by its upper 16 bits', () => {
    const wide24 = Buffer.of(0xff, 0x02, 0x01, 0x00, 0x00, 0x80);
    expect(readWav(file({ bits: 24 }, wide24)).samples).toEqual(Int16Array.of(258, -32768));
    const wide32 = Buffer.of(0xff, 0xff, 0x02, 0x01, 0x00, 0x00, 0xff, 0x7f);
    expect(readWav(file({ bits: 32 }, wide32)).samples).toEqual(Int16Array.of(258, 32767));
  });

  it('reads 32-bit float and cuts what is over full scale', () => {
    const sound = Buffer.alloc(20);
    for (const [i, value] of [0, 0.5, -1, 1.5, Number.NaN].entries()) sound.writeFloatLE(value, i * 4);
    expect(readWav(file({ tag: 3, bits: 32 }, sound)).samples).toEqual(Int16Array.of(0, 16384, -32768, 32767, 0));
  });

  it('reads the extensible form by its sub-format', () => {
    const extra = Buffer.alloc(24);
    extra.writeUInt16LE(22, 0);
    extra.writeUInt16LE(1, 8);
    expect(readWav(file({ tag: 0xfffe, extra }, pcm16ToBytes(some))).samples).toEqual(some);
  });

  it('skips other chunks, also of odd length', () => {
    const data = riff([
      chunk('LIST', Buffer.from('odd')),
      fmt({}),
      chunk('fact', Buffer.of(1)),
      chunk('data', pcm16ToBytes(some)),
    ]);
    expect(readWav(data).samples).toEqual(some);
  });

  it.each([
    ['0', 0, 0],
    ['0 in a header of its own length', 36, 0],
    ['0xFFFFFFFF', 0xffffffff, 0xffffffff],
    ['0x7FFFF000, as SoX and espeak-ng write', 0x7ffff024, 0x7ffff000],
  ])('reads to the end of a streamed file whose sizes are %s', (_, riffSize, dataSize) => {
    const data = riff([fmt({}), chunk('data', pcm16ToBytes(some), dataSize)], riffSize);
    expect(readWav(data).samples).toEqual(some);
  });

  it('reads an honestly empty recording as empty, not what follows it as sound', () => {
    expect(
      readWav(riff([fmt({}), chunk('data', Buffer.alloc(0)), chunk('LIST', Buffer.from('note'))])).samples,
    ).toHaveLength(0);
  });

  it('leaves out half a frame at the end of a cut file', () => {
    expect(readWav(file({ channels: 2 }, pcm16ToBytes(Int16Array.of(1, 2, 3)))).samples).toEqual(Int16Array.of(1, 2));
  });

  it.each([
    ['an empty file', Buffer.alloc(0), 'it is empty'],
    ['another format', Buffer.from('ID3\u0004 this is music'), 'does not start with RIFF'],
    ['a bare RIFF', Buffer.from('RIFF'), 'does not start with RIFF and WAVE'],
    ['big-endian RIFX', Buffer.from('RIFX0000WAVE'), 'RIFX'],
    ['no chunks', riff([]), 'no fmt chunk'],
    ['no sound', riff([fmt({})]), 'no data chunk'],
    ['sound before its format', riff([chunk('data', Buffer.alloc(4))]), 'before its fmt chunk'],
    ['a short fmt chunk', riff([chunk('fmt ', Buffer.alloc(8))]), 'shorter than 16'],
    ['a short extensible chunk', file({ tag: 0xfffe }, Buffer.alloc(2)), 'shorter than 26'],
    ['mu-law', file({ tag: 7, bits: 8 }, Buffer.alloc(2)), '8-bit mu-law'],
    ['MP3', file({ tag: 0x55, bits: 0 }, Buffer.alloc(2)), 'MP3'],
    ['64-bit float', file({ tag: 3, bits: 64 }, Buffer.alloc(8)), '64-bit float'],
    ['12-bit PCM', file({ bits: 12 }, Buffer.alloc(8)), '12-bit PCM'],
    ['an unknown format', file({ tag: 0x1234 }, Buffer.alloc(2)), 'format 0x1234'],
    ['no channels', file({ channels: 0 }, Buffer.alloc(2)), '0 channels'],
    ['no rate', file({ sampleRate: 0 }, Buffer.alloc(2)), '0 Hz'],
    ['24 bits in 32', file({ bits: 24, blockAlign: 4 }, Buffer.alloc(8)), 'pads its 24-bit samples'],
  ])('says what is wrong with %s', (_, data, message) => {
    expect(() => readWav(data)).toThrow(message);
  });

  it('says how to convert what it does not read', () => {
    expect(() => readWav(file({ tag: 2, bits: 4 }, Buffer.alloc(2)))).toThrow(/MS ADPCM.*sox input\.wav/);
  });
});

describe('mixToMono', () => {
  it('takes the mean of the channels, so that two loud ones do not clip', () => {
    expect(mixToMono(Int16Array.of(32767, 32767, 100, -100, -32768, -32768), 2)).toEqual(
      Int16Array.of(32767, 0, -32768),
    );
  });

  it('leaves mono as it is', () => {
    expect(mixToMono(some, 1)).toBe(some);
  });
});

it('carries samples as little-endian bytes, wherever they lie in memory', () => {
  const bytes = pcm16ToBytes(some);
  expect(bytes.subarray(6, 8)).toEqual(Buffer.of(0x02, 0x01));
  const shifted = Buffer.concat([Buffer.of(9), bytes, Buffer.of(9)]).subarray(1);
  expect(pcm16FromBytes(shifted)).toEqual(some);
});

describe('the speech samples', () => {
  const folder = new URL('../../assets/speech/', import.meta.url);
  const speech: Record<string, { text: string; seconds: number }> = JSON.parse(
    readFileSync(new URL('speech.json', folder), 'utf8'),
  );

  it.each(Object.keys(speech))('%s is 24 kHz mono of the length and loudness that are promised', (name) => {
    const sound = readWav(readFileSync(new URL(`${name}.wav`, folder)));
    expect(sound.sampleRate).toBe(24_000);
    expect(sound.channels).toBe(1);
    expect(sound.samples.length / 24_000).toBeCloseTo(speech[name]?.seconds ?? 0, 1);
    const peak = sound.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    expect(peak).toBeGreaterThan(16_000);
    expect(peak).toBeLessThan(32_000);
  });

  it('asks its question after about 0.3 s of silence, as people do', () => {
    const { samples } = readWav(readFileSync(new URL('question-order.wav', folder)));
    const firstSound = samples.findIndex((sample) => Math.abs(sample) > 300);
    expect(firstSound / 24_000).toBeGreaterThan(0.25);
    expect(firstSound / 24_000).toBeLessThan(0.4);
  });
});

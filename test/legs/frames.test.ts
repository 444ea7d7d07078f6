import { randomFillSync } from 'node:crypto';
import type { Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { Frames, headBytes } from '../../src/legs/frames.js';
import { mask } from '../../src/legs/mask.js';

const { Receiver } = ws as unknown as { Receiver: new (options: object) => Writable };
const mostBytes = 4096;

interface FrameShape {
  readonly fin: boolean;
  readonly rsv: number;
  readonly opcode: number;
  readonly masked: boolean;
  readonly payload: Buffer;
  /** How the length is written, if not the shortest way. */
  readonly length?: 16 | 64;
}

function frame({ fin, rsv, opcode, masked, payload, length }: FrameShape): Buffer {
  const size = payload.length;
  const form = length ?? (size < 126 ? 7 : size < 65_536 ? 16 : 64);
  const head = Buffer.alloc(2 + (form === 16 ? 2 : form === 64 ? 8 : 0));
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (form === 7 ? size : form === 16 ? 126 : 127);
  if (form === 16) head.writeUInt16BE(size, 2);
  if (form === 64) head.writeBigUInt64BE(BigInt(size), 2);
  if (!masked) return Buffer.concat([head, payload]);
  const key = randomFillSync(Buffer.alloc(4));
  const body = Buffer.from(payload);
  mask(body, key);
  return Buffer.concat([head, key, body]);
}

const text = (payload: string | Buffer, rest: Partial<FrameShape> = {}) =>
  frame({ fin: true, rsv: 0, opcode: 1, masked: true, payload: Buffer.from(payload as string), ...rest });

/** Cuts bytes into chunks of these lengths, over and over. */
function chunksOf(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = at + (lengths[i % lengths.length] as number);
    chunks.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return chunks;
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What `ws` makes of the chunks: the events it reports, in order. With `fast`, whole text frames go past it. */
async function heard(chunks: readonly Buffer[], masked: boolean, fast: boolean): Promise<string[]> {
  const events: string[] = [];
  const receiver = new Receiver({
    isServer: masked,
    maxPayload: mostBytes,
    maxFragments: 16,
    allowSynchronousEvents: true,
  });
  receiver.on('message', (data: Buffer, binary: boolean) =>
    events.push(`${binary ? 'binary' : 'text'} ${data.toString('hex')}`),
  );
  for (const name of ['ping', 'pong'])
    receiver.on(name, (data: Buffer) => events.push(`${name} ${data.toString('hex')}`));
  let over = false;
  let told = 0;
  for (const name of ['message', 'ping', 'pong']) receiver.on(name, () => void told++);
  const frames = new Frames(masked, mostBytes, {
    text: (message) => events.push(`text ${message.toString('hex')}`),
    other: (bytes) => {
      const before = told;
      receiver.write(bytes);
      return told > before;
    },
  });
  receiver.on('conclude', (code: number) => {
    over = true;
    events.push(`close ${code}`);
  });
  receiver.on('error', (error: Error & { code: string }) => {
    over = true;
    frames.stop();
    events.push(`error ${error.code}`);
  });
  for (const chunk of chunks) {
    if (over) break;
    if (fast) frames.push(chunk);
    else receiver.write(chunk);
    await turn();
    await turn();
  }
  for (let i = 0; i < 10; i++) await turn();
  return events;
}

async function expectSame(bytes: Buffer, lengths: readonly number[], masked = true): Promise<string[]> {
  const alone = await heard(chunksOf(bytes, lengths), masked, false);
  expect(await heard(chunksOf(bytes, lengths), masked, true)).toEqual(alone);
  return alone;
}

const payload = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: 'grapheme', maxLength: 40 }).map((value) => Buffer.from(value)) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: mostBytes + 2 }).map((size) => Buffer.alloc(size, 'ä')) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 150 }).map((bytes) => Buffer.from(bytes)) },
);

/** Mostly what honest peers send; each stream may have a violation or two. */
const shape = (masked: boolean): fc.Arbitrary<FrameShape> =>
  fc.record(
    {
      fin: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.boolean()),
      rsv: fc.oneof({ weight: 40, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 7 })),
      opcode: fc.oneof(
        { weight: 12, arbitrary: fc.constant(1) },
        { weight: 6, arbitrary: fc.constantFrom(0, 9, 10) },
        fc.integer({ min: 0, max: 15 }),
      ),
      masked: fc.oneof({ weight: 40, arbitrary: fc.constant(masked) }, fc.boolean()),
      payload,
      length: fc.oneof({ weight: 1, arbitrary: fc.constantFrom<16 | 64>(16, 64) }),
    },
    { requiredKeys: ['fin', 'rsv', 'opcode', 'masked', 'payload'] },
  );

describe('what comes in', () => {
  it('is read as ws reads it, whatever the frames and however they are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc
          .boolean()
          .chain((masked) => fc.tuple(fc.constant(masked), fc.array(shape(masked), { minLength: 1, maxLength: 12 }))),
        fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 9000 })), {
          minLength: 1,
          maxLength: 5,
        }),
        async ([masked, shapes], lengths) => {
          await expectSame(Buffer.concat(shapes.map(frame)), lengths, masked);
        },
      ),
      { numRuns: 600 },
    );
  });

  it.each([
    ['a reserved bit', { rsv: 4 }, 'error WS_ERR_UNEXPECTED_RSV_1'],
    ['a text frame without a mask', { masked: false }, 'error WS_ERR_EXPECTED_MASK'],
    ['bytes that are not UTF-8', { payload: Buffer.from([0xc3, 0x28]) }, 'error WS_ERR_INVALID_UTF8'],
    ['more than may be sent', { payload: Buffer.alloc(mostBytes + 1, 'a') }, 'error WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'],
    ['a reserved opcode', { opcode: 3 }, 'error WS_ERR_INVALID_OPCODE'],
  ])('lets nothing pass that stands behind %s', async (_, broken, error) => {
    const bytes = Buffer.concat([text('one'), text('two', broken), text('three')]);
    for (const lengths of [[1], [7], [10_000]])
      expect(await expectSame(bytes, lengths)).toEqual(['text 6f6e65', error]);
  });

  it('lets a text frame inside a message of fragments be the violation that it is', async () => {
    const bytes = Buffer.concat([text('be', { fin: false }), text('x'), text('gun', { opcode: 0 })]);
    expect(await expectSame(bytes, [10_000])).toEqual(['error WS_ERR_INVALID_OPCODE']);
  });

  it('keeps the order of whole messages, fragments and pings', async () => {
    const part = (payload: string, fin: boolean, opcode: number) => text(payload, { fin, opcode });
    const bytes = Buffer.concat([
      text('1'),
      part('2', false, 1),
      text('p', { opcode: 9 }),
      part('3', true, 0),
      text('4'),
      text('q', { opcode: 10 }),
      text('5'),
    ]);
    for (const lengths of [[1], [3], [10_000]])
      expect(await expectSame(bytes, lengths)).toEqual([
        'text 31',
        'ping 70',
        'text 3233',
        'text 34',
        'pong 71',
        'text 35',
      ]);
  });

  it('hears nothing behind a close frame', async () => {
    const bytes = Buffer.concat([text('1'), text(Buffer.from([3, 232]), { opcode: 8 }), text('2')]);
    for (const lengths of [[1], [10_000]]) expect(await expectSame(bytes, lengths)).toEqual(['text 31', 'close 1000']);
  });

  it('takes no memory for a frame that is announced and too large', () => {
    const before = process.memoryUsage().arrayBuffers;
    const head = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
    for (let i = 0; i < 100; i++) new Frames(true, mostBytes, { text: () => undefined, other: () => true }).push(head);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
  });

  it('gives ws nothing that keeps alive the chunk it came in', () => {
    const kept: Buffer[] = [];
    const frames = new Frames(true, 100_000, {
      text: () => undefined,
      other: (bytes) => {
        kept.push(bytes);
        return true;
      },
    });
    const part = (payload: string, fin: boolean, code: number) => text(payload, { fin, opcode: code });
    const large = text('x'.repeat(60_000));
    frames.push(Buffer.concat([large, part('a', false, 1), part('b', false, 0), text('p', { opcode: 9 })]));
    for (const byte of part('c'.repeat(30), true, 0)) frames.push(Buffer.from([byte]));
    expect(kept.map(({ length }) => length)).toEqual([7, 7, 7, 36]);
    for (const bytes of kept) expect(bytes.buffer.byteLength).toBe(bytes.length);
  });

  it('is kept in as much memory as has come, not as was announced', () => {
    const before = process.memoryUsage().arrayBuffers;
    const beginning = text('x'.repeat(4000)).subarray(0, 2000);
    const all = Array.from({ length: 50 }, () => {
      const head = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x01, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
      const frames = new Frames(true, 2 ** 26, { text: () => undefined, other: () => true });
      frames.push(Buffer.concat([head, beginning]));
      expect(frames.begun).toBe(head.length + beginning.length);
      return frames;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(all.length * 80 * 1024);
  });

  it('puts the payload right behind the shortest head', () => {
    for (const size of [0, 1, 125, 126, 4000]) {
      const at: number[] = [];
      const frames = new Frames(true, mostBytes, {
        text: (message) => at.push(message.byteOffset),
        other: () => true,
      });
      const chunk = Buffer.concat([Buffer.alloc(0), text(Buffer.alloc(size, 'a'))]);
      frames.push(chunk);
      expect(at).toEqual([chunk.byteOffset + headBytes(size, true)]);
    }
  });
});

describe('a mask', () => {
  it('is the exclusive or with the key, whatever the length and wherever the bytes stand', () => {
    for (let length = 0; length < 140; length++) {
      const bytes = randomFillSync(Buffer.alloc(length + 8)).subarray(length % 8, (length % 8) + length);
      const key = randomFillSync(Buffer.alloc(4));
      const expected = bytes.map((byte, i) => byte ^ (key[i % 4] as number));
      mask(bytes, key);
      expect(bytes).toEqual(expected);
    }
  });
});

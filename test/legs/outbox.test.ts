import { PassThrough, type Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { Frames } from '../../src/legs/frames.js';
import { Outbox } from '../../src/legs/outbox.js';

const { Receiver, Sender } = ws as unknown as {
  Receiver: new (options: object) => Writable;
  Sender: { frame(data: Buffer, options: object): Buffer[] };
};
const mostBytes = 1024 * 1024;

const framed = (payload: Buffer, masked: boolean) =>
  Buffer.concat(Sender.frame(payload, { fin: true, opcode: 1, mask: masked, readOnly: true, rsv1: false }));

/** A stream that keeps what is written to it, piece by piece. */
function sink() {
  const pieces: Buffer[] = [];
  const stream = new PassThrough();
  stream.write = ((piece: Buffer) => {
    pieces.push(piece);
    return true;
  }) as typeof stream.write;
  return { stream, pieces };
}

function messagesIn(bytes: Buffer, masked: boolean): string[] {
  const messages: string[] = [];
  const receiver = new Receiver({ isServer: masked, maxPayload: mostBytes, allowSynchronousEvents: true });
  receiver.on('message', (data: Buffer) => messages.push(data.toString()));
  receiver.on('error', (error) => messages.push(String(error)));
  receiver.write(bytes);
  return messages;
}

interface Sent {
  readonly text: string;
  readonly how: 'forward' | 'rebuild' | 'drop';
}

/** Lets events come in as frames, in chunks of this size, and go out again; the outbox is emptied after every chunk. */
function relayed(events: readonly Sent[], chunkBytes: number, masked: boolean) {
  const outbox = new Outbox(masked);
  const { stream, pieces } = sink();
  let next = 0;
  const frames = new Frames(masked, mostBytes, {
    text: (message) => {
      const { how } = events[next++] as Sent;
      if (how === 'forward') outbox.forward(message);
      if (how === 'rebuild') outbox.add(Buffer.from(message));
    },
    other: () => expect.unreachable('these are plain frames'),
  });
  const input = Buffer.concat(events.map(({ text }) => framed(Buffer.from(text), masked)));
  for (let at = 0; at < input.length; at += chunkBytes) {
    frames.push(Buffer.from(input.subarray(at, at + chunkBytes)));
    outbox.flush(stream);
  }
  return { input, pieces };
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.integer({ min: 100, max: 70_000 }).map((size) => 'e'.repeat(size)),
);
const sent: fc.Arbitrary<Sent> = fc.record({
  text,
  how: fc.constantFrom('forward', 'forward', 'forward', 'rebuild', 'drop'),
});

describe('what goes out', () => {
  it('is all that was sent, in order and unchanged, in frames as this side has to make them', () => {
    fc.assert(
      fc.property(
        fc.array(sent, { minLength: 1, maxLength: 15 }),
        fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1000, max: 200_000 })),
        fc.boolean(),
        (events, chunkBytes, masked) => {
          const { pieces } = relayed(events, chunkBytes, masked);
          const expected = events.filter(({ how }) => how !== 'drop').map(({ text }) => text);
          expect(messagesIn(Buffer.concat(pieces), masked)).toEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('masks what it forwards with a key of its own', () => {
    const events: Sent[] = Array.from({ length: 50 }, () => ({ text: 'the same text', how: 'forward' }));
    const { input, pieces } = relayed(events, 1_000_000, true);
    const size = input.length / events.length;
    const keysOf = (bytes: Buffer) => events.map((_, i) => bytes.readUInt32BE(i * size + 2));
    const output = Buffer.concat(pieces);
    expect(output.length).toBe(input.length);
    const all = new Set([...keysOf(input), ...keysOf(output)]);
    expect(all.size).toBe(100);
  });

  it('writes a row of forwarded frames as the one piece in which it came', () => {
    const events: Sent[] = Array.from({ length: 20 }, (_, i) => ({
      text: `event ${i} ${'x'.repeat(3000)}`,
      how: 'forward',
    }));
    const { input, pieces } = relayed(events, 1_000_000, false);
    expect(pieces).toEqual([input]);
  });

  it('keeps no large piece of memory alive for a small frame of it', () => {
    const events: Sent[] = [
      { text: 'x'.repeat(60_000), how: 'drop' },
      { text: 'small', how: 'forward' },
    ];
    const { pieces } = relayed(events, 1_000_000, false);
    expect(pieces.map((piece) => piece.buffer.byteLength)).not.toContain(60_011);
    expect(Math.max(...pieces.map((piece) => piece.buffer.byteLength))).toBeLessThan(10_000);
  });
});

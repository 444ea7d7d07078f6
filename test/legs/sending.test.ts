import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Sending } from '../../src/legs/sending.js';

/** What a write was given, and the call that says that the system has taken it. */
interface Write {
  readonly bytes: Buffer;
  taken(): void;
}

/** A system that takes a write when it is told to. */
function start({ hasWindow = true, limit = 1024 * 1024 } = {}) {
  const writes: Write[] = [];
  const take = (chunks: Buffer[], taken: () => void) => void writes.push({ bytes: Buffer.concat(chunks), taken });
  const stream = new Writable({
    highWaterMark: 16 * 1024,
    write: (chunk: Buffer, _encoding, taken) => take([chunk], taken),
    writev: (chunks, taken) =>
      take(
        chunks.map(({ chunk }) => chunk as Buffer),
        taken,
      ),
  });
  let drained = 0;
  let isOpen = true;
  const sending = new Sending({
    stream: stream as never,
    masked: false,
    limit,
    hasWindow,
    isOpen: () => isOpen,
    drained: () => void drained++,
    unanswered: () => undefined,
  });
  return {
    sending,
    writes,
    drained: () => drained,
    close: () => {
      isOpen = false;
    },
    /** Takes all there is, and all that comes of it. */
    async takeAll() {
      while (writes.length > 0) {
        writes.shift()?.taken();
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}

/** The payloads of whole frames of a server; a frame in pieces would not end where the bytes do. */
function framesOf(bytes: Buffer): { opcode: number; payload: string }[] {
  const frames: { opcode: number; payload: string }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const short = bytes[at + 1] as number;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    const length =
      short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
    expect(at + head + length).toBeLessThanOrEqual(bytes.length);
    frames.push({
      opcode: (bytes[at] as number) & 15,
      payload: bytes.toString('latin1', at + head, at + head + length),
    });
    at += head + length;
  }
  return frames;
}

const speech = (letter: string, size = 20_000) => Buffer.alloc(size, letter);

describe('the sending side of a leg', () => {
  it('gives the system whole frames, and no more than 64 KiB and one frame ahead of what it takes', async () => {
    const { sending, writes, takeAll } = start({ hasWindow: false });
    for (let i = 0; i < 20; i++) sending.add(speech(String.fromCharCode(97 + i), 30_000), null);
    sending.flush();
    expect(writes).toHaveLength(1);
    const seen: Buffer[] = [];
    while (writes.length > 0) {
      const { bytes } = writes[0] as Write;
      expect(bytes.length).toBeLessThan(64 * 1024 + 30_004);
      expect(framesOf(bytes).length).toBeGreaterThan(0);
      seen.push(bytes);
      await (async () => writes.shift()?.taken())();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await takeAll();
    expect(framesOf(Buffer.concat(seen)).map(({ payload }) => payload[0])).toEqual([...'abcdefghijklmnopqrst']);
    expect(sending.bytes).toBe(0);
  });

  it('pings behind the first frame and behind each 64 KiB, in the same write', () => {
    const { sending, writes } = start();
    sending.add(Buffer.from('hello'), null);
    sending.flush();
    const [first] = writes;
    expect(framesOf((first as Write).bytes).map(({ opcode }) => opcode)).toEqual([1, 9]);
    expect(framesOf((first as Write).bytes)[1]?.payload).toHaveLength(8);
  });

  it('keeps speech behind a shut window and other events only behind speech, and drops nothing but speech', async () => {
    const { sending, writes, takeAll } = start();
    for (let i = 0; i < 10; i++) sending.add(speech('a'), 'resp_1');
    sending.add(Buffer.from('words'), null);
    for (let i = 0; i < 3; i++) sending.add(speech('b'), 'resp_2');
    sending.flush();
    const sent = writes.map(({ bytes }) => bytes);
    const collect = async () => {
      while (writes.length > 0) {
        sent.push((writes[0] as Write).bytes);
        await (async () => writes.shift()?.taken())();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    writes.shift()?.taken();
    await new Promise((resolve) => setImmediate(resolve));
    await collect();
    const texts = () =>
      framesOf(Buffer.concat(sent))
        .filter(({ opcode }) => opcode === 1)
        .map(({ payload }) => payload.slice(0, 5));
    expect(texts()).toEqual(Array(7).fill('aaaaa'));
    expect(sending.bytes).toBeGreaterThan(6 * 20_000);
    sending.dropSpeech('resp_1');
    await collect();
    expect(texts()).toEqual([...Array(7).fill('aaaaa'), 'words']);
    const pings = framesOf(Buffer.concat(sent)).filter(({ opcode }) => opcode === 9);
    sending.pong(Buffer.from(pings.at(-1)?.payload ?? '', 'latin1'));
    await collect();
    expect(texts()).toEqual([...Array(7).fill('aaaaa'), 'words', 'bbbbb', 'bbbbb', 'bbbbb']);
    await takeAll();
    expect(sending.bytes).toBe(0);
  });

  it('writes at the end all but the speech that waits', async () => {
    const { sending, writes, takeAll } = start();
    for (let i = 0; i < 10; i++) sending.add(speech('a'), 'resp_1');
    sending.add(Buffer.from('goodbye'), null);
    sending.end();
    const all: Buffer[] = [];
    while (writes.length > 0) {
      all.push((writes[0] as Write).bytes);
      await (async () => writes.shift()?.taken())();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await takeAll();
    const texts = framesOf(Buffer.concat(all)).filter(({ opcode }) => opcode === 1);
    expect(texts).toHaveLength(8);
    expect(texts.at(-1)?.payload).toBe('goodbye');
  });

  it('says that there is room when half of what it may hold is left, and once', async () => {
    const { sending, takeAll, drained } = start({ hasWindow: false, limit: 100_000 });
    for (let i = 0; i < 10; i++) sending.add(speech('a'), null);
    expect(sending.full).toBe(true);
    sending.flush();
    expect(drained()).toBe(0);
    await takeAll();
    expect(drained()).toBe(1);
    expect(sending.full).toBe(false);
  });

  it('counts as stalled who takes nothing, and not who takes little or has nothing to take', async () => {
    const { sending, writes } = start({ hasWindow: false });
    for (let now = 0; now <= 6000; now += 1000) sending.look(now, true);
    expect(sending.stalledMs(6000)).toBe(0);
    for (let i = 0; i < 10; i++) sending.add(speech('a'), null);
    sending.flush();
    for (let now = 7000; now <= 9000; now += 1000) sending.look(now, true);
    expect(sending.stalledMs(9000)).toBe(3000);
    writes.shift()?.taken();
    await new Promise((resolve) => setImmediate(resolve));
    sending.look(10_000, true);
    expect(sending.stalledMs(10_000)).toBe(0);
  });

  it('keeps nothing for a connection that is closing', () => {
    const { sending, writes, close } = start();
    close();
    sending.add(Buffer.from('late'), null);
    sending.flush();
    expect(writes).toEqual([]);
    expect(sending.bytes).toBe(0);
  });
});

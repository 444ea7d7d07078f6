/**
 * Just enough WebSocket (RFC 6455) for a load generator that must be much faster than what it measures: frames are made
 * once and written many times, and what comes in is counted without being copied.
 */

const text = 0x81;
/** A zero mask leaves the payload as it is; relays cannot tell, and it saves the generator the masking. */
const mask = Buffer.alloc(4);

/** One text frame. `masked` for frames of a client. */
export function frame(payload: string | Buffer, masked: boolean): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const maskBit = masked ? 0x80 : 0;
  const head =
    body.length < 126
      ? Buffer.from([text, maskBit | body.length])
      : body.length < 65_536
        ? Buffer.from([text, maskBit | 126, body.length >> 8, body.length & 255])
        : longHead(body.length, maskBit);
  return Buffer.concat([head, masked ? mask : Buffer.alloc(0), body]);
}

/** The answer to a ping: its payload, unmasked or with the mask that changes nothing (RFC 6455 section 5.5.3). */
export function pong(payload: Buffer, masked: boolean): Buffer {
  return Buffer.concat([
    Buffer.from([0x8a, (masked ? 0x80 : 0) | payload.length]),
    masked ? mask : Buffer.alloc(0),
    payload,
  ]);
}

function longHead(length: number, maskBit: number): Buffer {
  const head = Buffer.alloc(10);
  head[0] = text;
  head[1] = maskBit | 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/** Told of every frame; `start` holds the first bytes of its payload, unmasked: all of a small frame, and of a sample. */
export type OnFrame = (opcode: number, length: number, start: Buffer, isSample: boolean) => void;

/** How much of a payload is looked at, and how often it is all of it. */
const startBytes = 4096;
const sampleEvery = 64;
const sampleBytes = 32 * 1024;

/** Makes a function that takes a stream's chunks and calls back for every complete frame. */
export function frameCounter(onFrame: OnFrame): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let skip = 0;
  let frames = 0;
  return (chunk) => {
    let data = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    rest = Buffer.alloc(0);
    while (data.length > 0) {
      if (skip > 0) {
        const step = Math.min(skip, data.length);
        skip -= step;
        data = data.subarray(step);
        continue;
      }
      const size = headSize(data);
      if (size === null) break;
      const { head, length, key } = size;
      const isSample = frames % sampleEvery === 0 && length <= sampleBytes;
      const wanted = isSample ? length : Math.min(length, startBytes);
      if (data.length < head + wanted) break;
      frames++;
      const start = data.subarray(head, head + wanted);
      onFrame((data[0] as number) & 15, length, key ? unmask(start, key, isSample) : start, isSample);
      skip = length - wanted;
      data = data.subarray(head + wanted);
    }
    rest = data;
  };
}

function headSize(data: Buffer): { head: number; length: number; key: Buffer | null } | null {
  if (data.length < 2) return null;
  const second = data[1] as number;
  const masked = (second & 0x80) !== 0;
  const short = second & 127;
  const extra = short === 126 ? 2 : short === 127 ? 8 : 0;
  const head = 2 + extra + (masked ? 4 : 0);
  if (data.length < head) return null;
  const length = extra === 0 ? short : extra === 2 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
  return { head, length, key: masked ? data.subarray(2 + extra, 6 + extra) : null };
}

function unmask(bytes: Buffer, key: Buffer, whole: boolean): Buffer {
  if (key.readUInt32BE(0) === 0) return bytes;
  // A time stamp or a type stands at the start; unmasking every payload whole would cost more than a relay.
  const length = whole ? bytes.length : Math.min(bytes.length, 512);
  const out = Buffer.from(bytes.subarray(0, length));
  for (let i = 0; i < length; i++) out[i] = (out[i] as number) ^ (key[i & 3] as number);
  return out;
}

/** A time stamp as an event id: nanoseconds of the clock that all processes of a machine share. */
export function stamp(): string {
  return `t${process.hrtime.bigint()}`;
}

/** Events of a flood carry numbers of this length, from a round of so many frames made beforehand. */
const roundLength = 16;

/** The frames of a flood: written over and over, they let the receiver see the order. */
export function round(make: (id: string) => Buffer): readonly Buffer[] {
  return Array.from({ length: roundLength }, (_, i) => make(`n${i}`));
}

const idKey = '"event_id":"';

/** Checks the order of what one session receives, and reads off how old it is. */
export class Order {
  #last = -1;
  #lastStamp = 0n;
  /** Events that did not follow the one before. */
  faults = 0;

  /** Microseconds since the time stamp in an event, or null when it has none. */
  next(start: Buffer): number | null {
    const at = start.indexOf(idKey);
    if (at < 0) return null;
    const from = at + idKey.length;
    const digits = start.toString('latin1', from + 1, start.indexOf(0x22, from));
    if (start[from] === 0x6e) {
      const number = Number(digits);
      if (this.#last >= 0 && number !== (this.#last + 1) % roundLength) this.faults++;
      this.#last = number;
      return null;
    }
    if (start[from] !== 0x74) return null;
    const made = BigInt(digits);
    if (made <= this.#lastStamp) this.faults++;
    this.#lastStamp = made;
    return Number(process.hrtime.bigint() - made) / 1000;
  }
}

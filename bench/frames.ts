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

function longHead(length: number, maskBit: number): Buffer {
  const head = Buffer.alloc(10);
  head[0] = text;
  head[1] = maskBit | 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/** Told of every frame; `start` holds the first bytes of its payload, unmasked: all of a small frame. */
export type OnFrame = (opcode: number, length: number, start: Buffer) => void;

/** How much of a payload is looked at. */
const startBytes = 4096;

/** Makes a function that takes a stream's chunks and calls back for every complete frame. */
export function frameCounter(onFrame: OnFrame): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let skip = 0;
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
      const wanted = Math.min(length, startBytes);
      if (data.length < head + wanted) break;
      const start = data.subarray(head, head + wanted);
      onFrame((data[0] as number) & 15, length, key ? unmask(start, key) : start);
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

function unmask(bytes: Buffer, key: Buffer): Buffer {
  if (key.readUInt32BE(0) === 0) return bytes;
  // A time stamp or a type stands at the start; unmasking a large payload whole would cost more than a relay.
  const length = Math.min(bytes.length, 512);
  const out = Buffer.from(bytes.subarray(0, length));
  for (let i = 0; i < length; i++) out[i] = (out[i] as number) ^ (key[i & 3] as number);
  return out;
}

/** A time stamp as an event id: nanoseconds of the clock that all processes of a machine share. */
export function stamp(): string {
  return `t${process.hrtime.bigint()}`;
}

/** Microseconds since the time stamp in an event, or null when it has none. */
export function ageMicros(start: Buffer): number | null {
  const at = start.indexOf('"event_id":"t');
  if (at < 0) return null;
  const from = at + 13;
  const digits = start.toString('latin1', from, start.indexOf(0x22, from));
  return Number(process.hrtime.bigint() - BigInt(digits)) / 1000;
}

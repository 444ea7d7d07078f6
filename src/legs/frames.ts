/**
 * What comes in on a WebSocket, on its way to `ws`: whole text frames, which is what events are, are cut out of what the
 * socket delivers, without a copy. All else is left to `ws`, frame by frame, and with it everything in RFC 6455 that needs
 * more thought: control frames, fragments, violations. Nothing is put off: what a chunk holds has been judged when `push`
 * returns, and nothing that stands behind a violation has passed.
 */

import { isUtf8 } from 'node:buffer';
import { mask } from './mask.js';

/** Where frames go. */
export interface Lanes {
  /** A text message in one frame, whose bytes are valid UTF-8 and stand right behind the head of their frame. */
  text(message: Buffer): void;
  /**
   * A whole frame for `ws`, or the beginning of one that it will refuse. True when `ws` has made an event of it in this
   * turn: a violation it reports some ticks later only.
   */
  other(frame: Buffer): boolean;
}

/** FIN and the opcode of text, without reserved bits. */
const finalText = 0x81;
const finBit = 0x80;
const reservedBits = 0x70;
const opcodeBits = 0x0f;
const maskBit = 0x80;
const lengthBits = 0x7f;
const opcode = { continuation: 0x0, binary: 0x2, close: 0x8, pong: 0xa } as const;
const keyBytes = 4;
/** The longest head there is. */
const mostHead = 14;
/** RFC 6455 section 5.5. */
const mostControlBytes = 125;
/** What is set aside at first for a frame that is not all here; its head may promise more than will ever come. */
const firstRoom = 64 * 1024;
/** A frame for `ws`, which may keep it, is copied when it is a smaller part than this of the memory it came in. */
const leastShare = 1 / 4;

/** The bytes of the shortest head that a frame with so long a payload can have. */
export function headBytes(length: number, masked: boolean): number {
  return (length < 126 ? 2 : length < 65_536 ? 4 : 10) + (masked ? keyBytes : 0);
}

/** The head of the frame that is being looked at; shared, because nothing waits between a look and what follows of it. */
const seen = { first: 0, masked: false, head: 0, length: 0 };
const key = Buffer.alloc(keyBytes);

/** Reads the head of the frame that begins at `at` into `seen`; false when it is not all there. */
function see(data: Buffer, at: number): boolean {
  if (data.length - at < 2) return false;
  const second = data[at + 1] as number;
  const short = second & lengthBits;
  seen.first = data[at] as number;
  seen.masked = (second & maskBit) !== 0;
  seen.head = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (seen.masked ? keyBytes : 0);
  if (data.length - at < seen.head) return false;
  seen.length =
    short === 126
      ? data.readUInt16BE(at + 2)
      : short === 127
        ? data.readUInt32BE(at + 2) * 0x1_0000_0000 + data.readUInt32BE(at + 6)
        : short;
  return true;
}

/** What a frame is to us. */
type Kind = 'event' | 'part' | 'control' | 'violation';

export class Frames {
  readonly #masked: boolean;
  readonly #mostBytes: number;
  readonly #lanes: Lanes;
  /** What there is of a head that is not all here yet. */
  #head: Buffer | null = null;
  /** What there is of a frame that is not all here yet, and the size that it will have. */
  #partial: Buffer | null = null;
  #filled = 0;
  #size = 0;
  /** Payload of a message in fragments that has begun; null outside of one. */
  #fragments: number | null = null;
  #stopped = false;

  /**
   * @param masked whether the peer masks its frames
   * @param mostBytes the largest message, as `ws` knows it
   */
  constructor(masked: boolean, mostBytes: number, lanes: Lanes) {
    this.#masked = masked;
    this.#mostBytes = mostBytes;
    this.#lanes = lanes;
  }

  /** Bytes kept of messages that have begun. */
  get begun(): number {
    return this.#filled + (this.#fragments ?? 0);
  }

  /** Takes what the socket delivers. The bytes are ours from now on: payloads are unmasked in place. */
  push(chunk: Buffer): void {
    if (this.#stopped) return;
    const data = this.#head ? Buffer.concat([this.#head, chunk]) : chunk;
    this.#head = null;
    let at = this.#fill(data);
    while (at < data.length && !this.#stopped) {
      if (!see(data, at)) {
        this.#head = copied(data.subarray(at));
        return;
      }
      const kind = this.#kind();
      const end = at + seen.head + seen.length;
      if (kind === 'violation') {
        this.#refuse(data.subarray(at, at + mostHead));
      } else if (end > data.length) {
        this.#begin(data, at);
        return;
      } else {
        this.#take(kind, data, at, end);
        at = end;
      }
    }
  }

  /** Nothing that comes from now on is of interest. */
  stop(): void {
    this.#stopped = true;
    this.#head = null;
    this.#partial = null;
    this.#filled = 0;
    this.#fragments = null;
  }

  #kind(): Kind {
    const { first, masked, head, length } = seen;
    const code = first & opcodeBits;
    const isFinal = (first & finBit) !== 0;
    if (masked !== this.#masked || (first & reservedBits) !== 0) return 'violation';
    if (code >= opcode.close) {
      return code <= opcode.pong && isFinal && length <= mostControlBytes && (code !== opcode.close || length !== 1)
        ? 'control'
        : 'violation';
    }
    const goesOn = code === opcode.continuation;
    if (code > opcode.binary || goesOn !== (this.#fragments !== null)) return 'violation';
    if (length + (this.#fragments ?? 0) > this.#mostBytes) return 'violation';
    return first === finalText && head === headBytes(length, masked) ? 'event' : 'part';
  }

  /** Keeps the beginning of a frame whose end is not here yet. */
  #begin(data: Buffer, at: number): void {
    this.#size = seen.head + seen.length;
    this.#partial = Buffer.allocUnsafeSlow(Math.min(this.#size, firstRoom));
    this.#filled = 0;
    this.#fill(data.subarray(at));
  }

  /** Adds to a frame whose beginning has come before; returns where what is behind it begins. */
  #fill(data: Buffer): number {
    if (this.#partial === null) return 0;
    const taken = Math.min(this.#size - this.#filled, data.length);
    const needed = this.#filled + taken;
    if (needed > this.#partial.length) {
      const room = Buffer.allocUnsafeSlow(Math.min(this.#size, Math.max(needed, 2 * this.#partial.length)));
      this.#partial.copy(room, 0, 0, this.#filled);
      this.#partial = room;
    }
    data.copy(this.#partial, this.#filled, 0, taken);
    this.#filled = needed;
    if (needed === this.#size) {
      const frame = this.#partial;
      this.#partial = null;
      this.#filled = 0;
      see(frame, 0);
      this.#take(this.#kind(), frame, 0, frame.length);
    }
    return taken;
  }

  /** Hands on the frame that was seen, which stands in `data` from `at` to `end`. */
  #take(kind: Kind, data: Buffer, at: number, end: number): void {
    if (kind === 'event' && this.#deliver(data, at, end)) return;
    const code = seen.first & opcodeBits;
    const isFinal = (seen.first & finBit) !== 0;
    if (kind === 'part') this.#fragments = isFinal ? null : (this.#fragments ?? 0) + seen.length;
    const frame = data.subarray(at, end);
    const heard = this.#lanes.other(frame.length < leastShare * frame.buffer.byteLength ? copied(frame) : frame);
    // Of a fragment with more behind it `ws` says nothing; of what was too many of them it will.
    if (code === opcode.close || (isFinal && !heard)) this.stop();
  }

  /** Hands on an event; false when its bytes are not UTF-8, which `ws` has to say. */
  #deliver(data: Buffer, at: number, end: number): boolean {
    const start = at + seen.head;
    const message = data.subarray(start, end);
    if (this.#masked) {
      for (let i = 0; i < keyBytes; i++) key[i] = data[start - keyBytes + i] as number;
      mask(message, key);
    }
    if (isUtf8(message)) {
      this.#lanes.text(message);
      return true;
    }
    if (this.#masked) mask(message, key);
    return false;
  }

  /** The head alone shows `ws` what is wrong. */
  #refuse(beginning: Buffer): void {
    this.#lanes.other(copied(beginning));
    this.stop();
  }
}

/** Apart from the memory it stands in, and from the pool that small pieces of many owners share. */
function copied(bytes: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}

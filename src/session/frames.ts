/**
 * What comes in on a WebSocket, on its way to `ws`: whole text frames, which is what events are, are cut out of what the
 * socket delivers, without a copy. All else is left to `ws`, byte for byte, and with it everything in RFC 6455 that needs
 * more thought: control frames, fragments, violations.
 */

import { isUtf8 } from 'node:buffer';
import { mask } from './mask.js';

/** Where frames go. */
export interface Lanes {
  /** A text message in one frame, whose bytes are valid UTF-8 and stand right behind the head of their frame. */
  text(message: Buffer): void;
  /** One or more whole frames for `ws`, or the next part of one. */
  other(bytes: Buffer): void;
}

/** FIN and the opcode of text, without reserved bits. */
const finalText = 0x81;
const finBit = 0x80;
const opcodeBits = 0x0f;
const maskBit = 0x80;
const lengthBits = 0x7f;
const opcode = { binary: 0x2, close: 0x8 } as const;
const keyBytes = 4;

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

export class Frames {
  readonly #masked: boolean;
  readonly #mostBytes: number;
  readonly #lanes: Lanes;
  /** What there is of a head that is not all here yet. */
  #head: Buffer | null = null;
  /** A text frame that is not all here yet, in its full size, and how much of it is. */
  #partial: Buffer | null = null;
  #filled = 0;
  /** Bytes that are still to come of a frame for `ws`. */
  #others = 0;
  /** A message in fragments has begun; a text frame would break the protocol. */
  #inFragments = false;
  #closing = false;
  /** What came behind a frame that `ws` has to judge first. */
  #later: Buffer[] | null = null;
  #stopped = false;

  /**
   * @param masked whether the peer masks its frames
   * @param mostBytes the largest message; a larger one is left to `ws`, which knows how to refuse it
   */
  constructor(masked: boolean, mostBytes: number, lanes: Lanes) {
    this.#masked = masked;
    this.#mostBytes = mostBytes;
    this.#lanes = lanes;
  }

  /** Takes what the socket delivers. The bytes are ours from now on: payloads are unmasked in place. */
  push(chunk: Buffer): void {
    if (this.#stopped || this.#mustWait(chunk, 0)) return;
    const data = this.#head ? Buffer.concat([this.#head, chunk]) : chunk;
    this.#head = null;
    let at = this.#fill(data);
    while (!this.#mustWait(data, at) && at < data.length) {
      if (this.#others > 0) {
        at = this.#pass(data, at);
      } else if (!see(data, at)) {
        this.#head = Buffer.from(data.subarray(at));
        return;
      } else if (!this.#isEvent()) {
        at = this.#pass(data, at);
      } else {
        const end = at + seen.head + seen.length;
        if (end > data.length) {
          this.#partial = Buffer.allocUnsafeSlow(seen.head + seen.length);
          this.#filled = data.copy(this.#partial, 0, at);
          return;
        }
        this.#deliver(data, at, end);
        at = end;
      }
    }
  }

  /** Nothing that comes from now on is of interest. */
  stop(): void {
    this.#stopped = true;
    this.#head = null;
    this.#partial = null;
  }

  /** Whether `ws` has to judge something first; then it keeps what `data` holds from `at` on until that is done. */
  #mustWait(data: Buffer, at: number): boolean {
    if (this.#later === null) return false;
    if (at < data.length) this.#later.push(data.subarray(at));
    return true;
  }

  #isEvent(): boolean {
    const { first, masked, head, length } = seen;
    return (
      first === finalText &&
      masked === this.#masked &&
      !this.#inFragments &&
      length <= this.#mostBytes &&
      head === headBytes(length, masked)
    );
  }

  /** Adds to a text frame whose beginning has come before; returns where what is behind it begins. */
  #fill(data: Buffer): number {
    const frame = this.#partial;
    if (frame === null) return 0;
    const taken = data.copy(frame, this.#filled);
    this.#filled += taken;
    if (this.#filled === frame.length) {
      this.#partial = null;
      see(frame, 0);
      this.#deliver(frame, 0, frame.length);
    }
    return taken;
  }

  /** Hands on the text frame that was seen, which stands in `data` from `at` to `end`. */
  #deliver(data: Buffer, at: number, end: number): void {
    const start = at + seen.head;
    const message = data.subarray(start, end);
    if (this.#masked) {
      for (let i = 0; i < keyBytes; i++) key[i] = data[start - keyBytes + i] as number;
      mask(message, key);
    }
    if (isUtf8(message)) {
      this.#lanes.text(message);
      return;
    }
    if (this.#masked) mask(message, key);
    this.#handOver(data.subarray(at, end));
  }

  /** Gives `ws` the frames of its own that stand here in a row; returns where they end. */
  #pass(data: Buffer, from: number): number {
    let at = from;
    while (at < data.length && !(this.#closing && this.#others === 0)) {
      if (this.#others === 0) {
        if (!see(data, at) || this.#isEvent()) break;
        this.#note();
      }
      const part = Math.min(this.#others, data.length - at);
      this.#others -= part;
      at += part;
    }
    this.#handOver(data.subarray(from, at));
    if (this.#closing && this.#others === 0) this.stop();
    return at;
  }

  #note(): void {
    const code = seen.first & opcodeBits;
    if (code <= opcode.binary) this.#inFragments = (seen.first & finBit) === 0;
    this.#closing = code === opcode.close;
    this.#others = seen.head + seen.length;
  }

  /** `ws` reports a violation some ticks later only; until then nothing behind these bytes may pass. */
  #handOver(bytes: Buffer): void {
    this.#later = [];
    setImmediate(this.#goOn);
    this.#lanes.other(bytes);
  }

  readonly #goOn = (): void => {
    const waiting = this.#later ?? [];
    this.#later = null;
    // Should one of them have to wait again, the others do so behind it.
    for (const chunk of waiting) this.push(chunk);
  };
}

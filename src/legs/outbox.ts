/** What a leg sends in one turn of the event loop, written as one piece or as few pieces as it takes, and in whole frames. */

import type { Duplex } from 'node:stream';
import * as ws from 'ws';
import { headBytes } from './frames.js';
import { fillRandom, mask } from './mask.js';

/** Framing as `ws` does it; exported by the package, but not by its type definitions. */
interface Framer {
  frame(data: Buffer, options: FrameOptions): Buffer[];
}

interface FrameOptions {
  readonly fin: boolean;
  readonly opcode: number;
  readonly mask: boolean;
  readonly readOnly: boolean;
  readonly rsv1: boolean;
}

const { Sender } = ws as unknown as { Sender: Framer };
const textFrame = { fin: true, opcode: 1, readOnly: false, rsv1: false } as const;
const fromClient: FrameOptions = { ...textFrame, mask: true };
const fromServer: FrameOptions = { ...textFrame, mask: false };
const pingFrame = { fin: true, opcode: 9, readOnly: true, rsv1: false } as const;
const keyBytes = 4;
/** Of the frame that is being sent; shared, because nothing waits in between. */
const key = Buffer.alloc(keyBytes);
/** Pieces smaller than this are cheaper to copy into one than to hand to the system one by one. */
const smallPiece = 4096;
/** What is forwarded keeps all alive that came with it. A piece that is a smaller part of that than this is copied. */
const leastShare = 1 / 4;

/** Collects frames. A masked payload is masked in place: its bytes are of no use to anyone afterwards. */
export class Outbox {
  readonly #masked: boolean;
  /** Each of one frame or more in one piece or more: nothing else may be written between these. */
  #units: Buffer[][] = [];
  #bytes = 0;
  /** The memory in which forwarded frames came in; from start to end they stand in a row. */
  #run: Buffer | null = null;
  #runStart = 0;
  #runEnd = 0;

  /** @param masked whether this side is the client of its connection (RFC 6455 section 5.3) */
  constructor(masked: boolean) {
    this.#masked = masked;
  }

  /** Bytes that wait for `flush`. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Frames a payload. */
  add(payload: Buffer): void {
    this.#put(Sender.frame(payload, this.#masked ? fromClient : fromServer));
  }

  /** Asks the peer for a pong with this payload. */
  ping(payload: Buffer): void {
    this.#put(Sender.frame(payload, { ...pingFrame, mask: this.#masked }));
  }

  #put(unit: Buffer[]): void {
    this.#endRun();
    this.#units.push(unit);
    for (const piece of unit) this.#bytes += piece.length;
  }

  /**
   * Sends a payload on in the frame it came in, whose head stands before it and is as long as the one it needs now: both
   * connections of a session mask in the same direction. Only the key is new.
   */
  forward(payload: Buffer): void {
    const { buffer, byteOffset, length } = payload;
    const start = byteOffset - headBytes(length, this.#masked);
    if (this.#run?.buffer !== buffer || this.#runEnd !== start) {
      this.#endRun();
      this.#run = Buffer.from(buffer);
      this.#runStart = start;
    }
    if (this.#masked) {
      fillRandom(key);
      for (let i = 0; i < keyBytes; i++) (this.#run as Buffer)[byteOffset - keyBytes + i] = key[i] as number;
      mask(payload, key);
    }
    this.#runEnd = byteOffset + length;
    this.#bytes += this.#runEnd - start;
  }

  #endRun(): void {
    const run = this.#run;
    if (run === null) return;
    this.#run = null;
    const piece = run.subarray(this.#runStart, this.#runEnd);
    this.#units.push([piece.length < leastShare * run.length ? Buffer.from(piece) : piece]);
  }

  clear(): void {
    this.#units = [];
    this.#bytes = 0;
    this.#run = null;
  }

  /**
   * Hands the stream what waits, or as many frames of it as make `most` bytes, and at least one; `done` is called when they
   * have been taken. Gives the bytes.
   */
  flush(stream: Duplex, most = Number.POSITIVE_INFINITY, done?: () => void): number {
    this.#endRun();
    const pieces: Buffer[] = [];
    let bytes = 0;
    let units = 0;
    for (const unit of this.#units) {
      if (bytes >= most) break;
      units++;
      for (const piece of unit) {
        pieces.push(piece);
        bytes += piece.length;
      }
    }
    this.#units = units === this.#units.length ? [] : this.#units.slice(units);
    this.#bytes -= bytes;
    const last = pieces.pop();
    if (last === undefined) return 0;
    if (pieces.length === 0) {
      stream.write(last, done);
    } else if (bytes < smallPiece * (pieces.length + 1)) {
      pieces.push(last);
      stream.write(Buffer.concat(pieces, bytes), done);
    } else {
      stream.cork();
      for (const piece of pieces) stream.write(piece);
      stream.write(last, done);
      stream.uncork();
    }
    return bytes;
  }
}

/** What a leg sends in one turn of the event loop: framed by `ws`, and written as one piece. */

import type { Duplex } from 'node:stream';
import * as ws from 'ws';

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
/** Up to here one copy is cheaper than what the system asks for each further piece. */
const copiedBytes = 64 * 1024;

/** Collects frames. A masked payload is masked in place: its bytes are of no use to anyone afterwards. */
export class Outbox {
  readonly #options: FrameOptions;
  #pieces: Buffer[] = [];
  #bytes = 0;

  /** @param masked whether this side is the client of its connection (RFC 6455 section 5.3) */
  constructor(masked: boolean) {
    this.#options = masked ? fromClient : fromServer;
  }

  /** Bytes that wait for `flush`. */
  get bytes(): number {
    return this.#bytes;
  }

  add(payload: Buffer): void {
    for (const piece of Sender.frame(payload, this.#options)) {
      this.#pieces.push(piece);
      this.#bytes += piece.length;
    }
  }

  clear(): void {
    this.#pieces = [];
    this.#bytes = 0;
  }

  /** Hands everything to the stream; `done` is called when the last of it has been taken. */
  flush(stream: Duplex, done?: () => void): void {
    const pieces = this.#pieces;
    if (pieces.length === 0) return;
    const bytes = this.#bytes;
    this.clear();
    if (bytes <= copiedBytes) {
      stream.write(Buffer.concat(pieces, bytes), done);
      return;
    }
    const last = pieces.pop() as Buffer;
    stream.cork();
    for (const piece of pieces) stream.write(piece);
    stream.write(last, done);
    stream.uncork();
  }
}

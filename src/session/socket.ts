/** The edge to `ws`: one leg of a session, the client's or upstream's, reduced to what a session needs. */

import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { Frames } from './frames.js';
import { Outbox } from './outbox.js';

/** RFC 6455 section 7.4.1: the connection ended without a close frame. */
const noCloseFrame = 1006;

/** What a leg tells its session. */
export interface LegHandlers {
  /** A text message came; `framed` when it still stands in its frame, in which the other leg may `forward` it. */
  message(bytes: Buffer, framed: boolean): void;
  /** A binary frame came; events are text frames. */
  binary(): void;
  /** The connection is gone or of no more use. Called once. */
  closed(code: number, reason: string): void;
  /** What was waiting to be written has fallen to half the limit. */
  drained(): void;
}

/** Liveness settings, in milliseconds. */
export interface Heartbeat {
  readonly pingMs: number;
  readonly pongMs: number;
}

/**
 * A server-side socket that can say why it closes. `ws` closes by itself when a peer breaks the protocol (RFC 6455) or
 * its size limit, and only then reports it; this is the one moment at which an `error` event and a reason still fit.
 */
export class ClientSocket extends WebSocket {
  /** Called with the close code just before; returns the reason to put into the close frame. */
  violated: ((code: number) => string) | null = null;

  override close(code?: number, reason?: string | Buffer): void {
    const own = code !== undefined && reason === undefined && this.readyState === WebSocket.OPEN;
    super.close(code, own ? this.violated?.(code) : reason);
  }
}

/** What a leg must know of its connection. */
export interface LegOptions {
  /** Unsent bytes at which `full` turns true; `drained` is called at half of it. */
  readonly bufferBytes: number;
  /** Whether we are the client of this connection. */
  readonly masked: boolean;
  /** The largest message that is taken; `ws` has been told the same. */
  readonly messageBytes: number;
}

/**
 * One WebSocket of a session. It is handed over before anything was read from it; `start` attaches the listeners and
 * lets it flow.
 */
export class Leg {
  readonly #ws: WebSocket;
  readonly #stream: Duplex;
  readonly #limit: number;
  #handlers: LegHandlers | null = null;
  readonly #frames: Frames;
  readonly #outbox: Outbox;
  #held = false;
  #heard = true;
  #quietSince = 0;
  #pingedAt = 0;

  constructor(ws: WebSocket, stream: Duplex, { bufferBytes, masked, messageBytes }: LegOptions) {
    this.#ws = ws;
    this.#stream = stream;
    this.#limit = bufferBytes;
    this.#outbox = new Outbox(masked);
    // The one listener there is on what comes in is that of `ws`; none, when the connection is gone already.
    const [read] = stream.listeners('data') as ((this: Duplex, bytes: Buffer) => void)[];
    this.#frames = new Frames(!masked, messageBytes, {
      text: (bytes) => this.#message(bytes, true),
      other: (bytes) => read?.call(stream, bytes),
    });
    if (read) stream.off('data', read);
  }

  start(handlers: LegHandlers): void {
    this.#handlers = handlers;
    const ws = this.#ws;
    const frames = this.#frames;
    this.#stream.on('data', (chunk: Buffer) => frames.push(chunk));
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.#handlers?.binary();
      else this.#message(data, false);
    });
    ws.on('pong', () => {
      this.#heard = true;
    });
    // A peer that breaks the protocol is not read any more, and need not ever answer the close frame that `ws` sends it.
    ws.on('error', (error: Error) => {
      frames.stop();
      this.#gone(noCloseFrame, error.message);
    });
    ws.on('close', (code: number, reason: Buffer) => this.#gone(code, reason.toString()));
    ws.resume();
  }

  #message(bytes: Buffer, framed: boolean): void {
    this.#heard = true;
    this.#handlers?.message(bytes, framed);
  }

  #gone(code: number, reason: string): void {
    const told = this.#handlers;
    this.#handlers = null;
    told?.closed(code, reason);
  }

  /** Bytes accepted by `send` and not yet taken by the operating system. */
  get buffered(): number {
    return this.#stream.writableLength + this.#outbox.bytes;
  }

  get full(): boolean {
    return this.buffered > this.#limit;
  }

  /** Sends one event as a text frame, and may change its bytes; what is sent in one turn of the event loop leaves as one piece. */
  send(bytes: Buffer): void {
    if (!this.#opensOutbox()) return;
    this.#outbox.add(bytes);
  }

  /** The same for a message that still stands in the frame in which it came in on the other leg. */
  forward(bytes: Buffer): void {
    if (!this.#opensOutbox()) return;
    this.#outbox.forward(bytes);
  }

  #opensOutbox(): boolean {
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    if (this.#outbox.bytes === 0) process.nextTick(this.flush);
    return true;
  }

  /** Writes what `send` has collected in this turn now. */
  readonly flush = (): void => {
    if (this.#ws.readyState !== WebSocket.OPEN) {
      this.#outbox.clear();
      return;
    }
    // Only a write that ends above the half can be the one whose end brings the buffer below it.
    const watched = this.buffered > this.#limit / 2;
    this.#outbox.flush(this.#stream, watched ? this.#flushed : undefined);
  };

  readonly #flushed = (): void => {
    if (this.buffered <= this.#limit / 2) this.#handlers?.drained();
  };

  /** Stops reading; TCP makes the peer wait. */
  hold(): void {
    this.#held = true;
    this.#ws.pause();
  }

  /** Starts reading again. */
  release(): void {
    this.#held = false;
    this.#heard = true;
    this.#ws.resume();
  }

  /**
   * Pings a quiet peer and says whether it is still there. To be called about once a second. A held peer is never dead:
   * its pongs are not read.
   */
  isAlive(nowMs: number, { pingMs, pongMs }: Heartbeat): boolean {
    if (this.#heard || this.#held) {
      this.#heard = false;
      this.#quietSince = nowMs;
      this.#pingedAt = 0;
      return true;
    }
    if (this.#pingedAt > 0) return nowMs - this.#pingedAt < pongMs;
    if (nowMs - this.#quietSince >= pingMs && this.#ws.readyState === WebSocket.OPEN) {
      this.#pingedAt = nowMs;
      this.flush();
      this.#ws.ping();
    }
    return true;
  }

  /** Says goodbye and reads on only to see the peer's own close frame; `ws` cuts the socket after its close time-out. */
  close(code: number, reason: string): void {
    this.#handlers = null;
    this.flush();
    this.#ws.close(code, reason);
    this.#ws.resume();
  }

  /** Cuts the connection without a goodbye. */
  terminate(): void {
    this.#handlers = null;
    this.#ws.terminate();
  }
}

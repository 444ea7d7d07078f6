/** The edge to `ws`: one leg of a session, the client's or upstream's, reduced to what a session needs. */

import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';

const text = { binary: false } as const;
/** RFC 6455 section 7.4.1: the connection ended without a close frame. */
const noCloseFrame = 1006;

/** What a leg tells its session. */
export interface LegHandlers {
  message(bytes: Buffer): void;
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

/** One WebSocket of a session. It is handed over paused; `start` attaches the listeners and lets it flow. */
export class Leg {
  readonly #ws: WebSocket;
  readonly #stream: Duplex;
  readonly #limit: number;
  #handlers: LegHandlers | null = null;
  #corked = false;
  #held = false;
  #heard = true;
  #quietSince = 0;
  #pingedAt = 0;

  /** @param bufferBytes unsent bytes at which `full` turns true; `drained` is called at half of it */
  constructor(ws: WebSocket, stream: Duplex, bufferBytes: number) {
    this.#ws = ws;
    this.#stream = stream;
    this.#limit = bufferBytes;
  }

  start(handlers: LegHandlers): void {
    this.#handlers = handlers;
    const ws = this.#ws;
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      this.#heard = true;
      if (isBinary) this.#handlers?.binary();
      else this.#handlers?.message(data);
    });
    ws.on('pong', () => {
      this.#heard = true;
    });
    // A peer that breaks the protocol is not read any more, and need not ever answer the close frame that `ws` sends it.
    ws.on('error', (error: Error) => this.#gone(noCloseFrame, error.message));
    ws.on('close', (code: number, reason: Buffer) => this.#gone(code, reason.toString()));
    ws.resume();
  }

  #gone(code: number, reason: string): void {
    const told = this.#handlers;
    this.#handlers = null;
    told?.closed(code, reason);
  }

  /** Bytes accepted by `send` and not yet taken by the operating system. */
  get buffered(): number {
    return this.#ws.bufferedAmount;
  }

  get full(): boolean {
    return this.#ws.bufferedAmount > this.#limit;
  }

  /** Sends one event as a text frame; what is sent in one turn of the event loop leaves in one system call. */
  send(bytes: Buffer): void {
    const ws = this.#ws;
    if (ws.readyState !== WebSocket.OPEN) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      process.nextTick(this.#uncork);
    }
    // Only a write that ends above the half can be the one whose flush brings the buffer below it.
    if (ws.bufferedAmount + bytes.length > this.#limit / 2) ws.send(bytes, text, this.#flushed);
    else ws.send(bytes, text);
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#stream.uncork();
  };

  readonly #flushed = (): void => {
    if (this.#ws.bufferedAmount <= this.#limit / 2) this.#handlers?.drained();
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
      this.#ws.ping();
    }
    return true;
  }

  /** Says goodbye and reads on only to see the peer's own close frame; `ws` cuts the socket after its close time-out. */
  close(code: number, reason: string): void {
    this.#handlers = null;
    this.#ws.close(code, reason);
    this.#ws.resume();
  }

  /** Cuts the connection without a goodbye. */
  terminate(): void {
    this.#handlers = null;
    this.#ws.terminate();
  }
}

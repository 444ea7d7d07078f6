/** The WebSocket beside a call, reduced to what a call needs of it. */

import { exits } from '../errors.js';
import type { JsonObject } from '../protocol/event.js';
import type { Dialed } from '../upstream/dial.js';
import type { Heartbeat } from './socket.js';

interface SidebandHandlers {
  message(bytes: Buffer): void;
  /** A binary frame came; events are text frames. */
  binary(): void;
  closed(code: number, reason: string): void;
}

export class Sideband {
  readonly #socket: Dialed['socket'];
  #heard = false;
  #heardAt = performance.now();
  #pingedAt = 0;

  /** Takes a socket that is paused, and lets it flow. */
  constructor({ socket }: Dialed, handlers: SidebandHandlers) {
    this.#socket = socket;
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.#heard = true;
      if (isBinary) handlers.binary();
      else handlers.message(data);
    });
    socket.on('pong', () => {
      this.#heard = true;
    });
    socket.on('close', (code: number, reason: Buffer) => handlers.closed(code, reason.toString()));
    socket.resume();
  }

  /** Bytes accepted by `send` and not yet taken by the operating system. */
  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  send(body: JsonObject): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(body));
  }

  /** Whether anything has come since the last call. */
  wasHeard(now: number): boolean {
    const heard = this.#heard;
    this.#heard = false;
    if (heard) {
      this.#heardAt = now;
      this.#pingedAt = 0;
    }
    return heard;
  }

  /** Pings a quiet upstream, and says whether it is still there. To be called about once a second, after `wasHeard`. */
  isAlive(now: number, { pingMs, pongMs }: Heartbeat): boolean {
    if (this.#pingedAt > 0) return now - this.#pingedAt < pongMs;
    if (now - this.#heardAt >= pingMs && this.#socket.readyState === this.#socket.OPEN) {
      this.#pingedAt = now;
      this.#socket.ping();
    }
    return true;
  }

  /** Says goodbye; `ws` cuts the socket after its close time-out. The call goes on. */
  close(): void {
    this.#socket.close(exits.normal.close);
  }
}

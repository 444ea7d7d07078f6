/** The edge to `ws`: one leg of a session, the client's or upstream's, reduced to what a session needs. */

import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { tooManyFrames } from '../errors.js';
import { ClientSocket } from './client-socket.js';
import { Frames } from './frames.js';
import { type Hold, Inbox } from './inbox.js';
import type { LegHandlers, LegOptions } from './leg.js';
import { type Heartbeat, Liveness } from './liveness.js';
import { ControlRate } from './pings.js';
import { Sending } from './sending.js';

/** RFC 6455 section 7.4.1: the connection ended without a close frame. */
const noCloseFrame = 1006;

/**
 * One WebSocket of a session. It is handed over before anything was read from it; `start` attaches the listeners and
 * lets it flow.
 */
export class Leg {
  readonly #ws: WebSocket;
  readonly #stream: Duplex;
  #handlers: LegHandlers | null = null;
  readonly #frames: Frames;
  readonly #sending: Sending;
  readonly #controls = new ControlRate();
  /** Whether `ws` made an event of the frame that it was just given. */
  #wasTold = false;
  readonly #inbox: Inbox;
  readonly #liveness = new Liveness();
  #isGone = false;

  constructor(ws: WebSocket, stream: Duplex, { bufferBytes, masked, messageBytes, hasWindow = false }: LegOptions) {
    this.#ws = ws;
    this.#stream = stream;
    this.#sending = new Sending({
      stream,
      masked,
      limit: bufferBytes,
      hasWindow,
      isOpen: () => ws.readyState === WebSocket.OPEN,
      drained: this.#safely(() => this.#handlers?.drained()),
      unanswered: this.#safely(() => this.#handlers?.unanswered?.()),
    });
    this.#inbox = new Inbox(bufferBytes, {
      deliver: this.#safely((bytes: Buffer) => this.#handlers?.message(bytes, false)),
      read: (goesOn) => (goesOn ? ws.resume() : ws.pause()),
      released: (why, seconds) => this.#handlers?.released(why, seconds),
    });
    // The one listener there is on what comes in is that of `ws`; none, when the connection is gone already.
    const [read] = stream.listeners('data') as ((this: Duplex, bytes: Buffer) => void)[];
    this.#frames = new Frames(!masked, messageBytes, {
      text: (bytes) => this.#message(bytes, true),
      other: (frame) => {
        this.#wasTold = false;
        read?.call(stream, frame);
        return this.#wasTold;
      },
    });
    if (read) stream.off('data', read);
  }

  /** @param handlers null for a peer that is only told something */
  start(handlers: LegHandlers | null): void {
    this.#handlers = handlers;
    const ws = this.#ws;
    const stream = this.#stream;
    stream.on('data', this.#take);
    // Before `ws`, which would read what is left without knowing where in a frame it begins.
    stream.prependListener('close', () => {
      const rest = stream.read() as Buffer | null;
      if (rest) this.#take(rest);
      this.#frames.stop();
    });
    ws.on(
      'message',
      this.#safely((data: Buffer, isBinary: boolean) => {
        this.#wasTold = true;
        if (isBinary) this.#handlers?.binary();
        else this.#message(data, false);
      }),
    );
    ws.on(
      'ping',
      this.#safely(() => this.#control()),
    );
    ws.on(
      'pong',
      this.#safely((payload: Buffer) => {
        if (this.#sending.pong(payload)) this.#wasTold = true;
        else this.#control();
      }),
    );
    // A peer that breaks the protocol is not read any more, and need not ever answer the close frame that `ws` sends it.
    ws.on(
      'error',
      this.#safely((error: Error) => {
        this.#frames.stop();
        this.#gone(noCloseFrame, error.message);
      }),
    );
    ws.on(
      'close',
      this.#safely((code: number, reason: Buffer) => this.#gone(code, reason.toString())),
    );
    if (ws instanceof ClientSocket) {
      ws.violated = (code) => {
        let reason = '';
        this.#safely(() => {
          reason = this.#handlers?.violated(code) ?? '';
        })();
        return reason;
      };
    }
    ws.resume();
  }

  readonly #take = (chunk: Buffer): void => {
    // Any byte is a sign of life: a large message may take longer than the silence that is borne, and lets no pong pass.
    this.#liveness.heard();
    try {
      this.#frames.push(chunk);
    } catch (error) {
      this.#failed(error);
    }
  };

  #safely<Args extends unknown[]>(work: (...args: Args) => void): (...args: Args) => void {
    return (...args) => {
      try {
        work(...args);
      } catch (error) {
        this.#failed(error);
      }
    };
  }

  /** The one net: whatever a peer makes throw ends its own session, never the process. */
  #failed(error: unknown): void {
    this.#frames.stop();
    const told = this.#handlers;
    this.#handlers = null;
    try {
      told?.failed(error);
    } catch (unforeseen) {
      process.emitWarning(unforeseen as Error);
      this.#ws.terminate();
    }
  }

  #message(bytes: Buffer, framed: boolean): void {
    if (!this.#inbox.keeps(bytes)) this.#handlers?.message(bytes, framed);
  }

  /** Counts a control frame that nobody asked for; a peer that sends too many is not read any more. */
  #control(): void {
    this.#wasTold = true;
    if (this.#controls.allows(performance.now())) return;
    this.#frames.stop();
    if (!(this.#ws instanceof ClientSocket)) this.#handlers?.violated(tooManyFrames);
    this.#ws.close(tooManyFrames);
    this.#stream.end();
  }

  #gone(code: number, reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    // What still waits may be passed on much later.
    this.#inbox.end(
      this.#safely(() => {
        const told = this.#handlers;
        this.#handlers = null;
        told?.closed(code, reason);
      }),
    );
  }

  /** Bytes that came in and wait to be passed on. */
  get waiting(): number {
    return this.#inbox.bytes;
  }

  /** Whether any reason to hold stands. */
  get isHeld(): boolean {
    return this.#inbox.isHeld;
  }

  /** Since when, by the monotonic clock, this side has been held without a break, and the latest reason. */
  get held(): Inbox['stretch'] {
    return this.#inbox.stretch;
  }

  /** Bytes that are kept of messages whose end has not come yet. */
  get begun(): number {
    return this.#frames.begun;
  }

  /** Bytes accepted by `send` and not yet taken by the operating system. */
  get buffered(): number {
    return this.#sending.bytes;
  }

  get full(): boolean {
    return this.#sending.full;
  }

  /** How long the peer has taken nothing of what waits for it, in milliseconds, as of the last look. */
  stalledMs(nowMs: number): number {
    return this.#inbox.isRead ? this.#sending.stalledMs(nowMs) : 0;
  }

  /**
   * Sends one event as a text frame, and may change its bytes; what is sent in one turn of the event loop leaves as one piece.
   * `speech` names the response whose speech it is, which may have to wait; null for all else.
   */
  send(bytes: Buffer, speech: string | null = null): void {
    if (this.#opens()) this.#sending.add(bytes, speech);
  }

  /** The same for a message that still stands in the frame in which it came in on the other leg. */
  forward(bytes: Buffer, speech: string | null = null): void {
    if (this.#opens()) this.#sending.forward(bytes, speech);
  }

  #opens(): boolean {
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    if (this.#sending.isFlushed) process.nextTick(this.#sending.flush);
    return true;
  }

  /** Writes what `send` has collected in this turn now. */
  flush(): void {
    this.#sending.flush();
  }

  /** Drops speech that the peer has yet to be sent: all of it, or that of one response. */
  dropSpeech(response: string | null): void {
    this.#sending.dropSpeech(response);
  }

  /** Writes all that waits now, without the speech: nothing else will be sent. */
  finish(): void {
    this.#sending.end();
  }

  /** Passes nothing on until this reason, and each other that stands, is released; what comes is read and waits. */
  hold(why: Hold): void {
    this.#inbox.hold(why);
  }

  /** Takes a reason to hold back; with the last of them what waits is passed on. */
  release(why: Hold): void {
    this.#inbox.release(why);
  }

  /** Pings a quiet peer and says whether it is still there. To be called about once a second. */
  isAlive(nowMs: number, heartbeat: Heartbeat): boolean {
    this.#sending.look(nowMs, this.#liveness.quietMs(nowMs) === 0);
    const { isDead, isToBeAsked } = this.#liveness.look(nowMs, this.#inbox.isRead, heartbeat);
    if (isToBeAsked) this.ask();
    return !isDead;
  }

  /** How long nothing has come, to a second or so; 0 for a peer that is not read. */
  quietMs(nowMs: number): number {
    return this.#inbox.isRead ? this.#liveness.quietMs(nowMs) : 0;
  }

  /** Asks for a sign of life. */
  ask(): void {
    if (this.#ws.readyState === WebSocket.OPEN) this.#sending.ping();
  }

  /** Says goodbye and reads on only to see the peer's own close frame; `ws` cuts the socket after its close time-out. */
  close(code: number, reason: string): void {
    this.#inbox.clear();
    this.#handlers = null;
    this.finish();
    this.#ws.close(code, reason);
    this.#ws.resume();
  }

  /** Cuts the connection without a goodbye. */
  terminate(): void {
    this.#inbox.clear();
    this.#handlers = null;
    this.#frames.stop();
    this.#ws.terminate();
  }
}

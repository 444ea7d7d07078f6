/** The edge to `ws`: a leg whose peer, client or upstream, is at the other end of a WebSocket. */

import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { exits, tooManyFrames, violationOf } from '../errors.js';
import { encode, type RealtimeEvent } from '../protocol/event.js';
import { speechOf } from '../protocol/family.js';
import { ClientSocket } from './client-socket.js';
import { Frames } from './frames.js';
import { Inbox } from './inbox.js';
import type { Farewell, Hold, Leg, LegEvents, Stretch } from './leg.js';
import { Liveness } from './liveness.js';
import type { PeerOptions } from './peer.js';
import { ControlRate } from './pings.js';
import { Sending } from './sending.js';

/** RFC 6455 section 7.4.1: the connection ended without a close frame. */
const noCloseFrame = 1006;

/** One WebSocket of a session; `start` attaches the listeners and lets it flow. */
export class WebSocketLeg implements Leg {
  readonly #ws: WebSocket;
  readonly #stream: Duplex;
  readonly #options: PeerOptions;
  #on: LegEvents | null = null;
  readonly #frames: Frames;
  readonly #sending: Sending;
  readonly #controls = new ControlRate();
  /** Whether `ws` made an event of the frame that it was just given. */
  #wasTold = false;
  readonly #inbox: Inbox;
  readonly #liveness = new Liveness();
  #isGone = false;
  /** The reason it was closed for while `ws` is closing it by itself; null at all other times. */
  #violation: { reason: string } | null = null;

  constructor(ws: WebSocket, stream: Duplex, options: PeerOptions) {
    const { bufferBytes, masked, messageBytes, hasWindow = false, recorder } = options;
    this.#ws = ws;
    this.#stream = stream;
    this.#options = options;
    this.#sending = new Sending({
      stream,
      masked,
      limit: bufferBytes,
      hasWindow,
      recorder,
      isOpen: () => ws.readyState === WebSocket.OPEN,
      drained: () => this.#guard(() => this.#on?.drained()),
      unanswered: () => this.#guard(() => this.#on?.unanswered?.()),
    });
    this.#inbox = new Inbox(bufferBytes, {
      deliver: (bytes) => this.#guard(() => this.#deliver(bytes, false)),
      read: (goesOn) => (goesOn ? ws.resume() : ws.pause()),
      released: (why, seconds) => this.#on?.released(why, seconds),
    });
    // The one listener there is on what comes in is that of `ws`; none, when the connection is gone already.
    const [take] = stream.listeners('data') as ((this: Duplex, bytes: Buffer) => void)[];
    this.#frames = new Frames(!masked, messageBytes, {
      text: (bytes) => this.#message(bytes, true),
      other: (frame) => {
        this.#wasTold = false;
        take?.call(stream, frame);
        return this.#wasTold;
      },
    });
    if (take) stream.off('data', take);
  }

  /** @param on null for a peer that is only told something */
  start(on: LegEvents | null): void {
    this.#on = on;
    const [ws, stream] = [this.#ws, this.#stream];
    stream.on('data', this.#take);
    // Before `ws`, which would read what is left without knowing where in a frame it begins.
    stream.prependListener('close', () => {
      const rest = stream.read() as Buffer | null;
      if (rest) this.#take(rest);
      this.#frames.stop();
    });
    ws.on('message', (data: Buffer, isBinary: boolean) =>
      this.#guard(() => {
        this.#wasTold = true;
        if (isBinary) this.#on?.binary();
        else this.#message(data, false);
      }),
    );
    ws.on('ping', () => this.#guard(() => this.#control()));
    ws.on('pong', (payload: Buffer) =>
      this.#guard(() => {
        if (this.#sending.pong(payload)) this.#wasTold = true;
        else this.#control();
      }),
    );
    // A peer that breaks the protocol is not read any more, and need not ever answer the close frame that `ws` sends it.
    ws.on('error', (error: Error) =>
      this.#guard(() => {
        this.#frames.stop();
        this.#gone(noCloseFrame, error.message);
      }),
    );
    ws.on('close', (code: number, reason: Buffer) => this.#guard(() => this.#gone(code, reason.toString())));
    if (ws instanceof ClientSocket) {
      ws.violated = (code) => {
        const violation = { reason: '' };
        this.#violation = violation;
        this.#guard(() => this.#on?.violated(violationOf(code, 'client', this.#options.messageBytes), code));
        this.#violation = null;
        return violation.reason;
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

  /** Made where it is used: a session has two legs, and most of what is guarded never happens to them. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** The one net: whatever a peer makes throw ends its own session, never the process. */
  #failed(error: unknown): void {
    this.#frames.stop();
    const told = this.#on;
    this.#on = null;
    try {
      told?.failed(error);
    } catch (unforeseen) {
      process.emitWarning(unforeseen as Error);
      this.#ws.terminate();
    }
  }

  #message(bytes: Buffer, framed: boolean): void {
    if (!this.#inbox.keeps(bytes)) this.#deliver(bytes, framed);
  }

  #deliver(bytes: Buffer, framed: boolean): void {
    if (this.#on === null) return;
    const arrived = performance.now();
    let event: RealtimeEvent;
    try {
      event = this.#options.read(bytes, framed);
    } catch (error) {
      this.#on.unreadable(error, bytes.length, arrived);
      return;
    }
    this.#on.event(event, bytes.length, arrived);
  }

  /** Counts a control frame that nobody asked for; a peer that sends too many is not read any more. */
  #control(): void {
    this.#wasTold = true;
    if (this.#controls.allows(performance.now())) return;
    this.#frames.stop();
    if (!(this.#ws instanceof ClientSocket)) this.#on?.violated(violationOf(tooManyFrames, 'upstream'), tooManyFrames);
    this.#ws.close(tooManyFrames);
    this.#stream.end();
  }

  #gone(code: number, reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    // What still waits may be passed on much later.
    this.#inbox.end(() =>
      this.#guard(() => {
        const told = this.#on;
        this.#on = null;
        told?.closed(code, reason);
      }),
    );
  }

  get waitingBytes(): number {
    return this.#inbox.bytes;
  }

  get isHeld(): boolean {
    return this.#inbox.isHeld;
  }

  get held(): Stretch | null {
    return this.#inbox.stretch;
  }

  get begunBytes(): number {
    return this.#frames.begun;
  }

  get bufferedBytes(): number {
    return this.#sending.bytes;
  }

  get isFull(): boolean {
    return this.#sending.full;
  }

  stalledMs(nowMs: number): number {
    return this.#inbox.isRead ? this.#sending.stalledMs(nowMs) : 0;
  }

  /** What is sent in one turn of the event loop leaves as one piece. */
  send(event: RealtimeEvent): void {
    if (!this.#opens()) {
      // Whatever is said to a peer that is gone is not even written down, unless somebody keeps it.
      if (this.#options.recorder) this.#sending.late(encode(event), speechOf(event), event.audioBytes);
    } else if (event.framed && event.raw !== null) this.#sending.forward(event.raw, speechOf(event), event.audioBytes);
    else this.#sending.add(encode(event), speechOf(event), event.audioBytes);
  }

  #opens(): boolean {
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    if (this.#sending.isFlushed) process.nextTick(this.#sending.flush);
    return true;
  }

  flush(): void {
    this.#sending.flush();
  }

  /** Hands back what waits to whoever keeps it, for another connection to the same peer. */
  unload(): void {
    this.#sending.unload();
  }

  dropSpeech(response: string | null): number {
    return this.#sending.dropSpeech(response);
  }

  whenRead(done: () => void): boolean {
    return this.#sending.whenRead(done);
  }

  hold(why: Hold): void {
    this.#inbox.hold(why);
  }

  release(why: Hold): void {
    this.#inbox.release(why);
  }

  isAlive(nowMs: number, isDue: boolean): boolean {
    this.#sending.look(nowMs, this.#liveness.quietMs(nowMs) === 0);
    const { idle, due } = this.#options.heartbeat;
    const { isDead, isToBeAsked } = this.#liveness.look(nowMs, this.#inbox.isRead, isDue ? due : idle);
    if (isToBeAsked) this.ask();
    return !isDead;
  }

  quietMs(nowMs: number): number {
    return this.#inbox.isRead ? this.#liveness.quietMs(nowMs) : 0;
  }

  ask(): void {
    if (this.#ws.readyState === WebSocket.OPEN) this.#sending.ping();
  }

  /** Reads on only to see the peer's own close frame; `ws` cuts the socket after its close time-out. */
  close({ id, event, reason: said = id }: Farewell): void {
    if (event !== null) this.send(event);
    this.#inbox.clear();
    this.#on = null;
    this.#sending.end();
    // A client is told why; upstream is not concerned.
    const reason = this.#options.masked ? '' : said;
    if (this.#violation) this.#violation.reason = reason;
    else this.#ws.close(exits[id].close, reason);
    this.#ws.resume();
  }

  terminate(): void {
    this.#inbox.clear();
    this.#on = null;
    this.#frames.stop();
    this.#ws.terminate();
  }
}

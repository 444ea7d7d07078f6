/** The leg to a client whose connection may break and be replaced: to its session it is one leg, whatever it is made of. */

import type { Duplex } from 'node:stream';
import { encode, type RealtimeEvent } from '../protocol/event.js';
import { speechOf } from '../protocol/family.js';
import type { ClientSocket } from './client-socket.js';
import type { Connection, Farewell, Hold, Leg, LegEvents, Line, LinePorts, Missed, Stretch } from './leg.js';
import { NumberedEvents } from './numbered.js';
import { Ring, type Unsent } from './ring.js';
import type { Recorder } from './sending.js';
import type { WebSocketLeg } from './websocket.js';

/** Makes the leg of one connection. */
export type MakeLeg = (socket: ClientSocket, stream: Duplex, recorder: Recorder) => WebSocketLeg;

/** RFC 6455 section 7.4.1: the client is done. */
const done = 1000;
/** Counts alone are answered with one only when there are so many: two that are told nothing else would never fall silent. */
const acksWorth = 20;

export class ResumableLeg implements Leg, Line {
  readonly #make: MakeLeg;
  readonly #ring = new Ring();
  #leg: WebSocketLeg | null;
  #on: LegEvents | null = null;
  #ports: LinePorts | null = null;
  /** Every reason to hold that stands, whichever connection there is. */
  readonly #holds = new Set<Hold>();
  /** What has come since the client was told how much has: one in `acksWorth` of these for a message that only tells the same. */
  #untold = 0;
  /** Whether nothing has come yet over the connection that was taken up last. */
  #isNew = false;

  constructor(socket: ClientSocket, stream: Duplex, make: MakeLeg) {
    this.#make = make;
    this.#leg = make(socket, stream, this.#recorder());
  }

  /** Names who is told of its connections; before that it is a leg like any other. */
  follow(ports: LinePorts): void {
    this.#ports = ports;
  }

  get isDetached(): boolean {
    return this.#leg === null;
  }

  /** Messages that have come, over all connections. */
  get received(): number {
    return this.#ring.received;
  }

  /** Whether the client should be told how much has come. */
  get owesCount(): boolean {
    return this.#leg !== null && this.#untold >= acksWorth;
  }

  /** How much has come; the client is told. */
  counted(): number {
    this.#untold = 0;
    return this.#ring.received;
  }

  /** Bytes that are kept for another connection. */
  get keptBytes(): number {
    return this.#ring.bytes;
  }

  /** Whether something is missing that no connection can bring any more. */
  get isSpoilt(): boolean {
    return this.#ring.isSpoilt;
  }

  /** Whether a client that has so many messages can go on. */
  reaches(count: number): boolean {
    return this.#ring.reaches(count);
  }

  /** Whether a client can have so many. */
  mayHave(count: number): boolean {
    return this.#ring.mayHave(count);
  }

  /**
   * Goes on over another connection, whose client has so many messages. `greet` makes the first thing that it hears; a
   * connection that is there still takes its leave.
   */
  attach(
    { socket, stream }: Connection,
    count: number,
    greet: (missed: Missed) => RealtimeEvent,
    farewell: Farewell,
  ): void {
    const old = this.#leg;
    this.#leg = null;
    old?.unload();
    old?.close(farewell);
    const { again, missed } = this.#ring.after(count);
    const options = { binary: false };
    // Past all that counts and waits: they have their numbers, so that none of them may be left out any more.
    for (const bytes of [encode(greet(missed)), ...again]) socket.send(bytes, options);
    const leg = this.#make(socket, stream, this.#recorder());
    this.#leg = leg;
    this.#isNew = true;
    for (const why of this.#holds) leg.hold(why);
    leg.start(this.#hearing(leg));
    for (const message of this.#ring.takeUnsent()) leg.send(rewritten(message));
  }

  /** The connection is of no more use, but its client may come back. */
  #detach(leg: WebSocketLeg, closeCode: number): void {
    leg.unload();
    this.#leg = null;
    leg.terminate();
    // What was full is not any more.
    this.#on?.drained();
    this.#ports?.detached(closeCode);
  }

  #recorder(): Recorder {
    return {
      wrote: (message, end) => this.#ring.wrote(message, end),
      unsent: (message) => this.#ring.wait(message),
      arrived: (bytes) => this.#ring.arrived(bytes),
    };
  }

  start(on: LegEvents): void {
    this.#on = on;
    if (this.#leg) this.#leg.start(this.#hearing(this.#leg));
  }

  /** What one connection tells; one that was replaced has no say any more. */
  #hearing(leg: WebSocketLeg): LegEvents {
    return new NumberedEvents({
      ring: this.#ring,
      on: () => (this.#leg === leg ? this.#on : null),
      came: (isOnlyCount) => this.#came(isOnlyCount),
      lost: (audioMs) => this.#ports?.lost(audioMs),
      broke: (closeCode) => this.#broke(leg, closeCode),
    });
  }

  #came(isOnlyCount: boolean): void {
    this.#untold += isOnlyCount ? 1 : acksWorth;
    if (!this.#isNew) return;
    this.#isNew = false;
    this.#ports?.proved();
  }

  #broke(leg: WebSocketLeg, closeCode: number): boolean {
    if (closeCode === done || !this.#ports?.mayDetach()) return false;
    this.#detach(leg, closeCode);
    return true;
  }

  send(event: RealtimeEvent): void {
    if (this.#leg) this.#leg.send(event);
    else
      this.#ring.wait({ payload: Buffer.from(encode(event)), speech: speechOf(event), audioBytes: event.audioBytes });
  }

  flush(): void {
    this.#leg?.flush();
  }

  /** What waits for a client that is away is what it comes back to. */
  dropSpeech(response: string | null): number {
    return this.#leg?.dropSpeech(response) ?? 0;
  }

  whenRead(done: () => void): boolean {
    return this.#leg?.whenRead(done) ?? false;
  }

  hold(why: Hold): void {
    this.#holds.add(why);
    this.#leg?.hold(why);
  }

  release(why: Hold): void {
    if (!this.#holds.delete(why)) return;
    if (this.#leg) this.#leg.release(why);
    else this.#on?.released(why, 0);
  }

  get isHeld(): boolean {
    return this.#leg?.isHeld ?? this.#holds.size > 0;
  }

  get held(): Stretch | null {
    return this.#leg?.held ?? null;
  }

  get isFull(): boolean {
    return this.#leg?.isFull ?? false;
  }

  get bufferedBytes(): number {
    return this.#leg?.bufferedBytes ?? 0;
  }

  get waitingBytes(): number {
    return this.#leg?.waitingBytes ?? 0;
  }

  get begunBytes(): number {
    return this.#leg?.begunBytes ?? 0;
  }

  /** Who is not heard of is as good as one whose connection has broken. */
  isAlive(nowMs: number, isDue: boolean): boolean {
    const leg = this.#leg;
    if (leg === null || leg.isAlive(nowMs, isDue)) return true;
    if (!this.#ports?.mayDetach()) return false;
    this.#detach(leg, 0);
    return true;
  }

  quietMs(nowMs: number): number {
    return this.#leg?.quietMs(nowMs) ?? 0;
  }

  stalledMs(nowMs: number): number {
    return this.#leg?.stalledMs(nowMs) ?? 0;
  }

  ask(): void {
    this.#leg?.ask();
  }

  close(farewell: Farewell): void {
    this.#on = null;
    this.#leg?.close(farewell);
  }

  terminate(): void {
    this.#on = null;
    this.#leg?.terminate();
  }
}

/** A message that was written once, as an event that is written as it is. */
function rewritten({ payload, speech, audioBytes }: Unsent): RealtimeEvent {
  return { type: '', raw: payload, body: null, audioBytes, itemId: null, responseId: speech, framed: false };
}

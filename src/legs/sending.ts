/** The sending side of a leg: what waits for the peer, what waits for the system, and what the peer has taken of it. */

import type { Duplex } from 'node:stream';
import { headBytes } from './frames.js';
import { Outbox } from './outbox.js';
import { Pings } from './pings.js';
import type { Unsent } from './ring.js';
import { Window } from './window.js';

/** What a sending side needs of its leg. */
interface SendingPorts {
  readonly stream: Duplex;
  /** Whether we are the client of this connection. */
  readonly masked: boolean;
  /** Bytes at which it is full. */
  readonly limit: number;
  /** Whether speech waits until the peer has read what was sent before. */
  readonly hasWindow: boolean;
  /** Whether the connection still takes events. */
  isOpen(): boolean;
  /** What waits has fallen to half the limit. */
  drained(): void;
  /** The peer answers no pings, so that it is not known what it has read. */
  unanswered(): void;
  /** Keeps what is sent, for another connection to the same peer. Left out: nobody does. */
  readonly recorder?: Recorder | undefined;
}

/** Who keeps what is sent; its messages are nobody else's. */
export interface Recorder {
  /** A message goes out; `end` is what the connection has taken when it has taken this. */
  wrote(message: Unsent, end: number): void;
  /** A message that this connection does not take any more. */
  unsent(message: Unsent): void;
  /** The peer has taken so many bytes. */
  arrived(bytes: number): void;
}

/** A message that waits for the window. */
interface Waiting extends Unsent {
  /** Whether it stands in its frame, with room for the head before it. */
  readonly framed: boolean;
}

/**
 * What the system is given at a time, in bytes: what it was given cannot be taken back, and how much of a write has been
 * taken is not known before all of it is.
 */
const mostHanded = 64 * 1024;
/** Of those who want to know what was read. */
const mostMarks = 16;
/** What a waiting message costs besides its bytes. */
const waitingOverhead = 128;

export class Sending {
  readonly #ports: SendingPorts;
  #recorder: Recorder | undefined;
  readonly #outbox: Outbox;
  readonly #window: Window | null;
  /** Of a peer without a window. */
  readonly #pings = new Pings();
  /** Speech for which there is no room, and what came behind it. */
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #wasFull = false;
  /** Who is told when so much has been read. */
  #marks: { readonly bytes: number; readonly done: () => void }[] = [];
  /** Bytes that were given to the system. */
  #handed = 0;
  /** The most that was ever taken, by pongs or by what the system took; and since when it has been no more. */
  #progress = 0;
  #isByPongs = false;
  #progressAt = 0;

  constructor(ports: SendingPorts) {
    this.#ports = ports;
    this.#recorder = ports.recorder;
    this.#outbox = new Outbox(ports.masked);
    this.#window = ports.hasWindow ? new Window() : null;
    ports.stream.on('drain', this.flush);
  }

  /** Bytes that wait here or in the system's queue. */
  get bytes(): number {
    return this.#ports.stream.writableLength + this.#outbox.bytes + this.#waitingBytes;
  }

  /** Whether `drained` will be called once there is room again. */
  get full(): boolean {
    const isFull = this.bytes > this.#ports.limit;
    this.#wasFull ||= isFull;
    return isFull;
  }

  /** Whether nothing has been collected since the last flush. */
  get isFlushed(): boolean {
    return this.#outbox.bytes === 0;
  }

  /** Takes a message, whose bytes may be changed. */
  add(payload: Buffer, speech: string | null, audioBytes = 0): void {
    if (this.#mustWait(speech)) {
      this.#park(payload, speech, audioBytes, false);
      return;
    }
    const before = this.#outbox.bytes;
    this.#outbox.add(payload);
    this.#count(before);
    if (this.#recorder) this.#record(Buffer.from(payload), speech, audioBytes);
  }

  /** The same for a message that still stands in the frame in which it came in on another leg. */
  forward(payload: Buffer, speech: string | null, audioBytes = 0): void {
    if (this.#mustWait(speech)) {
      this.#park(payload, speech, audioBytes, true);
      return;
    }
    const before = this.#outbox.bytes;
    this.#outbox.forward(payload);
    this.#count(before);
    if (this.#recorder) this.#record(Buffer.from(payload), speech, audioBytes);
  }

  #record(payload: Buffer, speech: string | null, audioBytes: number): void {
    this.#recorder?.wrote({ payload, speech, audioBytes }, this.#window?.handed ?? 0);
  }

  #mustWait(speech: string | null): boolean {
    return this.#waiting.length > 0 || (speech !== null && this.#window?.isShut === true);
  }

  #count(before: number): void {
    if (this.#window?.sent(this.#outbox.bytes - before)) this.#ask();
  }

  #ask(): void {
    const now = performance.now();
    this.#outbox.ping(this.#window?.ask(now) ?? this.#pings.ask(0, now, 0));
  }

  #park(payload: Buffer, speech: string | null, audioBytes: number, framed: boolean): void {
    // A copy: what it came with may be much larger than what is counted here. Its head comes along, so that none is made.
    const head = framed ? headBytes(payload.length, this.#ports.masked) : 0;
    const frame = Buffer.allocUnsafeSlow(head + payload.length);
    frame.set(framed ? Buffer.from(payload.buffer, payload.byteOffset - head, frame.length) : payload);
    this.#waiting.push({ payload: framed ? frame.subarray(head) : frame, framed, speech, audioBytes });
    this.#waitingBytes += payload.length + waitingOverhead;
    if (this.#window?.needsPing) this.#pingNow();
  }

  /** Lets go what there is room for. */
  #pump(): void {
    let count = 0;
    for (const { payload, framed, speech, audioBytes } of this.#waiting) {
      if (speech !== null && this.#window?.isShut) break;
      count++;
      this.#waitingBytes -= payload.length + waitingOverhead;
      const before = this.#outbox.bytes;
      if (framed) this.#outbox.forward(payload);
      else this.#outbox.add(payload);
      this.#count(before);
      this.#record(payload, speech, audioBytes);
    }
    if (count > 0) this.#waiting = this.#waiting.slice(count);
    if (this.#waiting.length > 0 && this.#window?.needsPing) this.#ask();
    this.flush();
  }

  /** Gives the system what was collected; it is called again when the system has taken what it was given before. */
  readonly flush = (): void => {
    const { stream, limit } = this.#ports;
    if (!this.#ports.isOpen()) {
      this.clear();
      return;
    }
    while (this.#outbox.bytes > 0 && stream.writableLength < mostHanded) {
      this.#handed += this.#outbox.flush(stream, mostHanded, this.#wasFull ? this.#taken : undefined);
    }
    if (this.#wasFull && this.bytes <= limit / 2) {
      this.#wasFull = false;
      this.#ports.drained();
    }
  };

  readonly #taken = (): void => {
    // Not from within the write, whose end this may be.
    if (this.#wasFull) process.nextTick(this.flush);
  };

  #pingNow(): void {
    this.#ask();
    this.flush();
  }

  /** Asks whether the peer is there, behind all that was sent. */
  ping(): void {
    this.#pingNow();
  }

  /** Takes a pong; false when it answers no ping of ours. */
  pong(payload: Buffer): boolean {
    if (this.#window === null) return this.#pings.answered(payload) !== null;
    if (!this.#window.answer(payload, performance.now())) return false;
    this.#recorder?.arrived(this.#window.acknowledged);
    if (this.#marks.length > 0) this.#tellRead(this.#window.acknowledged);
    if (this.#waiting.length > 0) this.#pump();
    return true;
  }

  #tellRead(bytes: number): void {
    const reached = this.#marks.filter((mark) => mark.bytes <= bytes);
    this.#marks = this.#marks.filter((mark) => mark.bytes > bytes);
    for (const { done } of reached) done();
  }

  /** Calls back once what is sent next has been read; false while nobody knows what is read. Of many the last ones. */
  whenRead(done: () => void): boolean {
    if (this.#window === null) return false;
    // Behind what comes next, for which this is asked.
    const bytes = this.#window.handed + this.#waitingBytes + 1;
    this.#marks = [...this.#marks.slice(1 - mostMarks), { bytes, done }];
    return this.#window.isAnswered;
  }

  /** Drops the speech that waits: all of it, or that of one response, in bytes. Nothing else is dropped, and the order stays. */
  dropSpeech(response: string | null): number {
    if (this.#waiting.length === 0) return 0;
    let bytes = 0;
    this.#waiting = this.#waiting.filter(({ payload, speech }) => {
      const stays = speech === null || (response !== null && speech !== response);
      if (!stays) {
        bytes += payload.length;
        this.#waitingBytes -= payload.length + waitingOverhead;
      }
      return stays;
    });
    this.#pump();
    return bytes;
  }

  /** The end: speech that waits is dropped, all else is given to the system. */
  end(): void {
    this.dropSpeech(null);
    this.#handed += this.#outbox.flush(this.#ports.stream);
  }

  /** Nothing is sent any more. */
  clear(): void {
    this.#outbox.clear();
    for (const waiting of this.#waiting) this.#recorder?.unsent(waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  /** A message that comes too late for this connection. */
  late(payload: Buffer, speech: string | null, audioBytes: number): void {
    if (!this.#recorder) return;
    this.clear();
    this.#recorder.unsent({ payload: Buffer.from(payload), speech, audioBytes });
  }

  /** From now on nobody keeps what is sent here; what waits was another connection's to send. */
  unload(): void {
    this.clear();
    this.#recorder = undefined;
  }

  /** To be called about once a second; `heard` when anything has come from the peer since the last time. */
  look(now: number, heard: boolean): void {
    if (this.#window?.look(now, heard)) this.#ports.unanswered();
    if (this.#waiting.length > 0) this.#pump();
    const { writableLength } = this.#ports.stream;
    const isByPongs = this.#window?.isAnswered ?? false;
    const progress = isByPongs ? (this.#window?.acknowledged ?? 0) : this.#handed - writableLength;
    if (this.bytes === 0 || isByPongs !== this.#isByPongs || progress > this.#progress) {
      this.#progress = progress;
      this.#progressAt = now;
    }
    this.#isByPongs = isByPongs;
  }

  /** How long the peer has taken nothing of what waits for it, in milliseconds. */
  stalledMs(now: number): number {
    return this.bytes === 0 ? 0 : now - this.#progressAt;
  }
}

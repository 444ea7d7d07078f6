/** What comes in on a leg that is held: read, so that pings are answered and a close is seen, but not passed on yet. */

import type { Hold, Stretch } from './leg.js';

/** What an inbox needs of its leg. */
interface InboxPorts {
  /** Passes on a message that has waited. */
  deliver(message: Buffer): void;
  /** Stops reading the socket, or goes on with it. */
  read(goesOn: boolean): void;
  /** A reason to hold has fallen, after so many seconds. */
  released(why: Hold, seconds: number): void;
}

/** What a waiting message costs besides its bytes: a flood of empty ones must reach the limit, too. */
const waitingOverhead = 256;
/** Messages passed on in one turn of the event loop: who was held for long must not hold up everybody else. */
const turnMessages = 256;
/** What a message is kept in may be so much larger than itself; else it is copied. */
const leastShare = 3 / 4;
/** Under these there is no other side that could take what waits. */
const without: readonly Hold[] = ['opening', 'swap', 'detached'];

export class Inbox {
  readonly #ports: InboxPorts;
  readonly #limit: number;
  /** When each reason that stands began, by the monotonic clock. */
  readonly #standing = new Map<Hold, number>();
  #queue: Buffer[] = [];
  #bytes = 0;
  #isRead = true;
  #isPumping = false;
  #isClosed = false;
  /** Called when all that waits has been passed on, whatever holds. */
  #ended: (() => void) | null = null;
  #heldSince = 0;
  #lastWhy: Hold = 'opening';

  /** @param limit bytes that may wait before the socket is no longer read */
  constructor(limit: number, ports: InboxPorts) {
    this.#limit = limit;
    this.#ports = ports;
  }

  /** Bytes that wait, with what keeping them costs. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the socket is read. */
  get isRead(): boolean {
    return this.#isRead;
  }

  /** Whether any reason to hold stands. */
  get isHeld(): boolean {
    return this.#standing.size > 0;
  }

  /** Null when nothing is held. */
  get stretch(): Stretch | null {
    return this.#heldSince === 0 ? null : { since: this.#heldSince, why: this.#lastWhy };
  }

  /** Keeps a message that has come, behind those that wait; false when it may pass at once. */
  keeps(message: Buffer): boolean {
    if (this.#standing.size === 0 && this.#queue.length === 0 && !this.#isClosed) return false;
    if (this.#isClosed) return true;
    const isMost = message.length >= leastShare * message.buffer.byteLength;
    this.#queue.push(isMost ? message : Buffer.from(message));
    this.#bytes += message.length + waitingOverhead;
    if (this.#isRead && this.#bytes > this.#limit) this.#setRead(false);
    return true;
  }

  #setRead(goesOn: boolean): void {
    this.#isRead = goesOn;
    this.#ports.read(goesOn);
  }

  /** Passes nothing on from now on, not even what has come in the same piece. */
  hold(why: Hold): void {
    if (this.#standing.has(why) || this.#isClosed) return;
    const now = performance.now();
    this.#standing.set(why, now);
    this.#lastWhy = why;
    if (this.#heldSince === 0) this.#heldSince = now;
  }

  /** Takes one reason back; with the last of them what waits is passed on. */
  release(why: Hold): void {
    const since = this.#standing.get(why);
    if (since === undefined) return;
    this.#standing.delete(why);
    this.#ports.released(why, (performance.now() - since) / 1000);
    if (!this.#isPumping) this.#pump();
  }

  /** Nothing more will come: passes on what was accepted, as there is room for it, and calls back then. */
  end(ended: () => void): void {
    if (without.some((why) => this.#standing.has(why))) this.clear();
    this.#ended = ended;
    if (!this.#isPumping) this.#pump();
  }

  /** Drops what waits and all that may still come. */
  clear(): void {
    this.#isClosed = true;
    this.#ended = null;
    this.#queue = [];
    this.#bytes = 0;
    this.#heldSince = 0;
    for (const why of [...this.#standing.keys()]) this.release(why);
  }

  /** Who is gone is not held for its pace any more, but the other side still needs room. */
  #mayPass(): boolean {
    return this.#standing.size === 0 || (this.#ended !== null && !this.#standing.has('full'));
  }

  readonly #pump = (): void => {
    this.#isPumping = true;
    for (let passed = 0; this.#mayPass(); passed++) {
      if (passed === turnMessages) {
        setImmediate(this.#pump);
        return;
      }
      const message = this.#queue.shift();
      if (message === undefined) break;
      this.#bytes -= message.length + waitingOverhead;
      this.#ports.deliver(message);
    }
    this.#isPumping = false;
    if (!this.#isRead && this.#bytes <= this.#limit / 2) this.#setRead(true);
    if (this.#queue.length > 0) return;
    if (this.#standing.size === 0) this.#heldSince = 0;
    const ended = this.#ended;
    this.#ended = null;
    ended?.();
  };
}

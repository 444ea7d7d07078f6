/**
 * Ordered ways between the processes of a relay, for whoever follows a session that another process has. Pieces go both ways;
 * each end says what it has taken, and has no more than 256 KiB on the way that it has not, whatever the other end sends.
 */

import { z } from 'zod';
import { replicaOf } from './replica.js';

/** What may be on the way, untaken; a piece that overdraws passes whole. */
const creditBytes = 256 * 1024;
/** And over all ways of a process to other replicas, in what these have in common. */
const creditElsewhereBytes = 16 * 1024 * 1024;

/** What happens at an end of a way. */
interface StreamEvents {
  /** A piece has come; `took` is to be called with its length once it is dealt with. */
  received(piece: Uint8Array): void;
  /** There is room again, after `send` has said that there was none. */
  room(): void;
  /** The other end has ended it, or is out of reach; nothing comes any more. `hasDied`: with its whole replica. */
  ended(hasDied: boolean): void;
}

/** One end of a way. */
export interface Stream {
  /** Hands over what has come and what comes from now on; to be called once. */
  start(on: StreamEvents): void;
  /** Sends a piece; false when the other end has not taken what was sent before, and then nothing is sent. */
  send(piece: Uint8Array): boolean;
  /** So much of what was received is dealt with. */
  took(bytes: number): void;
  /** Ends it, for both ends; what was sent before still arrives. */
  end(): void;
}

const id = z.string().max(200);

/** What one end says to the other; `stream` names the end that is to hear it. */
export const streamMessage = z.discriminatedUnion('do', [
  z.strictObject({
    do: z.literal('piece'),
    stream: id,
    bytes: z.custom<Uint8Array>((value) => ArrayBuffer.isView(value)),
  }),
  z.strictObject({ do: z.literal('took'), stream: id, bytes: z.int().nonnegative() }),
  z.strictObject({ do: z.literal('end'), stream: id }),
]);
export type StreamMessage = z.output<typeof streamMessage>;

/** How a process speaks to others; what is told to one arrives in order, or not at all where that one is no more. */
export interface Post {
  /** By which others speak to this process. */
  readonly address: string;
  tell(to: string, message: StreamMessage): void;
}

/** All ends that a process has. */
export class Streams {
  readonly #post: Post;
  readonly #ends = new Map<string, End>();
  readonly #elsewhere = new Elsewhere();
  #opened = 0;

  constructor(post: Post) {
    this.#post = post;
  }

  get address(): string {
    return this.#post.address;
  }

  get size(): number {
    return this.#ends.size;
  }

  /** A new way, with a name that the other end must be told; `to` is to be called when it is known which process has that. */
  open(): { readonly name: string; readonly stream: Stream; to(address: string): void } {
    const name = `${this.address}:${++this.#opened}`;
    const end = this.#add(`${name}/opened`, `${name}/joined`);
    return { name, stream: end, to: (address) => end.connect(address) };
  }

  /** The other end of a way that the process at this address has opened. */
  join(name: string, address: string): Stream {
    const end = this.#add(`${name}/joined`, `${name}/opened`);
    end.connect(address);
    return end;
  }

  /** To be called with what others say to this process. */
  receive(message: StreamMessage): void {
    this.#ends.get(message.stream)?.heard(message);
  }

  /** The process at this address is no more or out of reach, or all of a replica are; `hasDied`: the whole replica is no more. */
  gone(address: string, hasDied = false): void {
    for (const end of this.#ends.values()) {
      const { peer } = end;
      if (peer === null || (peer !== address && replicaOf(peer) !== address)) continue;
      if (hasDied) end.died();
      else end.heard({ do: 'end', stream: '' });
    }
  }

  #add(own: string, other: string): End {
    const end = new End(other, this.#post, this.#elsewhere, () => this.#ends.delete(own));
    this.#ends.set(own, end);
    return end;
  }
}

/** What is on the way to other replicas, untaken. */
class Elsewhere {
  #untaken = 0;
  /** Those who want to know that there is room. */
  readonly waiting = new Set<End>();

  get isFull(): boolean {
    return this.#untaken >= creditElsewhereBytes;
  }

  add(bytes: number): void {
    this.#untaken += bytes;
    if (bytes > 0 || this.#untaken > creditElsewhereBytes / 2) return;
    for (const end of [...this.waiting]) {
      this.waiting.delete(end);
      end.hasRoom();
    }
  }
}

class End implements Stream {
  readonly #other: string;
  readonly #post: Post;
  readonly #elsewhere: Elsewhere;
  readonly #remove: () => void;
  /** Heard before anybody wanted to know; the sender's credit is its bound. */
  #early: StreamMessage[] = [];
  /** Said before it was known to whom. */
  #unsaid: StreamMessage[] = [];
  #on: StreamEvents | null = null;
  #peer: string | null = null;
  #isElsewhere = false;
  #untaken = 0;
  #wantsRoom = false;
  #isOver = false;

  /** @param other what the other end is called by */
  constructor(other: string, post: Post, elsewhere: Elsewhere, remove: () => void) {
    this.#other = other;
    this.#post = post;
    this.#elsewhere = elsewhere;
    this.#remove = remove;
  }

  get peer(): string | null {
    return this.#peer;
  }

  connect(address: string): void {
    this.#peer = address;
    this.#isElsewhere = replicaOf(address) !== replicaOf(this.#post.address);
    if (this.#isElsewhere) this.#elsewhere.add(this.#untaken);
    for (const message of this.#unsaid.splice(0)) this.#post.tell(address, message);
  }

  start(on: StreamEvents): void {
    this.#on = on;
    for (const message of this.#early.splice(0)) this.#deal(message, on);
  }

  send(piece: Uint8Array): boolean {
    if (this.#isOver) return false;
    const isElsewhereFull = this.#isElsewhere && this.#elsewhere.isFull;
    if (isElsewhereFull) this.#elsewhere.waiting.add(this);
    if (isElsewhereFull || this.#untaken >= creditBytes) {
      this.#wantsRoom = true;
      return false;
    }
    this.#count(piece.length);
    this.#say({ do: 'piece', stream: this.#other, bytes: piece });
    return true;
  }

  took(bytes: number): void {
    if (!this.#isOver) this.#say({ do: 'took', stream: this.#other, bytes });
  }

  end(): void {
    if (this.#isOver) return;
    this.#say({ do: 'end', stream: this.#other });
    this.#close();
  }

  heard(message: StreamMessage): void {
    if (this.#isOver) return;
    if (message.do === 'took') {
      this.#count(-Math.min(this.#untaken, message.bytes));
      this.hasRoom();
    } else if (this.#on) this.#deal(message, this.#on);
    else this.#early.push(message);
  }

  /** Says so to who wants to know, where it is so. */
  hasRoom(): void {
    if (!this.#wantsRoom || this.#untaken > creditBytes / 2) return;
    this.#wantsRoom = false;
    this.#on?.room();
  }

  /** Its replica is no more. */
  died(): void {
    if (!this.#on) this.#early.push({ do: 'end', stream: '' });
    else {
      this.#close();
      this.#on.ended(true);
    }
  }

  #deal(message: StreamMessage, on: StreamEvents): void {
    if (this.#isOver) return;
    if (message.do === 'piece') on.received(message.bytes);
    if (message.do !== 'end') return;
    this.#close();
    on.ended(false);
  }

  #count(bytes: number): void {
    this.#untaken += bytes;
    if (this.#isElsewhere) this.#elsewhere.add(bytes);
  }

  #say(message: StreamMessage): void {
    if (this.#peer === null) this.#unsaid.push(message);
    else this.#post.tell(this.#peer, message);
  }

  #close(): void {
    this.#isOver = true;
    this.#early = [];
    this.#elsewhere.waiting.delete(this);
    this.#count(-this.#untaken);
    this.#remove();
  }
}

/**
 * A process that is alone in its replica speaks to itself, as late as others would hear it.
 * @param later by default when the clients of all sessions have been sent what has come for them
 * @param elsewhere tells the processes of other replicas
 */
export function createLocalStreams(
  address = 'here',
  later: (work: () => void) => void = setImmediate,
  elsewhere: Post['tell'] | null = null,
): Streams {
  let told: StreamMessage[] = [];
  const hear = () => {
    const messages = told;
    told = [];
    for (const message of messages) streams.receive(message);
  };
  const streams: Streams = new Streams({
    address,
    tell(to, message) {
      if (to !== address && elsewhere) elsewhere(to, message);
      else if (told.push(message) === 1) later(hear);
    },
  });
  return streams;
}

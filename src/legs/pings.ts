/** Control frames of one connection: the pings that the relay asks with, and how many frames of theirs a peer may send. */

import { fillRandom } from './mask.js';

/** A ping that has not been answered yet. */
export interface Ping {
  readonly token: Buffer;
  /** What had been sent before it, in bytes. */
  readonly mark: number;
  readonly at: number;
  /** Of that, what was not acknowledged at the time. */
  readonly ahead: number;
}

/** A pong that nobody could foretell is the only proof that the ping was read. */
const tokenBytes = 8;
/** Asked without an answer; of more the oldest is forgotten. */
const most = 64;
const perSecond = 100;
const burst = 400;

/** The pings that are out, oldest first. */
export class Pings {
  #out: Ping[] = [];

  /** The last one that is out. */
  get last(): Ping | undefined {
    return this.#out.at(-1);
  }

  /** Notes a ping, and gives the payload to send it with. */
  ask(mark: number, at: number, ahead: number): Buffer {
    const token = Buffer.allocUnsafeSlow(tokenBytes);
    fillRandom(token);
    if (this.#out.length === most) this.#out.shift();
    this.#out.push({ token, mark, at, ahead });
    return token;
  }

  /** The ping that a pong answers, and with it all before (RFC 6455 section 5.5.3); null when it answers none of ours. */
  answered(pong: Buffer): Ping | null {
    const index = this.#out.findIndex(({ token }) => token.equals(pong));
    if (index === -1) return null;
    const ping = this.#out[index] as Ping;
    this.#out = this.#out.slice(index + 1);
    return ping;
  }
}

/** How many control frames a peer may still send. */
export class ControlRate {
  #left = burst;
  #at = 0;

  /** Counts one; false when it is over the rate. `now` is monotonic, in milliseconds. */
  allows(now: number): boolean {
    this.#left = Math.min(burst, this.#left + ((now - this.#at) / 1000) * perSecond) - 1;
    this.#at = now;
    return this.#left >= 0;
  }
}

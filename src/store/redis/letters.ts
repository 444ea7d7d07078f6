/**
 * Letters between replicas: what one tells another arrives in order, or both learn that something was lost. They are numbered
 * within runs; who misses one, or could not write one, says so with the first of a new run, which the other answers with one of its own.
 */

import { randomBytes } from 'node:crypto';
import { inTime } from '../../wait.js';
import type { Envelope } from './envelopes.js';
import type { Send } from './questions.js';

/** What becomes of letters. */
export interface LetterEvents {
  told(from: string, letter: unknown): void;
  /** What was on the way to and from a replica is lost; with `hasDied` it is no more. */
  lost(replica: string, hasDied: boolean): void;
}

/** Why a run begins: as the first, because something was lost, or because the other says that it was. */
type Cause = 'first' | 'reset' | 'echo';

/** What is on its way to one replica. */
interface Outgoing {
  run: string;
  cause: Cause;
  /** How many of the run were written. */
  count: number;
  queue: string[];
  /** Whether the other must hear of the run though there is nothing to say. */
  isDue: boolean;
  isWriting: boolean;
}

/** What has come from one. */
interface Incoming {
  readonly run: string;
  count: number;
  isBroken: boolean;
}

interface Correspondent {
  readonly since: number;
  out: Outgoing | null;
  in: Incoming | null;
}

/** Who has just been met may not be on the roll that is looked at. */
const newMs = 2000;
const mostAtOnceBytes = 1024 * 1024;
/** What may wait to be written, for all replicas together. */
const mostWaitingBytes = 32 * 1024 * 1024;

export class Letters {
  readonly #send: Send;
  readonly #all = new Map<string, Correspondent>();
  #on: LetterEvents = { told: () => undefined, lost: () => undefined };
  #waitingBytes = 0;
  #idle: (() => void) | null = null;

  constructor(send: Send) {
    this.#send = send;
  }

  attend(on: LetterEvents): void {
    this.#on = on;
  }

  /** All that anything was said to or heard from. */
  get correspondents(): readonly string[] {
    return [...this.#all.keys()];
  }

  /** @param letter as JSON */
  tell(to: string, letter: string): void {
    const one = this.#of(to);
    one.out ??= begun('first');
    if (this.#waitingBytes + letter.length > mostWaitingBytes) {
      this.#break(to, one);
      return;
    }
    one.out.queue.push(letter);
    this.#waitingBytes += letter.length;
    void this.#write(to, one);
  }

  /** To be called with what was opened. */
  received({ from, id, text }: Envelope): void {
    const one = this.#of(from);
    const [run = '', number = '', cause = ''] = id.split('.');
    const count = Number(number);
    const before = one.in;
    if (before?.run === run) {
      if (before.isBroken) return;
      if (count !== before.count + 1) {
        before.isBroken = true;
        this.#break(from, one);
        return;
      }
      before.count = count;
    } else {
      one.in = { run, count, isBroken: count !== 1 };
      if (one.in.isBroken) {
        this.#break(from, one);
        return;
      }
      const isReset = cause === 'reset';
      if (before || isReset) this.#on.lost(from, false);
      if (isReset && one.out) this.#restart(from, one, 'echo');
    }
    for (const letter of JSON.parse(text) as unknown[]) this.#on.told(from, letter);
  }

  /** What has been on the way is lost, to and from all. */
  interrupt(): void {
    for (const [replica, one] of this.#all) {
      one.in = null;
      this.#break(replica, one);
    }
  }

  /** To be called now and then with those that live: forgets the others, and writes what could not be written. */
  tend(living: readonly string[]): void {
    const now = performance.now();
    for (const [replica, one] of this.#all) {
      if (living.includes(replica) || one.since + newMs > now) void this.#write(replica, one);
      else {
        this.#all.delete(replica);
        this.#drop(one.out);
        this.#on.lost(replica, true);
      }
    }
  }

  /** Resolves when all is written, or after so long. */
  async close(ms: number): Promise<void> {
    const isIdle = new Promise<void>((resolve) => {
      this.#idle = resolve;
      this.#wake();
    });
    await inTime(isIdle, ms);
  }

  #of(replica: string): Correspondent {
    const known = this.#all.get(replica);
    if (known) return known;
    const one = { since: performance.now(), out: null, in: null };
    this.#all.set(replica, one);
    return one;
  }

  #break(replica: string, one: Correspondent): void {
    this.#restart(replica, one, 'reset');
    this.#on.lost(replica, false);
  }

  #restart(replica: string, one: Correspondent, cause: Cause): void {
    const isWriting = one.out?.isWriting ?? false;
    this.#drop(one.out);
    one.out = { ...begun(cause), isDue: true, isWriting };
    void this.#write(replica, one);
  }

  #drop(out: Outgoing | null): void {
    for (const letter of out?.queue.splice(0) ?? []) this.#waitingBytes -= letter.length;
  }

  /** One at a time: what is written again for its clock must not come behind what was said later. */
  async #write(replica: string, one: Correspondent): Promise<void> {
    while (one.out && !one.out.isWriting && (one.out.isDue || one.out.queue.length > 0)) {
      const { out } = one;
      const batch = this.#batch(out);
      const id = `${out.run}.${out.count + 1}.${out.cause}`;
      out.isWriting = true;
      out.isDue = false;
      try {
        await this.#send({ kind: 'letter', to: replica, id, text: `[${batch.join()}]` });
        out.count++;
      } catch {
        // Of a Redis that does not answer the link tells; it may or may not have been written.
        if (one.out === out) {
          this.#drop(out);
          // Written as others are looked after.
          one.out = { ...begun('reset'), isDue: true };
          this.#on.lost(replica, false);
          break;
        }
      }
      if (one.out) one.out.isWriting = false;
    }
    this.#wake();
  }

  #batch({ queue }: Outgoing): string[] {
    let bytes = 0;
    let count = 0;
    for (const letter of queue) {
      if (count > 0 && bytes + letter.length > mostAtOnceBytes) break;
      bytes += letter.length;
      count++;
    }
    this.#waitingBytes -= bytes;
    return queue.splice(0, count);
  }

  #wake(): void {
    const isBusy = [...this.#all.values()].some(({ out }) => out?.isWriting || (out?.queue.length ?? 0) > 0);
    if (!isBusy) this.#idle?.();
  }
}

function begun(cause: Cause): Outgoing {
  const run = randomBytes(9).toString('base64url');
  return { run, cause, count: 0, queue: [], isDue: false, isWriting: false };
}

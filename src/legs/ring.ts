/**
 * What a client was sent and has not said that it has, kept to be sent again on another connection, and what could not be sent
 * to it yet. Messages are counted from 1, each way for itself, over all connections of a session; what was never written
 * has no number.
 */

import type { Missed } from './leg.js';

/** A message for a client, as it is written. */
export interface Unsent {
  readonly payload: Buffer;
  /** The response whose speech it is; null for what is no speech. */
  readonly speech: string | null;
  /** Decoded bytes of audio in it. */
  readonly audioBytes: number;
}

interface Kept extends Unsent {
  /** 0 for one that was never written. */
  number: number;
  readonly order: number;
  readonly at: number;
  /** What its connection has taken when it has taken this. */
  readonly end: number;
}

/** Sound that could not be heard in time is of no use; it leaves first. */
const mostSpeechBytes = 1024 * 1024;
const mostSpeechMs = 10_000;
/** Of all else nothing may be left out. */
const mostOtherBytes = 256 * 1024;
/** What a message costs besides its bytes. */
const overhead = 128;
/** A page may take a while to see what its browser has confirmed. */
const patienceMs = 5000;
const mostGone = 1000;

/** The counts of a session and what is kept of it. */
export class Ring {
  /** Messages that were written to the client. */
  sent = 0;
  /** Messages that have come from it. */
  received = 0;
  /** Of those sent the client has so many, by its own word or as its connection has confirmed. */
  #acknowledged = 0;
  readonly #speech: Kept[] = [];
  readonly #others: Kept[] = [];
  #speechBytes = 0;
  #otherBytes = 0;
  /** Speech that has left: its numbers, and how much it was. */
  #gone: { readonly number: number; readonly audioBytes: number }[] = [];
  #goneUnsent = 0;
  #order = 0;
  /** The number of the last message that is missing and must not be; infinite for one without. */
  #brokenAt = 0;

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#speechBytes + this.#otherBytes;
  }

  /** Whether something had to go that nobody can do without, and that was never written. */
  get isSpoilt(): boolean {
    return this.#brokenAt === Number.POSITIVE_INFINITY;
  }

  /** A message was written. `end` is what its connection has taken when it has taken this. */
  wrote(message: Unsent, end: number): void {
    this.#keep({ ...message, number: ++this.sent, order: ++this.#order, at: performance.now(), end });
  }

  /** A message could not be written; it waits for another connection. */
  wait(message: Unsent): void {
    this.#keep({ ...message, number: 0, order: ++this.#order, at: performance.now(), end: 0 });
  }

  #keep(kept: Kept): void {
    const bytes = kept.payload.length + overhead;
    if (kept.speech !== null) {
      this.#speech.push(kept);
      this.#speechBytes += bytes;
      const since = kept.at - mostSpeechMs;
      while (this.#speechBytes > mostSpeechBytes || (this.#speech[0] as Kept).at < since) this.#dropSpeech();
      return;
    }
    this.#others.push(kept);
    this.#otherBytes += bytes;
    while (this.#otherBytes > mostOtherBytes) {
      const { number, payload } = this.#others.shift() as Kept;
      this.#otherBytes -= payload.length + overhead;
      this.#brokenAt = number === 0 ? Number.POSITIVE_INFINITY : number;
    }
  }

  #dropSpeech(): void {
    const { number, payload, audioBytes } = this.#speech.shift() as Kept;
    this.#speechBytes -= payload.length + overhead;
    if (number === 0) this.#goneUnsent += audioBytes;
    else this.#gone.push({ number, audioBytes });
    const [first, second] = this.#gone;
    if (this.#gone.length <= mostGone || !first || !second) return;
    const both = { number: second.number, audioBytes: first.audioBytes + second.audioBytes };
    this.#gone.splice(0, 2, both);
  }

  /** The client says that it has so many; what it cannot have is not believed. */
  acknowledge(count: number): void {
    if (count <= this.#acknowledged || count > this.sent) return;
    this.#acknowledged = count;
    this.#forget(({ number }) => number !== 0 && number <= count);
    while (this.#gone[0] && this.#gone[0].number <= count) this.#gone.shift();
  }

  /** So many bytes of its connection have arrived there. */
  arrived(bytes: number): void {
    const before = performance.now() - patienceMs;
    const oldest = (this.#others[0]?.at ?? before) < before || (this.#speech[0]?.at ?? before) < before;
    if (!oldest) return;
    const known = [...this.#speech, ...this.#others].filter(
      ({ number, end, at }) => number !== 0 && end <= bytes && at < before,
    );
    this.acknowledge(known.reduce((most, { number }) => Math.max(most, number), 0));
  }

  #forget(isKnown: (kept: Kept) => boolean): void {
    for (let first = this.#speech[0]; first && isKnown(first); first = this.#speech[0]) {
      this.#speech.shift();
      this.#speechBytes -= first.payload.length + overhead;
    }
    for (let first = this.#others[0]; first && isKnown(first); first = this.#others[0]) {
      this.#others.shift();
      this.#otherBytes -= first.payload.length + overhead;
    }
  }

  /** Whether a client that has so many can have been sent that, and can be given all that it must have. */
  reaches(count: number): boolean {
    return this.mayHave(count) && count >= this.#brokenAt;
  }

  /** Whether a client can have so many. */
  mayHave(count: number): boolean {
    return count >= this.#acknowledged && count <= this.sent;
  }

  /**
   * What a client that has so many has to be sent again, in order, and what it will never get. Where something is missing,
   * the numbers of what is left move up behind that: the client counts what it missed, and then goes on.
   */
  after(count: number): { readonly again: readonly Buffer[]; readonly missed: Missed } {
    this.acknowledge(count);
    const again = [...this.#speech, ...this.#others].filter(({ number }) => number !== 0);
    again.sort(byOrder);
    const missed = {
      messages: this.sent - count - again.length,
      audioBytes: this.#gone.reduce((sum, { audioBytes }) => sum + audioBytes, this.#goneUnsent),
    };
    const last = count + missed.messages;
    for (const [index, kept] of again.entries()) kept.number = last + index + 1;
    this.#gone = this.#gone.map(({ number, audioBytes }) => ({ number: Math.min(number, last), audioBytes }));
    return { again: again.map(({ payload }) => payload), missed };
  }

  /** Takes out what was never written, in order. */
  takeUnsent(): Unsent[] {
    const unsent = [...this.#speech, ...this.#others].filter(({ number }) => number === 0);
    unsent.sort(byOrder);
    const stays = ({ number }: Kept) => number !== 0;
    for (const kept of unsent) {
      const bytes = kept.payload.length + overhead;
      if (kept.speech === null) this.#otherBytes -= bytes;
      else this.#speechBytes -= bytes;
    }
    this.#speech.splice(0, Number.POSITIVE_INFINITY, ...this.#speech.filter(stays));
    this.#others.splice(0, Number.POSITIVE_INFINITY, ...this.#others.filter(stays));
    // Known to be missing once the client has what was sent last.
    if (this.#goneUnsent > 0) this.#gone.push({ number: this.sent, audioBytes: this.#goneUnsent });
    this.#goneUnsent = 0;
    return unsent;
  }
}

function byOrder(one: Kept, other: Kept): number {
  return one.order - other.order;
}

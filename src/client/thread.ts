/**
 * What goes on when the connection does not: the counts of both directions and what was sent lately, so that a session can be
 * gone on with over another connection. Messages are counted from 1; what was never sent has no number.
 */

import type { RealtimeEvent } from './transport.js';

/** What a session is gone on with. */
export interface Shown {
  readonly token: string;
  /** Messages that have come. */
  readonly received: number;
}

interface Kept {
  /** Null for one that was never sent. */
  number: number | null;
  readonly event: RealtimeEvent;
  /** Of sound. */
  readonly ms: number;
  readonly bytes: number;
  readonly at: number;
}

/** Sound that is older is of no use. */
const mostMs = 5000;
/** Of all else nothing may be left out. */
const mostBytes = 256 * 1024;
/** Counts alone are answered with one only when there are so many: two that are told nothing else would never fall silent. */
const acksWorth = 20;
/** Who has something to acknowledge and says nothing for so long is not there any more. */
const silenceMs = 6000;

/** One session, over all its connections. */
export class Thread {
  #received = 0;
  #sent = 0;
  #untold = 0;
  #token = '';
  #windowMs = 0;
  #heardAt = performance.now();
  #kept: Kept[] = [];
  #keptMs = 0;
  #keptBytes = 0;
  /** Sound that was left out; a number for what was sent. */
  #gone: { readonly number: number | null; readonly ms: number }[] = [];

  /** What the session can be gone on with; null for one that cannot. */
  get shown(): Shown | null {
    return this.#token === '' ? null : { token: this.#token, received: this.#received };
  }

  /** How long the relay waits. */
  get windowMs(): number {
    return this.#windowMs;
  }

  /** Takes note of what has come; what only resumes is not counted. */
  came({ type, ...event }: RealtimeEvent): void {
    this.#heardAt = performance.now();
    this.#received++;
    this.#untold += type === 'relay.ack' ? 1 : acksWorth;
    if (type === 'relay.resumable') this.#learn(event);
    else if (type === 'relay.ack') this.#acknowledge(Number(event.received));
    // It comes second or not at all: then there is nothing to keep anything for.
    else if (this.#received > 1 && this.#token === '') this.#drop();
  }

  #learn({ token, window_seconds: seconds }: Record<string, unknown>): void {
    this.#token = String(token);
    this.#windowMs = Number(seconds) * 1000;
  }

  /** Keeps what is sent, or what will be when there is a connection. */
  keep(event: RealtimeEvent, ms: number, isSent: boolean): void {
    if (isSent) this.#sent++;
    if (this.#received > 1 && this.#token === '') return;
    const bytes = ms > 0 ? 0 : JSON.stringify(event).length;
    this.#kept.push({ number: isSent ? this.#sent : null, event, ms, bytes, at: performance.now() });
    this.#keptMs += ms;
    this.#keptBytes += bytes;
    if (this.#keptBytes > mostBytes) this.#drop();
    while (this.#keptMs > mostMs) this.#leaveOut();
  }

  #drop(): void {
    this.#token = '';
    this.#kept = [];
    this.#gone = [];
    this.#keptMs = 0;
    this.#keptBytes = 0;
  }

  #leaveOut(): void {
    const index = this.#kept.findIndex(({ ms }) => ms > 0);
    for (const { number, ms } of this.#kept.splice(index, 1)) {
      this.#keptMs -= ms;
      this.#gone.push({ number, ms });
    }
  }

  /** The relay has so many. */
  #acknowledge(count: number): void {
    const isNew = ({ number }: { number: number | null }) => number === null || number > count;
    this.#gone = this.#gone.filter(isNew);
    const known = this.#kept.findIndex(isNew);
    for (const { ms, bytes } of this.#kept.splice(0, known < 0 ? this.#kept.length : known)) {
      this.#keptMs -= ms;
      this.#keptBytes -= bytes;
    }
  }

  /** What the relay is to be told of what has come; null when it need not be. */
  count(): RealtimeEvent | null {
    if (this.#token === '' || this.#untold < acksWorth) return null;
    this.#untold = 0;
    return { type: 'relay.ack', received: this.#received };
  }

  /** Whether the relay should have said something by now, and has not. */
  get isSilent(): boolean {
    // What only tells counts is not answered.
    const oldest = this.#kept.find(({ event }) => event.type !== 'relay.ack');
    const since = performance.now() - silenceMs;
    return this.#token !== '' && this.#heardAt < since && oldest !== undefined && oldest.at < since;
  }

  /** The relay goes on with the session: gives what it is to be sent, in order. */
  resumed(event: RealtimeEvent): readonly RealtimeEvent[] {
    const { received, missed } = event as unknown as { received: number; missed?: { messages?: number } };
    this.#heardAt = performance.now();
    this.#learn(event);
    this.#received += missed?.messages ?? 0;
    this.#untold = acksWorth;
    this.#acknowledge(received);
    const isMissing = this.#sent - received - this.#kept.filter(({ number }) => number !== null).length;
    const lost = this.#gone.reduce((sum, { ms }) => sum + ms, 0);
    this.#gone = [];
    this.#sent = received + isMissing;
    const from = this.#sent + 1;
    for (const kept of this.#kept) kept.number = ++this.#sent;
    const again = this.#kept.map((kept) => kept.event);
    return lost === 0 ? again : [{ type: 'relay.resume', from, lost_audio_ms: Math.round(lost) }, ...again];
  }
}

/** What one of several connections of a client tells: its messages are counted, and what only tells counts is taken out. */

import type { RelayError } from '../errors.js';
import { objectOf, type RealtimeEvent, type Refusal } from '../protocol/event.js';
import type { Hold, LegEvents } from './leg.js';
import type { Ring } from './ring.js';

/** What is done with what a connection tells. */
export interface NumberedPorts {
  readonly ring: Ring;
  /** Who is told; null when another connection has taken the place of this one. */
  on(): LegEvents | null;
  /** Something has come. */
  came(isOnlyCount: boolean): void;
  /** The client had to leave out what it had numbered. */
  lost(audioMs: number): void;
  /** The connection is gone; true where that is the end of it, and the session goes on. */
  broke(closeCode: number): boolean;
}

const leftOut =
  'relay.resume is the first event of a connection that goes on with a session, and names with "from" a number that has not come yet.';

export class NumberedEvents implements LegEvents {
  readonly #ports: NumberedPorts;
  #isFirst = true;

  constructor(ports: NumberedPorts) {
    this.#ports = ports;
  }

  event(event: RealtimeEvent, bytes: number, arrivedMs: number): void {
    const on = this.#ports.on();
    if (on === null) return;
    if (event.type === 'relay.resume') {
      this.#goOnFrom(on, event, bytes, arrivedMs);
      return;
    }
    const isCount = event.type === 'relay.ack';
    this.#count(isCount);
    if (!isCount) {
      on.event(event, bytes, arrivedMs);
      return;
    }
    this.#ports.ring.acknowledge(countOf(objectOf(event.body).received) ?? 0);
    // At the rate of all that is read.
    on.untranslated(null, bytes, arrivedMs);
  }

  #count(isOnlyCount: boolean): void {
    this.#isFirst = false;
    this.#ports.ring.received++;
    this.#ports.came(isOnlyCount);
  }

  /** The client says from which number on it goes on, where it could not keep what comes before. It has none itself. */
  #goOnFrom(on: LegEvents, { body }: RealtimeEvent, bytes: number, arrivedMs: number): void {
    const { from, lost_audio_ms: lost, event_id: id } = objectOf(body);
    const { ring } = this.#ports;
    const next = countOf(from);
    const isTaken = this.#isFirst && next !== null && next > ring.received;
    this.#isFirst = false;
    this.#ports.came(true);
    const eventId = typeof id === 'string' ? id : null;
    const refusal = { code: 'invalid_value', message: leftOut, param: 'from', eventId };
    on.untranslated(isTaken ? null : refusal, bytes, arrivedMs);
    if (!isTaken) return;
    ring.received = next - 1;
    this.#ports.lost(countOf(lost) ?? 0);
  }

  unreadable(error: unknown, bytes: number, arrivedMs: number): void {
    const on = this.#ports.on();
    if (on === null) return;
    this.#count(false);
    on.unreadable(error, bytes, arrivedMs);
  }

  untranslated(refusal: Refusal | null, bytes: number, arrivedMs: number): void {
    this.#ports.on()?.untranslated(refusal, bytes, arrivedMs);
  }

  binary(): void {
    this.#ports.on()?.binary();
  }

  closed(code: number, reason: string): void {
    const on = this.#ports.on();
    if (on !== null && !this.#ports.broke(code)) on.closed(code, reason);
  }

  drained(): void {
    this.#ports.on()?.drained();
  }

  unanswered(): void {
    this.#ports.on()?.unanswered?.();
  }

  violated(error: RelayError, code: number): void {
    this.#ports.on()?.violated(error, code);
  }

  failed(error: unknown): void {
    this.#ports.on()?.failed(error);
  }

  released(why: Hold, seconds: number): void {
    this.#ports.on()?.released(why, seconds);
  }
}

/** A count that a peer names, or null where it is none. */
function countOf(value: unknown): number | null {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : null;
}

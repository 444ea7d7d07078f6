/** One direction of a session: an event comes from one leg, passes the steps in order, and leaves on the other. */

import type { Cancel, Clock } from '../clock.js';
import type { Leg } from '../legs/leg.js';
import { detached, type RealtimeEvent, type Step } from '../protocol/event.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Limits } from './limits.js';

/** What a pipe needs of its session. */
export interface Flow {
  readonly traffic: Metrics['traffic']['up'];
  readonly clock: Clock;
  /** Whether events may still pass; false once the session has ended. */
  isOpen(): boolean;
  /** A step threw. */
  failed(error: unknown): void;
}

/** Where a pipe runs from and to, and what happens in between. */
interface Between {
  readonly from: Leg;
  /** Null where what comes is only seen. */
  readonly to: Leg | null;
  readonly steps: readonly Step[];
  /** How fast events may come; null where they may come at any pace. */
  readonly limits: Limits | null;
}

/** What has to wait: an event, and what came with it. */
interface Due {
  readonly event: RealtimeEvent;
  readonly bytes: number;
  readonly others: RealtimeEvent[];
}

/** Waits are looked at again after this. */
const longestWaitMs = 60_000;

export class Pipe {
  readonly #flow: Flow;
  #between: Between | null = null;
  /** The event that waits for its rate, with its source held behind it. */
  #due: Due | null = null;
  #wait: Cancel | null = null;
  #heldSince = 0;
  #heldBefore = 0;
  /** Whether anything came since the last look. */
  isActive = false;
  /** Milliseconds that messages have taken. */
  workMs = 0;
  /** Messages taken. */
  events = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** Sets the legs and the steps; before this, the source has to be held. */
  connect(between: Between): void {
    this.#between = between;
  }

  /** Goes on counting where another pipe has left off. */
  follow({ events, workMs, isActive }: Pipe, heldSeconds: number): void {
    this.events += events;
    this.workMs += workMs;
    this.isActive ||= isActive;
    this.#heldBefore += heldSeconds;
  }

  /** Takes an event of the source; `bytes` as in LegEvents. */
  push(event: RealtimeEvent, bytes: number, arrivedMs: number): void {
    this.isActive = true;
    try {
      if (bytes > 0) this.#first(event, bytes, arrivedMs);
      else if (this.#due !== null) this.#due.others.push(event);
      else this.#run(this.#between as Between, event, 0);
    } catch (error) {
      this.#flow.failed(error);
    }
    if (bytes > 0) this.#took(arrivedMs);
  }

  #first(event: RealtimeEvent, bytes: number, arrivedMs: number): void {
    // Only what was accepted before its source went away comes while another waits.
    if (this.#due !== null) this.flush();
    this.#count(bytes);
    const between = this.#between as Between;
    const wait = between.limits?.waitMs(event, bytes, arrivedMs) ?? 0;
    if (wait > 0) this.#hold(wait, { event: detached(event), bytes, others: [] });
    else this.#run(between, event, 0);
  }

  /** Takes note of a message that came to nothing. */
  wasted(bytes: number, arrivedMs: number): void {
    this.isActive = true;
    if (this.#due !== null) this.flush();
    this.#count(bytes);
    const wait = this.#between?.limits?.wasted(bytes, arrivedMs) ?? 0;
    if (wait > 0) this.#hold(wait, null);
    this.#took(arrivedMs);
  }

  #count(bytes: number): void {
    this.events++;
    this.#flow.traffic.bytes += bytes;
  }

  #took(arrivedMs: number): void {
    const took = performance.now() - arrivedMs;
    this.workMs += took;
    if (this.#between?.to) this.#flow.traffic.latency.observe(took / 1000);
  }

  /** Holds the source until `due` may pass. */
  #hold(waitMs: number, due: Due | null): void {
    this.#due = due;
    this.#between?.from.hold('rate');
    this.#wait?.();
    this.#wait = this.#flow.clock.at(Math.min(waitMs, longestWaitMs), this.#goOn);
  }

  readonly #goOn = (): void => {
    this.#wait = null;
    const { from, limits } = this.#between as Between;
    const due = this.#due;
    const wait = due === null ? 0 : (limits?.waitMs(due.event, due.bytes, performance.now()) ?? 0);
    if (wait > 0) this.#hold(wait, due);
    else from.release('rate');
  };

  /** To be called when a reason to hold the source has fallen: what waited for its rate goes before all else. */
  released(): void {
    if (this.#between?.from.isHeld === false) this.flush();
  }

  /** Passes on what waits for its rate, due or not. */
  flush(): void {
    const due = this.#due;
    this.#due = null;
    if (due === null) return;
    try {
      this.#run(this.#between as Between, due.event, 0);
      for (const other of due.others) this.#run(this.#between as Between, other, 0);
    } catch (error) {
      this.#flow.failed(error);
    }
  }

  /** Nothing passes any more; what waits is dropped. */
  close(): void {
    this.#wait?.();
    this.#wait = null;
    this.#due = null;
  }

  /** The same, for who looks. */
  wasActive(): boolean {
    const was = this.isActive;
    this.isActive = false;
    return was;
  }

  /** Bytes that were read and wait. */
  get waiting(): number {
    return this.#due?.bytes ?? 0;
  }

  #run(between: Between, first: RealtimeEvent, atStep: number): void {
    let event = first;
    for (let i = atStep; i < between.steps.length; i++) {
      const result = (between.steps[i] as Step)(event);
      // As nearly all steps do with nearly all events.
      if (result === event) continue;
      if (result === null) return;
      if (isSeveral(result)) {
        for (const each of result) this.#run(between, each, i + 1);
        return;
      }
      event = result;
    }
    const { to } = between;
    if (to === null || !this.#flow.isOpen()) return;
    to.send(event);
    if (to.isFull && this.#heldSince === 0) {
      this.#heldSince = performance.now();
      between.from.hold('full');
    }
  }

  /** The receiving leg has room again. */
  drained(): void {
    if (this.#heldSince === 0) return;
    const held = this.heldSeconds();
    this.#flow.traffic.backpressureSeconds += held;
    this.#heldBefore += held;
    this.#heldSince = 0;
    this.#between?.from.release('full');
  }

  /** How long the source has not been read because the other side does not keep up; 0 when it is read. */
  heldSeconds(): number {
    return this.#heldSince === 0 ? 0 : (performance.now() - this.#heldSince) / 1000;
  }

  /** The same, over the whole session. */
  totalHeldSeconds(): number {
    return this.#heldBefore + this.heldSeconds();
  }
}

function isSeveral(result: RealtimeEvent | readonly RealtimeEvent[]): result is readonly RealtimeEvent[] {
  return Array.isArray(result);
}

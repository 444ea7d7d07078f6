/** One direction of a session: a message comes in, is read, passes the steps in order, and leaves on the other leg. */

import { encode, eventOf, type JsonObject, type RealtimeEvent, type Step } from '../protocol/event.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Leg } from './socket.js';

/** What a pipe needs of its session. */
export interface Flow {
  readonly traffic: Metrics['traffic']['up'];
  /** Whether events may still pass; false once the session has ended. */
  isOpen(): boolean;
  /** A message could not be read, or a step threw. */
  failed(error: unknown): void;
}

/** Where a pipe runs from and to, and what happens in between. */
export interface Route {
  readonly from: Leg;
  readonly to: Leg;
  readonly read: (message: Buffer) => RealtimeEvent;
  readonly steps: readonly Step[];
}

/** What a waiting message costs besides its bytes: a flood of empty ones must reach the limit, too. */
const waitingOverhead = 128;

export class Pipe {
  readonly #flow: Flow;
  readonly #waitBytes: number;
  #route: Route | null = null;
  /** Messages that came before the pipe was opened, in order; null once it is open. */
  #waiting: Buffer[] | null = [];
  #waitingBytes = 0;
  #heldSince = 0;
  #heldBefore = 0;
  /** Set by every message; the session's tick reads and clears it. */
  active = false;
  /** Messages taken since the pipe was opened. */
  events = 0;

  /** @param waitBytes how much may wait before the pipe is opened; over it the source is not read */
  constructor(flow: Flow, waitBytes: number) {
    this.#flow = flow;
    this.#waitBytes = waitBytes;
  }

  /** Sets the legs and the steps; messages still wait until `open`. */
  connect(route: Route): void {
    this.#route = route;
  }

  /** Lets the messages that waited go first, then everything else. */
  open(): void {
    const waiting = this.#waiting ?? [];
    const wasHeld = this.#waitingBytes > this.#waitBytes;
    this.#waiting = null;
    this.#waitingBytes = 0;
    for (const message of waiting) {
      if (!this.#flow.isOpen()) return;
      this.#pass(message, false);
    }
    if (wasHeld && this.#heldSince === 0) this.#route?.from.release();
  }

  /** Takes one message from the source's socket; `framed` as in LegHandlers. */
  push(message: Buffer, from: Leg, framed: boolean): void {
    this.active = true;
    if (this.#waiting === null) {
      this.#pass(message, framed);
      return;
    }
    // A copy: what it came with may be much larger than what is counted here.
    this.#waiting.push(Buffer.from(message));
    this.#waitingBytes += message.length + waitingOverhead;
    if (this.#waitingBytes > this.#waitBytes) from.hold();
  }

  #pass(message: Buffer, framed: boolean): void {
    const { traffic } = this.#flow;
    const arrived = performance.now();
    this.events++;
    traffic.bytes += message.length;
    try {
      const route = this.#route as Route;
      this.#run(route, route.read(message), 0, framed ? message : null);
    } catch (error) {
      this.#flow.failed(error);
    }
    traffic.latency.observe((performance.now() - arrived) / 1000);
  }

  /** Puts an event made by the relay in, at the step with this index. */
  inject(body: JsonObject, atStep: number): void {
    try {
      this.#run(this.#route as Route, eventOf(body), atStep, null);
    } catch (error) {
      this.#flow.failed(error);
    }
  }

  /** @param framed the message that still stands in its frame, if the event is made of one */
  #run(route: Route, first: RealtimeEvent, atStep: number, framed: Buffer | null): void {
    let event = first;
    for (let i = atStep; i < route.steps.length; i++) {
      const result = (route.steps[i] as Step)(event);
      if (result === null) return;
      if (isSeveral(result)) {
        for (const each of result) this.#run(route, each, i + 1, framed);
        return;
      }
      event = result;
    }
    if (!this.#flow.isOpen()) return;
    if (event.raw !== null && event.raw === framed) route.to.forward(framed);
    else route.to.send(encode(event));
    if (route.to.full && this.#heldSince === 0) {
      this.#heldSince = performance.now();
      route.from.hold();
    }
  }

  /** The receiving leg has room again. */
  drained(): void {
    if (this.#heldSince === 0) return;
    const held = this.heldSeconds();
    this.#flow.traffic.backpressureSeconds += held;
    this.#heldBefore += held;
    this.#heldSince = 0;
    this.#route?.from.release();
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

/** One direction of a session: a message comes in, is read, passes the steps in order, and leaves on the other leg. */

import type { Leg } from '../legs/websocket.js';
import { encode, type RealtimeEvent, type Step } from '../protocol/event.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Limits } from './limits.js';

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
  /** How fast events may come; absent where they may come at any pace. */
  readonly limits?: Limits;
}

/** An event that was read and has to wait. */
interface Due {
  readonly event: RealtimeEvent;
  readonly bytes: number;
}

/** Waits are looked at again after this, also because a timer cannot be set to any time. */
const longestWaitMs = 60_000;

export class Pipe {
  readonly #flow: Flow;
  #route: Route | null = null;
  /** The event that waits for its rate, with its source held behind it. */
  #due: Due | null = null;
  #wait: NodeJS.Timeout | null = null;
  #heldSince = 0;
  #heldBefore = 0;
  /** Set by every message; the session's tick reads and clears it. */
  active = false;
  /** Milliseconds that messages have taken. */
  workMs = 0;
  /** Messages taken. */
  events = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** Sets the legs and the steps; before this, the source has to be held. */
  connect(route: Route): void {
    this.#route = route;
  }

  /** Takes one message from the source's socket; `framed` as in LegHandlers. */
  push(message: Buffer, framed: boolean): void {
    // Only what was accepted before its source went away comes while another waits.
    if (this.#due !== null) this.flush();
    const { traffic } = this.#flow;
    const route = this.#route as Route;
    const arrived = performance.now();
    this.active = true;
    this.events++;
    traffic.bytes += message.length;
    let event: RealtimeEvent | null = null;
    try {
      event = route.read(message);
      const wait = route.limits?.waitMs(event, message.length, arrived) ?? 0;
      if (wait > 0) this.#hold(wait, kept(event, message));
      else this.#run(route, event, 0, framed ? message : null);
    } catch (error) {
      if (event === null) this.#wasted(message.length, arrived);
      this.#flow.failed(error);
    }
    const took = performance.now() - arrived;
    this.workMs += took;
    traffic.latency.observe(took / 1000);
  }

  #wasted(bytes: number, nowMs: number): void {
    const wait = this.#route?.limits?.wasted(bytes, nowMs) ?? 0;
    if (wait > 0) this.#hold(wait, null);
  }

  /** Holds the source until `due` may pass. */
  #hold(waitMs: number, due: Due | null): void {
    this.#due = due;
    this.#route?.from.hold('rate');
    if (this.#wait) clearTimeout(this.#wait);
    this.#wait = setTimeout(this.#goOn, Math.min(waitMs, longestWaitMs));
  }

  readonly #goOn = (): void => {
    this.#wait = null;
    const { from, limits } = this.#route as Route;
    const due = this.#due;
    const wait = due === null ? 0 : (limits?.waitMs(due.event, due.bytes, performance.now()) ?? 0);
    if (wait > 0) this.#hold(wait, due);
    else from.release('rate');
  };

  /** To be called when a reason to hold the source has fallen: what waited for its rate goes before all else. */
  released(): void {
    if (this.#route?.from.isHeld === false) this.flush();
  }

  /** Passes on what waits for its rate, due or not. */
  flush(): void {
    const due = this.#due;
    this.#due = null;
    if (due === null) return;
    try {
      this.#run(this.#route as Route, due.event, 0, null);
    } catch (error) {
      this.#flow.failed(error);
    }
  }

  /** Nothing passes any more; what waits is dropped. */
  close(): void {
    if (this.#wait) clearTimeout(this.#wait);
    this.#wait = null;
    this.#due = null;
  }

  /** Bytes that were read and wait. */
  get waiting(): number {
    return this.#due?.bytes ?? 0;
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
    const speech = event.audioBytes > 0 ? (event.responseId ?? '') : null;
    if (event.raw !== null && event.raw === framed) route.to.forward(framed, speech);
    else route.to.send(encode(event), speech);
    if (route.to.full && this.#heldSince === 0) {
      this.#heldSince = performance.now();
      route.from.hold('full');
    }
  }

  /** The receiving leg has room again. */
  drained(): void {
    if (this.#heldSince === 0) return;
    const held = this.heldSeconds();
    this.#flow.traffic.backpressureSeconds += held;
    this.#heldBefore += held;
    this.#heldSince = 0;
    this.#route?.from.release('full');
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

/** A copy where the event is its bytes: what those came with may be much larger. */
function kept(event: RealtimeEvent, { length }: Buffer): Due {
  return { event: event.raw === null ? event : { ...event, raw: Buffer.from(event.raw) }, bytes: length };
}

function isSeveral(result: RealtimeEvent | readonly RealtimeEvent[]): result is readonly RealtimeEvent[] {
  return Array.isArray(result);
}

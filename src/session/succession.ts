/** The legs to upstream that a session has, one after the other: how each is reached, connected and configured. */

import type { Admission } from '../admission/admission.js';
import type { Clock } from '../clock.js';
import type { Leg } from '../legs/leg.js';
import type { JsonObject, Step } from '../protocol/event.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Runner } from '../tools/runner.js';
import { type Asks, createAsks } from './asks.js';
import { Attachment } from './attachment.js';
import type { Books } from './books.js';
import type { Chronicle } from './chronicle.js';
import type { Front } from './front.js';
import { fromUpstream, type HearingPorts } from './hearing.js';
import type { Flow, Pipe } from './pipe.js';
import type { Reach, Reached } from './reach.js';
import type { Account } from './spending.js';
import { createExpiry } from './steps.js';
import type { Takeover } from './takeover.js';
import type { Taps } from './taps.js';

/** What a succession needs of its session. */
export interface SuccessionPorts {
  readonly admission: Admission;
  readonly client: Leg | null;
  readonly reach: Reach;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly front: Front;
  readonly up: Pipe;
  readonly books: Books;
  readonly tools: Runner;
  readonly chronicle: Chronicle;
  readonly account: Account;
  readonly taps: Taps;
  readonly hearing: HearingPorts;
  /** Of what comes from upstream. */
  readonly flow: Flow;
  readonly renewal: Step | null;
  readonly takeover: Takeover;
  /** Whether upstream is still to be reached; asked whenever that has taken time. */
  isDialing(): boolean;
  /** Whether nobody would hear an answer. */
  isQuiet(): boolean;
  /** There is a leg, which is told what to run. */
  attached(): void;
  /** The first leg runs what was imposed. */
  ready(session: JsonObject): void;
  /** Upstream says that the time of the session is up. */
  expired(): void;
}

export class Succession {
  readonly #ports: SuccessionPorts;
  readonly #asks: Asks;
  readonly #expiry: Step;
  /** Ends what is under way to reach upstream. */
  #reaching: AbortController | null = null;
  #current: Attachment | null = null;

  constructor(ports: SuccessionPorts) {
    this.#ports = ports;
    this.#expiry = createExpiry(() => ports.expired());
    this.#asks = createAsks({
      clock: ports.clock,
      mostRounds: ports.admission.profile.limits.tool_rounds,
      say: (body, after) => this.#current?.say(body, after) ?? body,
      pass: (event) => this.#current?.pass(event),
      isQuiet: () => ports.isQuiet(),
      withdrawn: (eventId, isRefused) => ports.front.withdrawn(eventId, isRefused),
      isSilent: () => ports.front.imposed.silence.isOn,
      hush: (response) => ports.takeover.hush(response),
    });
  }

  /** The leg that the session has now. */
  get current(): Attachment | null {
    return this.#current;
  }

  /** Reaches upstream and goes on with what was reached; fails the session when that fails. */
  async open(): Promise<void> {
    const { admission, chronicle, front, hearing, reach, isDialing } = this.#ports;
    const { session } = front.imposed;
    this.#reaching = new AbortController();
    const { signal } = this.#reaching;
    try {
      const reached = await reach({ admission, session, signal, onDial: chronicle.dialed });
      if (isDialing()) this.#attach(reached);
      else {
        reached.leg.terminate();
        reached.leave();
      }
    } catch (error) {
      hearing.failures.unreached(error);
    } finally {
      this.#reaching = null;
    }
  }

  /** Connects the legs and waits, as a step between them, for upstream to accept what is imposed. */
  #attach(reached: Reached): void {
    const { chronicle, hearing, attached, ready } = this.#ports;
    attached();
    const attachment = this.#make(reached, ready);
    this.#current = attachment;
    chronicle.reached(reached, attachment.at);
    attachment.configure(this.#connect(attachment));
    reached.leg.start(fromUpstream(attachment, hearing));
  }

  #make(reached: Reached, ready: (session: JsonObject) => void): Attachment {
    const { metrics, clock, admission, books, tools, front, account, chronicle, taps, flow } = this.#ports;
    const asks = this.#asks;
    return new Attachment(reached, {
      ...{ metrics, clock, admission, books, tools, front, account, chronicle, taps, flow, asks },
      ready,
    });
  }

  /** Puts a leg between the steps; gives what it is to be configured with. */
  #connect(attachment: Attachment): JsonObject {
    const { client, front, taps, tools, renewal, takeover, up: pipe } = this.#ports;
    const { leg } = attachment.reached;
    const { up, down, session } = front.connect({ attachment, expiry: this.#expiry, taps, tools, renewal, takeover });
    if (client) pipe.connect({ from: client, to: leg, steps: up, limits: front.limits });
    attachment.down.connect({ from: leg, to: client, steps: down, limits: null });
    return session;
  }

  /** Nothing more is reached. */
  abort(): void {
    this.#reaching?.abort();
  }

  /** Nothing more is asked for. */
  close(): void {
    this.#asks.close();
  }
}

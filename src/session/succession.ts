/** The legs to upstream that a session has, one after the other: how each is reached, connected and configured. */

import type { Admission } from '../admission/admission.js';
import type { Clock } from '../clock.js';
import type { ExitId } from '../errors.js';
import type { Leg } from '../legs/leg.js';
import type { JsonObject, Step } from '../protocol/event.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Runner } from '../tools/runner.js';
import { type Asks, createAsks } from './asks.js';
import { Attachment } from './attachment.js';
import type { Books } from './books.js';
import type { Chronicle } from './chronicle.js';
import { Continuity } from './continuity/continuity.js';
import type { Ending } from './ending.js';
import type { Front } from './front.js';
import { fromUpstream, type HearingPorts } from './hearing.js';
import type { Flow, Pipe } from './pipe.js';
import type { Reach, Reached } from './reach.js';
import { Rejoining } from './rejoining.js';
import type { Settlements } from './settlement.js';
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
  readonly settlements: Settlements;
  /** Whether upstream is still to be reached; asked whenever that has taken time. */
  isDialing(): boolean;
  /** Whether nobody would hear an answer. */
  isQuiet(): boolean;
  /** There is a leg, which is told what to run. */
  attached(): void;
  /** The first leg runs what was imposed. */
  ready(session: JsonObject): void;
  /** Whether the session is open, and nothing ends it. */
  isOpen(): boolean;
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
}

export class Succession {
  readonly #ports: SuccessionPorts;
  readonly #asks: Asks;
  readonly #expiry: Step;
  /** Ends what is under way to reach upstream. */
  #reaching: AbortController | null = null;
  #current: Attachment | null = null;
  /** Null where a leg that is lost is the end of its session. */
  readonly #continuity: Continuity | null;
  /** Comes back to a call. */
  readonly #rejoining: Rejoining;

  constructor(ports: SuccessionPorts) {
    this.#ports = ports;
    this.#expiry = createExpiry(() => ports.end('session_expired', 'upstream', {}));
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
    const { admission, clock, chronicle, client, isOpen, end } = ports;
    this.#rejoining = new Rejoining({
      ...{ admission, clock, chronicle, isOpen, end },
      current: () => this.#current,
      take: (reached, ready) => this.#rejoin(reached, ready),
    });
    this.#continuity =
      client !== null && admission.profile.continuity.enabled !== false ? this.#createContinuity(client) : null;
  }

  #createContinuity(client: Leg): Continuity {
    const { admission, reach, clock, metrics, front, chronicle, settlements, hearing, isOpen, end } = this.#ports;
    return new Continuity({
      ...{ admission, client, reach, clock, metrics, front, chronicle, settlements, isOpen, end },
      asks: this.#asks,
      attach: (reached, ready, failed) => this.#make(reached, ready, failed),
      listen: (attachment) => attachment.reached.leg.start(fromUpstream(attachment, hearing)),
      become: (attachment) => this.#become(attachment),
      unforeseen: (error) => hearing.failures.unforeseen(error),
    });
  }

  /** Whether the session's time is its own, whatever upstream says of a leg's. */
  get isContinuous(): boolean {
    return this.#continuity?.isOn === true;
  }

  /** Whether a leg that was replaced has yet to say what it cost. */
  get isSettling(): boolean {
    return this.#continuity?.isSettling === true;
  }

  /** Bytes that are kept for another leg. */
  get keptBytes(): number {
    return this.#continuity?.bytes ?? 0;
  }

  /** Takes an end by upstream for that of a leg only; false where it is the session's. */
  takes(id: ExitId, initiator: Initiator, ending: Ending): boolean {
    if (initiator !== 'upstream') return false;
    return (this.#continuity ?? this.#rejoining).takes(id, ending);
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
    const attachment = this.#make(reached, (session) => {
      this.#continuity?.configured(attachment, session);
      ready(session);
    });
    this.#current = attachment;
    chronicle.reached(reached, attachment.at);
    attachment.configure(this.#connect(attachment));
    reached.leg.start(fromUpstream(attachment, hearing));
  }

  /** @param failed told of what goes wrong on the way from it while it is not the session's own */
  #make(reached: Reached, ready: (session: JsonObject) => void, failed?: (error: unknown) => void): Attachment {
    const { metrics, clock, admission, books, tools, front, account, chronicle, taps, flow } = this.#ports;
    const asks = this.#asks;
    const attachment: Attachment = new Attachment(reached, {
      ...{ metrics, clock, admission, books, tools, front, account, chronicle, taps, asks },
      flow: failed
        ? { ...flow, failed: (error) => (attachment === this.#current ? flow.failed(error) : failed(error)) }
        : flow,
      configured: (of, session) => this.#continuity?.configured(of, session),
      ready,
    });
    return attachment;
  }

  /** Puts a leg between the steps; gives what it is to be configured with. */
  #connect(attachment: Attachment): JsonObject {
    const { client, front, taps, tools, renewal, takeover, up: pipe } = this.#ports;
    const { leg } = attachment.reached;
    const parts = { attachment, expiry: this.#expiry, taps, tools, renewal, takeover };
    const { session, ...lists } = front.connect(parts);
    const { up, down } = this.#continuity?.around(attachment, lists) ?? lists;
    if (client) pipe.connect({ from: client, to: leg, steps: up, limits: front.limits });
    attachment.down.connect({ from: leg, to: client, steps: down, limits: null });
    return session;
  }

  /** Another leg is the session's own from now on; or the same, between other steps. */
  #become(attachment: Attachment): JsonObject {
    const { up } = this.#ports;
    const old = this.#current;
    this.#current = attachment;
    const session = this.#connect(attachment);
    if (old === null || old === attachment) return session;
    attachment.down.follow(old.down, old.down.totalHeldSeconds());
    attachment.onPassed = old.onPassed;
    // What was full was the other leg.
    up.drained();
    return session;
  }

  /** The session of a call goes on with another leg beside it, on which the same is imposed. */
  #rejoin(reached: Reached, ready: () => void): void {
    const { chronicle, hearing } = this.#ports;
    const attachment = this.#make(reached, ready);
    const session = this.#become(attachment);
    chronicle.reached(reached, attachment.at);
    this.#asks.moved();
    attachment.configure(session);
    reached.leg.start(fromUpstream(attachment, hearing));
  }

  /** Nothing more is reached. */
  abort(): void {
    this.#continuity?.close();
    this.#rejoining.close();
    this.#reaching?.abort();
  }

  /** Nothing more is asked for. */
  close(): void {
    this.#asks.close();
  }
}

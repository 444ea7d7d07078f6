/**
 * A leg to upstream as a session has it: how it was reached, how far its configuration is, what upstream owes on it, who asks
 * for what, and how it is let go of. A session has one at a time; one that is not its own any more only settles.
 */

import type { Admission } from '../admission/admission.js';
import type { Clock } from '../clock.js';
import { isObject, type JsonObject, type RealtimeEvent, type Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Runner } from '../tools/runner.js';
import type { Asks } from './asks.js';
import type { Books } from './books.js';
import type { Chronicle } from './chronicle.js';
import { type Configuration, configureGreeted, configureShared, effective } from './configure.js';
import type { Front } from './front.js';
import { createMeter, type Meter } from './meter.js';
import type { Turns } from './pending.js';
import { type Flow, Pipe } from './pipe.js';
import type { Reached } from './reach.js';
import type { Settlement, Settlements } from './settlement.js';
import { createSay, type Say } from './speak.js';
import type { Account } from './spending.js';
import type { Taps } from './taps.js';

/** What an attachment needs of its session. */
interface AttachmentPorts {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly admission: Pick<Admission, 'limits' | 'profile'>;
  readonly books: Books;
  readonly flow: Flow;
  /** What the server answers for of what the model calls. */
  readonly tools: Pick<Runner, 'isServed' | 'awaits' | 'isWorking'> | null;
  readonly front: Pick<Front, 'named' | 'imposed'>;
  readonly account: Pick<Account, 'charge'>;
  readonly chronicle: Pick<Chronicle, 'untranscribed'>;
  readonly taps: Pick<Taps, 'step'>;
  /** Of the session, whichever leg it has. */
  readonly asks: Asks;
  /** Upstream says that it runs something else by now. */
  configured(attachment: Attachment, session: JsonObject): void;
  /** Upstream runs what was imposed. */
  ready(session: JsonObject): void;
}

const bulky: ReadonlySet<string> = new Set(['instructions', 'tools', 'prompt']);

export class Attachment {
  readonly reached: Reached;
  readonly down: Pipe;
  readonly meter: Meter;
  readonly asks: Asks;
  readonly say: Say;
  readonly configureBy: number;
  readonly at = performance.now();
  readonly #ports: AttachmentPorts;
  #configuration: Configuration | null = null;
  #isConfigured = false;
  #settlement: Settlement | null = null;
  #silentSince = 0;
  /** What upstream has said of the session it runs; null before. */
  #effective: JsonObject | null = null;
  /** Upstream's own id of the session. */
  azureId: unknown = null;
  /** Whether pings were answered at the last look. */
  isAlive = true;
  /** Whether what comes is counted; not so where the relay speaks in upstream's place, which will yet speak for itself. */
  isCounting = true;
  /** Whatever goes upstream goes through this, and what it swallows does not; null for nothing. */
  outward: Step | null = null;
  /** Called when the leg is gone and is not the session's. */
  onGone: (() => void) | null = null;
  /** Called when an event of upstream, speech itself excepted, has been passed on. */
  onPassed: (() => void) | null = null;

  constructor(reached: Reached, ports: AttachmentPorts) {
    this.reached = reached;
    this.#ports = ports;
    this.configureBy = this.at + ports.admission.limits.configure_seconds * 1000;
    this.down = new Pipe(ports.flow);
    this.meter = createMeter(ports.books, ports.metrics, {
      upstream: () => reached.upstream.name,
      spent: (tokens) => ports.account.charge(tokens),
      untranscribed: (code, model) => ports.chronicle.untranscribed(code, model),
      isServed: (callId) => ports.tools?.isServed(callId) === true,
      goesOn: (responseId) => ports.tools?.awaits(responseId) === true,
    });
    this.say = createSay(this, this.meter, ports.front.named);
    this.asks = ports.asks;
  }

  get turns(): Turns {
    return this.meter.turns;
  }

  /** Whether a tool of the server's is at work. */
  get isWorking(): boolean {
    return this.#ports.tools?.isWorking === true;
  }

  /** Whether the relay has yet to ask for an answer, or will have to. */
  get isOwing(): boolean {
    return this.asks.isOwing || this.isWorking;
  }

  /** Imposes a session object. */
  configure(session: JsonObject): void {
    this.#configuration = this.reached.shared
      ? configureShared(session, this.say)
      : configureGreeted(session, this.say);
  }

  /** Whether upstream has been told what to run. */
  get isSent(): boolean {
    return this.#isConfigured || this.#configuration?.isSent === true;
  }

  /** Looks whether upstream runs what was imposed; on a leg of the relay's own nothing else passes until it does. */
  readonly configuring: Step = (event) => {
    const isShared = this.reached.shared !== null;
    if (this.#isConfigured && !isShared) return event;
    const outcome = this.#configuration?.look(event);
    if (outcome) this.#configured(effective(outcome));
    return isShared ? event : null;
  };

  #configured(session: JsonObject): void {
    this.#isConfigured = true;
    // On a leg that is shared, upstream may object however late.
    if (this.reached.shared === null) this.#configuration = null;
    this.azureId = session.id;
    this.#keep(session);
    this.meter.configured(session);
    this.asks.configured(session);
    this.#ports.ready(session);
  }

  /** What upstream echoes is as imposed, and much: it is not kept a second time, unless somebody else may have set it. */
  #keep(session: JsonObject): void {
    if (this.reached.shared !== null) {
      this.#effective = session;
      return;
    }
    const own = this.#ports.front.imposed.session;
    const isKept = (field: string) => !bulky.has(field) || (own[field] ?? null) === null;
    this.#effective = Object.fromEntries(Object.entries(session).filter(([field]) => isKept(field)));
  }

  /** The session as upstream runs it; null before it does. */
  get session(): JsonObject | null {
    return this.#effective && { ...this.#ports.front.imposed.whole(), ...this.#effective };
  }

  /** What of the client's was kept goes on its way. */
  pass(event: RealtimeEvent): void {
    this.meter.up(event);
    this.#ports.taps.step('passed')(event);
    this.send(event);
  }

  /** Sends an event on its way upstream that does not come through the pipe. */
  send(event: RealtimeEvent): void {
    const sent = this.outward ? this.outward(event) : event;
    if (sent !== null && 'type' in sent) this.reached.leg.send(sent);
  }

  /** Counts and follows what comes from upstream. */
  readonly see: Step = (event) => {
    if (event.body) {
      const { session } = event.body;
      if (event.type === family.down.configured && isObject(session)) this.#changed(session);
      this.asks.down(event);
      if (this.onPassed) queueMicrotask(this.onPassed);
    }
    return this.isCounting ? this.meter.down(event) : event;
  };

  #changed(session: JsonObject): void {
    this.#keep(session);
    this.#ports.configured(this, session);
  }

  /** Comes behind the tools: what a response called is answered before anything else is asked for. */
  readonly asking: Step = (event) => {
    if (event.body) this.asks.look();
    return event;
  };

  /**
   * Once a second: looks after the leg. `isHeldUp` is true while upstream takes nothing, and so cannot answer.
   * @returns whether upstream was heard since the last look
   */
  look(now: number, isOpening: boolean, isHeldUp: boolean): boolean {
    const isOwed = this.turns.isOwed();
    const wasHeard = this.down.wasActive();
    this.isAlive = this.reached.leg.isAlive(now, isOpening || isOwed);
    if (!isOwed || wasHeard || isHeldUp || this.down.heldSeconds() > 0) this.#silentSince = 0;
    else if (this.#silentSince === 0) this.#silentSince = now;
    return wasHeard;
  }

  /** For how many milliseconds upstream has said nothing though it owes an answer. */
  silentMs(now: number): number {
    return this.#silentSince === 0 ? 0 : now - this.#silentSince;
  }

  cancel(responseId: string): void {
    this.say({ type: family.up.cancel, response_id: responseId });
  }

  /**
   * The session has ended. Where something is still to be paid for, upstream is kept until it has said what it costs, in one
   * of the instance's settlements; null when upstream is not to be relied on any more. `settled` is called once;
   * `complete` is false when upstream did not get to say everything.
   */
  settle(settlements: Settlements | null, settled: (complete: boolean) => void): void {
    const { turns } = this;
    if (turns.isUnsettled()) {
      this.#settlement =
        settlements?.begin({
          running: turns.running,
          isUnsettled: () => turns.isUnsettled(),
          cancel: (id) => this.cancel(id),
          settled,
        }) ?? null;
    }
    if (this.#settlement) this.#listen(this.#settlement);
    else settled(!turns.isUnsettled());
  }

  /** From now on what upstream sends is only counted. */
  #listen(settlement: Settlement): void {
    const { leg } = this.reached;
    // Speech that nobody hears any more costs what the end of its response says.
    const noSpeech: Step = (event) => (event.raw ? null : event);
    const last: Step = () => {
      settlement.heard();
      return null;
    };
    this.down.connect({ from: leg, to: null, steps: [noSpeech, this.meter.down, last], limits: null });
    leg.release('full');
  }

  /** Nothing more will come from upstream. */
  finish(): void {
    this.#settlement?.finish();
    this.onGone?.();
  }

  /** Who does not read would not read a goodbye either, and would keep what was meant for it in our memory until a time-out. */
  letGo(): void {
    const { leg } = this.reached;
    if (leg.isFull) leg.terminate();
    else leg.close({ id: 'normal', event: null });
  }
}

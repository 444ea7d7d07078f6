/**
 * A WebRTC call as a session: the browser's speech and events go to upstream directly, and the relay sits beside them on a
 * sideband. Its life is creating → attaching → configuring → open → draining → closed; any state may go to closed.
 */

import type { Admission } from '../admission/admission.js';
import { type ExitId, exitOfUpstreamClose, exits, RelayError } from '../errors.js';
import type { Leg } from '../legs/leg.js';
import { createWatch } from '../policy/conformance.js';
import { renderSession } from '../policy/render.js';
import { relayPrefix } from '../protocol/catalogue.js';
import type { JsonObject, RealtimeEvent, Step } from '../protocol/event.js';
import { family, isFarewell } from '../protocol/family.js';
import type { Initiator, Odd } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type SessionTrace, traceSession } from '../telemetry/trace.js';
import type { UsageRecord } from '../telemetry/usage.js';
import { attach, type CreatedCall, createCall, type EphemeralKey, mintKey } from '../upstream/calls.js';
import type { Dialed } from '../upstream/dial.js';
import type { UpstreamPool } from '../upstream/pool.js';
import { type Activity, createActivity } from './activity.js';
import { type Configuration, configureShared, effective } from './configure.js';
import { type Deadline, deadlineOf, type Moment, moment, wallOf } from './deadline.js';
import { createDrain, type Drain } from './drain.js';
import { createGuard } from './guard.js';
import { createMeter, type Totals } from './meter.js';
import { createOddities, oddityOf } from './oddities.js';
import { type Facts, overdue } from './overdue.js';
import { type Overview, overviewOf, stateOf } from './overview.js';
import {
  type End,
  identityOf,
  reportDial,
  reportEnd,
  reportOpening,
  reportUntranscribed,
  traced,
  usageOf,
} from './report.js';
import type { Settlements } from './settlement.js';
import { createWatchdog } from './silence.js';
import { createSay, type Speak } from './speak.js';
import { Account } from './spending.js';
import { surely } from './surely.js';

/** The parts of the instance that every call uses. */
export interface CallServices {
  readonly upstreams: Pick<UpstreamPool, 'reach'>;
  /** Makes a leg of a sideband. */
  leg(dialed: Dialed, limits: Admission['limits']): Leg;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly settlements: Settlements;
  /** Told of every call that upstream has accepted. */
  opened(): void;
  /** Told once of every call that was open, when its usage is final. */
  used(record: UsageRecord): void;
  /** Told once, when a call has ended. */
  ended(call: Call): void;
  /** Ends the call at upstream; called once for every call that exists there. */
  hangUp(created: CreatedCall, admission: Admission): void;
}

type State = 'creating' | 'attaching' | 'configuring' | 'open' | 'draining' | 'closed';

interface Ending {
  readonly message?: string | undefined;
  readonly cause?: unknown;
  readonly phase?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly closeCode?: number;
}

/** Only for the start: a call goes on after its key has run out. */
const keySeconds = 30;
/** For the sideband to be found, all tries included. */
const attachMs = 20_000;
const never = new AbortController().signal;
const endsPlaying: ReadonlySet<string> = new Set(family.down.playingEnded);

export class Call {
  readonly admission: Admission;
  /** What the client knows the call by. */
  readonly callId: string;
  /** The SDP answer; rejects with the RelayError that the session ended with before there was one. */
  readonly answer: Promise<string>;
  readonly #services: CallServices;
  readonly #started = moment();
  readonly #stop = new AbortController();
  readonly #session: JsonObject;
  readonly #meter;
  readonly #watchdog;
  readonly #account: Account;
  readonly #trace: SessionTrace;
  readonly #activity: Activity | null;
  readonly #steps: readonly Step[];
  readonly #isTooOdd;
  #answered: (answer: string) => void = () => undefined;
  #refused: (error: RelayError) => void = () => undefined;
  #state: State = 'creating';
  #created: CreatedCall | null = null;
  #drain: Drain | null = null;
  #dialed: Dialed | null = null;
  #configuration: Configuration | null = null;
  #judge: (event: RealtimeEvent) => void = () => undefined;
  #listener: (() => void) | null = null;
  #answeredAt = 0;
  #attempts = 0;
  #attachedAt = 0;
  #readyAt = 0;
  #endedAt = 0;
  #azureId: unknown = null;
  #deadline: Deadline = { at: Number.POSITIVE_INFINITY, wallAt: Number.POSITIVE_INFINITY };
  #sideband: Leg | null = null;
  #say: Speak = () => undefined;
  #lastEventAt = this.#started.now;
  #playing = false;
  #events = 0;
  /** As many had come at the last look. */
  #eventsBefore = 0;
  #violations = 0;
  /** Events that the relay has named. */
  #named = 0;

  constructor(admission: Admission, services: CallServices) {
    this.admission = admission;
    this.callId = `call_${admission.requestId.replaceAll('-', '')}`;
    this.#services = services;
    this.#session = renderSession(admission.profile, admission.principal.claims);
    this.answer = new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#refused = reject;
    });
    // Whoever waits for it hears of it; nobody has to.
    this.answer.catch(() => undefined);
    this.#meter = createMeter(services.metrics, {
      upstream: () => this.#dialed?.upstream.name ?? '',
      spent: (tokens) => this.#account.charge(tokens),
      untranscribed: (code, model) => reportUntranscribed(code, model, this.#identity(), services.log),
    });
    this.#account = new Account(admission.budget, this.#meter.turns, {
      warn: () => undefined,
      say: (body) => this.#say(body),
      end: ({ id, message, retryAfterMs }) => this.end(id, 'relay', { message, retryAfterMs }),
      listen: (heard) => {
        this.#listener = heard;
      },
      closed: (complete) => surely(() => this.#closeSideband(complete)),
    });
    this.#watchdog = createWatchdog(this.#meter.turns, admission.limits.answer_seconds);
    this.#trace = traceSession(admission.traceparent, this.#started.wall, traced.session(admission));
    this.#activity = services.log.isLevelEnabled('debug') ? createActivity() : null;
    this.#steps = [...(this.#activity ? [this.#activity.step('down')] : []), this.#meter.down];
    this.#isTooOdd = createOddities((odd) => services.metrics.odd(odd));
  }

  get id(): string {
    return this.admission.id;
  }

  get isOpen(): boolean {
    return this.#state !== 'closed';
  }

  /** Bytes waiting to be written, by the direction they travel. */
  get buffered(): { up: number; down: number } {
    return { up: this.#sideband?.bufferedBytes ?? 0, down: this.#sideband?.begunBytes ?? 0 };
  }

  /** Creates the call upstream and attaches to it; ends the session when either fails. */
  async create(offer: string): Promise<void> {
    const { upstreams } = this.#services;
    const { limits } = this.admission;
    const { requestId } = this.admission;
    const { signal } = this.#stop;
    try {
      const { answer: key, attempts } = await upstreams.reach(
        {
          requestId,
          signal,
          dialSeconds: limits.dial_seconds,
          secondDialMs: limits.second_dial_ms,
          onDial: (event) =>
            surely(
              () => reportDial(event, this.admission, this.#services.log),
              () => this.#trace.part('dial', traced.dial(event, wallOf(this.#started, performance.now()))),
            ),
        },
        (target, options) => mintKey(target, this.#session, keySeconds, options),
        'ga',
      );
      // Not aborted when the client leaves: the answer names the call that has to be ended then.
      const created = await createCall(key, offer, { requestId, signal: never, timeoutSeconds: limits.dial_seconds });
      if (this.#state !== 'creating') {
        this.#services.hangUp(created, this.admission);
        return;
      }
      this.#created = created;
      this.#state = 'attaching';
      this.#answeredAt = performance.now();
      this.#attempts = attempts;
      this.#answered(created.answer);
      const dialed = await attach(created, { requestId, signal, timeoutSeconds: limits.dial_seconds });
      const sideband = this.#services.leg(dialed, this.admission.limits);
      if (this.#state !== 'attaching') sideband.terminate();
      else this.#attach(dialed, sideband, created, key);
    } catch (error) {
      const { id, message, cause, retryAfterMs } = RelayError.from(error);
      const by = id === 'internal' || id === 'overloaded' ? 'relay' : id === 'bad_event' ? 'client' : 'upstream';
      this.end(id, by, { message, cause, retryAfterMs });
    }
  }

  /** Imposes the profile and listens. */
  #attach(dialed: Dialed, sideband: Leg, { id }: CreatedCall, key: EphemeralKey): void {
    const { profile } = this.admission;
    // With upstream's id of the call the operator can ask for it.
    this.#dialed = { ...dialed, requestIds: { ...dialed.requestIds, 'call-id': id } };
    this.#state = 'configuring';
    this.#attachedAt = performance.now();
    const { report_only: reportOnly } = profile.client;
    const watch = createWatch(profile, this.#session, key.session);
    const guard = createGuard(
      {
        watch,
        violations: profile.webrtc.violations,
        reportOnly,
      },
      {
        say: (body) => this.#say(body),
        violated: (fields) => this.#violated(fields, reportOnly),
      },
    );
    this.#judge = guard.judge;
    this.#sideband = sideband;
    const named = (body: JsonObject) => ({ ...body, event_id: `${relayPrefix}said_${++this.#named}` });
    this.#say = createSay(sideband, this.#meter, named);
    sideband.start({
      event: (event, bytes) => this.#take(event, bytes),
      unreadable: (error, bytes) => {
        this.#count(bytes);
        this.#failed(error);
      },
      untranslated: (_, bytes) => this.#count(bytes),
      binary: () => this.#odd('binary', undefined),
      closed: (code, reason) => this.#sidebandClosed(code, reason),
      drained: () => undefined,
      released: () => undefined,
      violated: ({ id: exit, message }, closeCode) => this.end(exit, 'upstream', { message, closeCode }),
      failed: (error) => this.#unforeseen(error),
    });
    // Once more, now that the sideband is there.
    this.#configuration = configureShared(watch.imposed, this.#say);
  }

  #count(bytes: number): void {
    this.#events++;
    this.#lastEventAt = performance.now();
    this.#services.metrics.traffic.down.bytes += bytes;
  }

  /** One event of upstream: counted, and judged while the session lives. */
  #take(event: RealtimeEvent, bytes: number): void {
    this.#count(bytes);
    try {
      for (const step of this.#steps) step(event);
      if (this.#state === 'closed') {
        this.#listener?.();
        return;
      }
      const outcome = this.#configuration?.look(event);
      if (outcome) this.#open(effective(outcome));
      this.#follow(event);
      this.#judge(event);
      this.#drain?.look();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** What came could not be read, or something that was done about it threw. */
  #failed(error: unknown): void {
    const { id, message, cause } = RelayError.from(error);
    const odd = oddityOf(error);
    if (odd !== null) {
      this.#odd(odd, error);
      return;
    }
    const by = id === 'forbidden' ? 'client' : id.startsWith('upstream_') ? 'upstream' : 'relay';
    this.end(id, by, { message, cause });
  }

  /** Upstream sent what is no event; one that has not even begun well is not waited for. */
  #odd(odd: Odd, cause: unknown): void {
    const isTooMuch = this.#isTooOdd(odd);
    if (!isTooMuch && this.#state !== 'configuring') return;
    const message = 'The upstream sent something that is not a Realtime event.';
    this.end('upstream_failed', 'upstream', { message, cause });
  }

  #follow(event: RealtimeEvent): void {
    if (event.type === family.down.playingBegun) this.#playing = true;
    else if (endsPlaying.has(event.type)) this.#playing = false;
    else if (isFarewell(event)) this.end('session_expired', 'upstream');
  }

  #open(session: JsonObject): void {
    const { metrics, log } = this.#services;
    const at = moment();
    const { now } = at;
    const startedAt = this.#started.now;
    this.#state = 'open';
    this.#readyAt = now;
    this.#azureId = session.id;
    this.#deadline = deadlineOf(this.admission.profile, startedAt, at, session.expires_at);
    this.#services.opened();
    metrics.sessionReady((now - startedAt) / 1000);
    reportOpening(
      {
        dialMs: Math.round(this.#answeredAt - startedAt),
        attempts: this.#attempts,
        configureMs: Math.round(now - this.#attachedAt),
        readyMs: Math.round(now - startedAt),
      },
      this.#identity(),
      log,
    );
    this.#trace.part('configure', {
      from: wallOf(this.#started, this.#attachedAt),
      to: wallOf(this.#started, now),
      attributes: traced.upstream(this.#dialed),
    });
    this.#account.start(now);
  }

  #violated(fields: readonly string[], isOnlyReported: boolean): void {
    this.#violations++;
    this.#services.metrics.callViolated();
    const { violations } = this.admission.profile.webrtc;
    // Who is only told of them may be told of any number.
    if (this.#violations > Math.max(10, violations)) return;
    const message = isOnlyReported ? 'policy.reported' : 'call.violated';
    this.#services.log.warn({ ...this.#identity(), detail: `The client changed ${fields.join(', ')}.` }, message);
  }

  #identity(): object {
    return { ...identityOf(this.admission, this.#dialed), transport: 'webrtc' };
  }

  #sidebandClosed(code: number, reason: string): void {
    const cause = new Error(`upstream closed the sideband with ${code} ${reason}`.trim());
    const exit = exitOfUpstreamClose(code, reason);
    // A call may be over before it has begun, when the browser gives up; that is nobody's failure.
    this.end(exit, 'upstream', { closeCode: code, ...(exit !== 'normal' && { cause }) });
  }

  /** Once a second: everything about a call that is a matter of time. */
  tick(at: Moment): void {
    try {
      this.#tick(at);
    } catch (error) {
      this.#unforeseen(error);
    }
  }

  /** Whatever the other nets did not catch ends this call and no other. */
  #unforeseen(cause: unknown): void {
    this.end('internal', 'relay', { message: exits.internal.meaning, cause });
  }

  #tick(at: Moment): void {
    const { now } = at;
    if (this.#state === 'closed') return;
    this.#logActivity();
    if (this.#state === 'open' || this.#state === 'draining') this.#account.tick(now);
    // The account may just have ended it.
    if (!this.isOpen) return;
    const due = overdue(now, this.#facts(this.#state, at));
    if (due) this.end(due.id, due.initiator, { message: due.message, phase: due.phase });
    else if (this.#state === 'attaching' && now - this.#answeredAt > attachMs) {
      this.end('upstream_timeout', 'upstream', { message: 'The upstream did not let the relay into the call.' });
    } else this.#drain?.look();
  }

  #facts(state: Exclude<State, 'closed'>, { now, wall }: Moment): Facts {
    const { principal, profile, limits } = this.admission;
    const heard = this.#events !== this.#eventsBefore;
    this.#eventsBefore = this.#events;
    const isDue = state === 'configuring' || this.#meter.turns.isOwed();
    return {
      state: state === 'creating' || state === 'attaching' ? 'dialing' : state,
      // What the browser sends and reads does not pass here.
      clientIsAlive: true,
      clientStalled: 0,
      upstreamStalled: 0,
      mostStalled: Number.POSITIVE_INFINITY,
      upstreamIsAlive: this.#sideband?.isAlive(now, isDue) ?? true,
      tokenHasRunOut: wall >= principal.expiresAt * 1000,
      configureBy: this.#attachedAt + limits.configure_seconds * 1000,
      configureSent: true,
      upstreamIsSilent: this.#watchdog.isTooLong(now, heard),
      endsAt: this.#deadline.at,
      idleFor: (now - this.#lastEventAt) / 1000,
      mostIdle: profile.limits.idle_seconds,
    };
  }

  #logActivity(): void {
    const passed = this.#activity?.take();
    const { id, requestId } = this.admission;
    if (passed) this.#services.log.debug({ session: id, requestId, ...passed }, 'session.events');
  }

  overview(): Overview {
    return overviewOf(this.admission, {
      state: stateOf(this.#state),
      startedAt: this.#started.wall,
      lastEventAt: wallOf(this.#started, this.#lastEventAt),
      dialed: this.#dialed,
      azureId: this.#azureId,
      deadline: this.#deadline,
      totals: this.#totals(),
    });
  }

  /** What the browser sends does not pass here; upstream ends a call that nobody is in. */
  quietMs(): number {
    return 0;
  }

  ask(): void {}

  /** Ends the call as soon as what has begun is finished, and has been played. */
  drain(): void {
    if (this.#state !== 'open') {
      this.end('draining', 'relay');
      return;
    }
    this.#state = 'draining';
    this.#drain = createDrain({
      turns: this.#meter.turns,
      isHolding: () => false,
      isPlaying: () => this.#playing,
      isWritten: () => true,
      over: () => this.end('draining', 'relay'),
    });
    this.#drain.look();
  }

  /** The one transition to closed: hangs up, gives back what the call held, and logs it. */
  end(id: ExitId, initiator: Initiator, ending: Ending = {}): void {
    if (this.#state === 'closed') {
      if (initiator !== 'client') this.#account.finish();
      return;
    }
    const { settlements } = this.#services;
    const wasConfiguring = this.#state === 'configuring';
    const now = performance.now();
    this.#state = 'closed';
    this.#endedAt = now;
    this.#stop.abort();
    this.#drain?.stop();
    const { message, cause, retryAfterMs } = ending;
    surely(
      () => this.#refused(new RelayError(id, message ?? exits[id].meaning, { retryAfterMs, cause })),
      () => this.admission.release(),
      () => this.#services.ended(this),
      () => this.#logActivity(),
      () => this.#report(id, initiator, ending, wasConfiguring),
      // First of all asks for the last answer's end, which the call may not outlive.
      () => this.#account.close(now, initiator !== 'upstream' && this.#readyAt > 0 ? settlements : null),
      // Also when upstream has said goodbye on the sideband, which is not proof that the call is over.
      () => {
        if (this.#created) this.#services.hangUp(this.#created, this.admission);
      },
    );
  }

  /** Says everywhere how it ended. */
  #report(id: ExitId, initiator: Initiator, ending: Ending, wasConfiguring: boolean): void {
    const { metrics, log } = this.#services;
    const { message, cause, phase, closeCode } = ending;
    const now = this.#endedAt;
    const end: End = {
      reason: id,
      initiator,
      milliseconds: Math.round(now - this.#started.now),
      ready: this.#readyAt > 0,
      eventsUp: 0,
      eventsDown: this.#events,
      refusals: this.#violations,
      heldSecondsUp: 0,
      heldSecondsDown: 0,
      totals: this.#totals(),
      detail: message,
      closeCode,
      cause,
      phase,
    };
    reportEnd(end, this.#identity(), metrics, log);
    if (wasConfiguring) {
      const attributes = traced.upstream(this.#dialed);
      const [from, to] = [wallOf(this.#started, this.#attachedAt), wallOf(this.#started, now)];
      this.#trace.part('configure', { from, to, attributes, failure: id });
    }
    this.#trace.end(id, wallOf(this.#started, now), traced.end(end, this.#dialed));
  }

  /**
   * Seconds of sound are not known, which is not the same as none. They do not follow from tokens either: upstream counts
   * the sound of the whole conversation again with every answer.
   */
  #totals(): Totals {
    return { ...this.#meter.totals(), audioSecondsUp: null, audioSecondsDown: null };
  }

  /** Lets go of the sideband, and reports what the call cost. */
  #closeSideband(complete: boolean): void {
    this.#sideband?.close({ id: 'normal', event: null });
    if (this.#readyAt === 0) return;
    const when = {
      startedAt: wallOf(this.#started, this.#readyAt),
      endedAt: wallOf(this.#started, this.#endedAt),
      complete,
    };
    const { usage } = this.#meter;
    this.#services.used(usageOf(this.admission, this.#dialed, usage, this.#totals(), when));
  }
}

/**
 * One session: the client's leg, upstream's leg, and what happens between them. Its life is
 * dialing → configuring → open → draining → closed; any state may go to closed, and nothing leaves that.
 */

import type { Admission } from '../admission/admission.js';
import { type ExitId, exitOfUpstreamClose, exits, RelayError } from '../errors.js';
import type { Hold, Leg } from '../legs/leg.js';
import type { Policy } from '../policy/policy.js';
import { renderSession } from '../policy/render.js';
import { eventOf, type JsonObject, type Step } from '../protocol/event.js';
import { family, isFarewell } from '../protocol/family.js';
import type { Initiator, Odd } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type SessionTrace, traceSession } from '../telemetry/trace.js';
import type { UsageRecord } from '../telemetry/usage.js';
import type { Dialed } from '../upstream/dial.js';
import type { DialEvent, Opened, OpenOptions } from '../upstream/pool.js';
import { type Activity, createActivity } from './activity.js';
import { type Configuration, configureGreeted, effective } from './configure.js';
import { announced, type Deadline, deadlineOf, type Moment, moment, wallOf } from './deadline.js';
import { createDrain, type Drain } from './drain.js';
import { createHeldWatch } from './held.js';
import { createMeter } from './meter.js';
import { createOddities, oddityOf } from './oddities.js';
import { type Facts, overdue } from './overdue.js';
import { type Overview, overviewOf, stateOf } from './overview.js';
import { type Flow, Pipe } from './pipe.js';
import { Replies } from './replies.js';
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
import { Account } from './spending.js';
import { connect, type Route } from './steps.js';
import { surely } from './surely.js';

/** The parts of the instance that every session uses. */
export interface SessionServices {
  readonly upstreams: {
    open(options: OpenOptions): Promise<Opened>;
  };
  /** Makes a leg of what was dialled. */
  leg(dialed: Dialed, limits: Admission['limits']): Leg;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly settlements: Settlements;
  /** Told of every session that upstream has accepted. */
  opened(): void;
  /** Told once of every session that was open, when its usage is final. */
  used(record: UsageRecord): void;
  /** Told once, when a session has ended. */
  ended(session: Session): void;
}

type State = 'dialing' | 'configuring' | 'open' | 'draining' | 'closed';

/** Details of an end that not every end has. */
interface Ending {
  readonly message?: string | undefined;
  readonly cause?: unknown;
  /** What upstream had to do when its time was over. */
  readonly phase?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  /** The close code the peer sent, for the log. */
  readonly closeCode?: number;
}

const expiryNoticeSeconds = 60;
const reportsLogged = 10;
const oddMessage = 'The upstream sent something that is not a Realtime event.';

export class Session {
  readonly admission: Admission;
  readonly #services: SessionServices;
  readonly #client: Leg;
  readonly #replies: Replies;
  readonly #up: Pipe;
  readonly #down: Pipe;
  /** What is told and logged in the time of day is counted from here: a clock that is set meanwhile bends no span. */
  readonly #started = moment();
  /** Aborts the dial while there is one. */
  #dialing: AbortController | null = null;
  readonly #meter;
  readonly #trace: SessionTrace;
  /** Only where the log is at level debug. */
  readonly #activity: Activity | null;
  #state: State = 'dialing';
  #upstream: Leg | null = null;
  #route: Route | null = null;
  #drain: Drain | null = null;
  #dialed: Opened | null = null;
  #dialedAt = 0;
  #configureBy = Number.POSITIVE_INFINITY;
  #configuration: Configuration | null = null;
  #azureId: unknown = null;
  #deadline: Deadline = { at: Number.POSITIVE_INFINITY, wallAt: Number.POSITIVE_INFINITY };
  #expiryAnnounced = false;
  #lastActiveAt = this.#started.now;
  #readyAt = 0;
  #endedAt = 0;
  #reports = 0;
  readonly #isTooOdd;
  readonly #watchHeld = createHeldWatch((why, seconds) => this.#held(why, seconds));
  readonly #watchdog;
  readonly #account: Account;

  /** @param client the client's leg, not started yet */
  constructor(admission: Admission, client: Leg, services: SessionServices) {
    this.admission = admission;
    this.#services = services;
    this.#meter = createMeter(services.metrics, {
      upstream: () => this.#dialed?.upstream.name ?? '',
      spent: (tokens) => this.#account.charge(tokens),
      untranscribed: (code, model) =>
        reportUntranscribed(code, model, identityOf(this.admission, this.#dialed), services.log),
    });
    this.#account = new Account(admission.budget, this.#meter.turns, {
      warn: (warning) => this.#replies.notify('relay.quota_warning', warning),
      say: (body) => this.#route?.say(body),
      end: ({ id, message, retryAfterMs }) => this.end(id, 'relay', { message, retryAfterMs }),
      listen: (heard) => this.#route?.listen(heard),
      closed: (complete) => surely(() => this.#closeUpstream(complete)),
    });
    this.#watchdog = createWatchdog(this.#meter.turns, admission.limits.answer_seconds);
    this.#trace = traceSession(admission.traceparent, this.#started.wall, traced.session(admission));
    this.#activity = services.log.isLevelEnabled('debug') ? createActivity() : null;
    this.#isTooOdd = createOddities((odd) => services.metrics.odd(odd));
    const { hold_bytes } = admission.limits;
    this.#up = new Pipe(this.#flow('up'));
    this.#down = new Pipe(this.#flow('down'));
    this.#client = client;
    this.#replies = new Replies({
      client,
      mostBuffered: 2 * hold_bytes,
      mostRefusals: admission.profile.limits.refusals,
      relayEvents: admission.relayEvents,
      isOpen: () => this.isOpen,
      end: (id, message) => this.end(id, 'client', { message }),
    });
    client.hold('opening');
    client.start({
      event: (event, bytes, arrivedMs) => this.#up.push(event, bytes, arrivedMs),
      unreadable: (error, bytes, arrivedMs) => {
        this.#up.wasted(bytes, arrivedMs);
        this.#fail(error, 'client');
      },
      untranslated: (refusal, bytes, arrivedMs) => {
        this.#up.wasted(bytes, arrivedMs);
        if (refusal) this.#replies.refuse(refusal);
      },
      binary: () => this.end('unsupported_data', 'client', { message: 'Events are JSON in text frames, not binary.' }),
      closed: (code) => {
        this.#up.flush();
        this.end('normal', 'client', { closeCode: code });
      },
      drained: () => this.#down.drained(),
      unanswered: () => this.#services.log.info(identityOf(this.admission, this.#dialed), 'client.unanswered'),
      violated: ({ id, message }, closeCode) => this.end(id, 'client', { message, closeCode }),
      failed: (error) => this.#unforeseen(error),
      released: (why, seconds) => {
        services.metrics.held(why, seconds);
        this.#up.released();
      },
    });
  }

  get id(): string {
    return this.admission.id;
  }

  get isOpen(): boolean {
    return this.#state !== 'closed';
  }

  /** Bytes waiting to be passed on or written, by the direction they travel. */
  get buffered(): { up: number; down: number } {
    const [client, upstream] = [this.#client, this.#upstream];
    return {
      up: (upstream?.bufferedBytes ?? 0) + client.begunBytes + client.waitingBytes + this.#up.waiting,
      down: client.bufferedBytes + (upstream?.begunBytes ?? 0) + (upstream?.waitingBytes ?? 0),
    };
  }

  get workMs(): number {
    return this.#up.workMs + this.#down.workMs;
  }

  /** Dials upstream and hands the socket to `#configure`; ends the session when that fails. */
  async dial(): Promise<void> {
    const { upstreams } = this.#services;
    const { limits } = this.admission;
    const dialing = new AbortController();
    this.#dialing = dialing;
    try {
      const dialed = await upstreams.open({
        requestId: this.admission.requestId,
        signal: dialing.signal,
        dialSeconds: limits.dial_seconds,
        secondDialMs: limits.second_dial_ms,
        onDial: (event) => this.#onDial(event),
        ...(this.admission.profile.session.type === 'transcription' && { intent: 'transcription' }),
      });
      const upstream = this.#services.leg(dialed, this.admission.limits);
      if (this.#state !== 'dialing') upstream.terminate();
      else this.#configure(dialed, upstream);
    } catch (error) {
      this.#fail(error, 'upstream');
    } finally {
      this.#dialing = null;
    }
  }

  #onDial(event: DialEvent): void {
    surely(
      () => reportDial(event, this.admission, this.#services.log),
      () => this.#trace.part('dial', traced.dial(event, wallOf(this.#started, performance.now()))),
    );
  }

  /** Connects the legs and waits, as a step between them, for upstream to accept the profile. */
  #configure(dialed: Opened, upstream: Leg): void {
    const { metrics } = this.#services;
    const { profile, principal, limits } = this.admission;
    this.#state = 'configuring';
    this.#dialedAt = performance.now();
    this.#configureBy = this.#dialedAt + limits.configure_seconds * 1000;
    this.#dialed = dialed;
    this.#upstream = upstream;

    const session = renderSession(profile, principal.claims);
    this.#route = connect({
      admission: this.admission,
      session,
      client: this.#client,
      upstream,
      up: this.#up,
      down: this.#down,
      meter: this.#meter,
      activity: this.#activity,
      replies: this.#replies,
      metrics,
      configuring: (policy) => this.#configuring(policy),
      ending: this.#ending,
      reported: (detail) => this.#reported(detail),
    });
    this.#configuration = configureGreeted(session, (update) => this.#route?.say(update));
    upstream.start({
      event: (event, bytes, arrivedMs) => this.#down.push(event, bytes, arrivedMs),
      unreadable: (error, bytes, arrivedMs) => {
        this.#down.wasted(bytes, arrivedMs);
        this.#fail(error, 'upstream');
      },
      untranslated: (_, bytes, arrivedMs) => this.#down.wasted(bytes, arrivedMs),
      binary: () => this.#odd('binary', undefined),
      closed: (code, reason) => this.#upstreamClosed(code, reason),
      drained: () => this.#up.drained(),
      violated: ({ id, message }, closeCode) => this.end(id, 'upstream', { message, closeCode }),
      failed: (error) => this.#unforeseen(error),
      released: (why, seconds) => metrics.held(why, seconds),
    });
  }

  /** The step that imposes the profile: nothing passes it in either direction until upstream has acknowledged. */
  #configuring(policy: Policy): Step {
    return (event) => {
      if (this.#state !== 'configuring') return event;
      const outcome = this.#configuration?.look(event);
      if (outcome) this.#open(effective(outcome), policy);
      return null;
    };
  }

  /** Upstream runs the profile: the client is told, and what it sent meanwhile goes first. */
  #open(session: JsonObject, policy: Policy): void {
    const { metrics, log } = this.#services;
    const at = moment();
    const { now } = at;
    const { profile, principal } = this.admission;
    const startedAt = this.#started.now;
    this.#state = 'open';
    this.#readyAt = now;
    this.#meter.configured(session);
    this.#dialed?.heard();
    this.#azureId = session.id;
    this.#deadline = deadlineOf(profile, startedAt, at, session.expires_at);
    this.#services.opened();
    metrics.sessionReady((now - startedAt) / 1000);
    reportOpening(
      {
        dialMs: Math.round(this.#dialedAt - startedAt),
        attempts: this.#dialed?.attempts ?? 0,
        configureMs: Math.round(now - this.#dialedAt),
        readyMs: Math.round(now - startedAt),
      },
      identityOf(this.admission, this.#dialed),
      log,
    );
    this.#trace.part('configure', {
      from: wallOf(this.#started, this.#dialedAt),
      to: wallOf(this.#started, now),
      attributes: traced.upstream(this.#dialed),
    });
    const { expiresAt } = announced(this.#deadline, principal.expiresAt * 1000);
    const shown = policy.sessionCreated(session, this.id, expiresAt);
    this.#client.send(eventOf({ type: family.down.greeting, event_id: this.#replies.eventId(), session: shown }));
    this.#account.start(now);
    this.#client.release('opening');
  }

  /** Upstream's own notice that the session's time is up becomes our end, with our close code. */
  readonly #ending: Step = (event) => {
    if (!isFarewell(event)) return event;
    this.end('session_expired', 'upstream');
    return null;
  };

  #flow(direction: 'up' | 'down'): Flow {
    return {
      traffic: this.#services.metrics.traffic[direction],
      isOpen: () => this.isOpen,
      failed: (error) => this.#fail(error, direction === 'up' ? 'client' : 'upstream'),
    };
  }

  /** Something went wrong on the way from `initiator`; whether that ends the session depends on what it was. */
  #fail(error: unknown, initiator: Initiator): void {
    const known = RelayError.from(error);
    const { id, message, cause, retryAfterMs } = known;
    const odd = initiator === 'upstream' ? oddityOf(known) : null;
    if (odd !== null) {
      this.#odd(odd, known);
    } else if (known.isBearable) {
      this.#replies.refuse({ code: id, message, param: null, eventId: null });
    } else {
      const by =
        id === 'internal' || id === 'overloaded' ? 'relay' : id.startsWith('upstream_') ? 'upstream' : initiator;
      this.end(id, by, { message, cause, retryAfterMs });
    }
  }

  /** Whatever the other nets did not catch ends this session and no other. */
  #unforeseen(cause: unknown): void {
    this.end('internal', 'relay', { message: exits.internal.meaning, cause });
  }

  /** Upstream sent what is no event; one that has not even begun well is not waited for. */
  #odd(odd: Odd, cause: RelayError | undefined): void {
    const isTooMuch = this.#isTooOdd(odd);
    if (!isTooMuch && this.#state !== 'configuring') return;
    this.end('upstream_failed', 'upstream', { message: oddMessage, cause });
  }

  /** The client has been held for long; it may want to know, and so may the operator. */
  #held(why: Hold, seconds: number): void {
    this.#replies.notify('relay.held', { why, seconds });
    this.#services.log.info({ ...identityOf(this.admission, this.#dialed), why, heldSeconds: seconds }, 'session.held');
  }

  /** What a profile that only reports let pass; the first ones of a session show what would break when it is enforced. */
  #reported(detail: string): void {
    if (++this.#reports > reportsLogged) return;
    this.#services.log.warn({ ...identityOf(this.admission, this.#dialed), detail }, 'policy.reported');
  }

  #upstreamClosed(code: number, reason: string): void {
    const cause = new Error(`upstream closed with ${code} ${reason}`.trim());
    const exit = exitOfUpstreamClose(code, reason);
    // A goodbye before there was a session leaves the client with nothing to be content with.
    const id = exit === 'normal' && this.#state === 'configuring' ? 'upstream_lost' : exit;
    this.end(id, 'upstream', { cause, closeCode: code });
  }

  /** Once a second: everything about a session that is a matter of time. */
  tick(at: Moment): void {
    try {
      this.#tick(at);
    } catch (error) {
      this.#unforeseen(error);
    }
  }

  #tick(at: Moment): void {
    const { now } = at;
    if (this.#state === 'closed') return;
    this.#logActivity();
    const facts = this.#facts(this.#state, at);
    this.#up.active = false;
    this.#down.active = false;
    if (this.#state === 'open' || this.#state === 'draining') this.#account.tick(now);
    // The account may just have ended it.
    if (!this.isOpen) return;
    const due = overdue(now, facts);
    if (due) {
      if (due.phase !== undefined) this.#dialed?.silent();
      this.end(due.id, due.initiator, { message: due.message, phase: due.phase });
      return;
    }
    this.#announceExpiry(at);
    if (this.#readyAt > 0) this.#watchHeld(this.#client.held, now);
    this.#drain?.look();
  }

  #facts(state: Facts['state'], { now, wall }: Moment): Facts {
    const { principal, profile, limits } = this.admission;
    const isDue = state === 'configuring' || this.#meter.turns.isOwed();
    const heldUp = this.#up.heldSeconds();
    const heldDown = this.#down.heldSeconds();
    if (this.#up.active || this.#down.active) this.#lastActiveAt = now;
    return {
      state,
      clientIsAlive: this.#client.isAlive(now, false),
      upstreamIsAlive: this.#upstream?.isAlive(now, isDue) ?? true,
      tokenHasRunOut: wall >= principal.expiresAt * 1000,
      configureBy: this.#configureBy,
      configureSent: this.#configuration?.isSent === true,
      clientStalled: this.#client.stalledMs(now) / 1000,
      upstreamStalled: (this.#upstream?.stalledMs(now) ?? 0) / 1000,
      mostStalled: limits.stall_seconds,
      upstreamIsSilent: this.#watchdog.isTooLong(now, this.#down.active || heldUp > 0 || heldDown > 0),
      endsAt: this.#deadline.at,
      idleFor: (now - this.#lastActiveAt) / 1000,
      mostIdle: profile.limits.idle_seconds,
    };
  }

  #announceExpiry({ now, wall }: Moment): void {
    const tokenEndsAt = this.admission.principal.expiresAt * 1000;
    const left = Math.min(this.#deadline.at - now, tokenEndsAt - wall);
    if (this.#expiryAnnounced || this.#readyAt === 0 || left > expiryNoticeSeconds * 1000) return;
    this.#expiryAnnounced = true;
    const { expiresAt, id } = announced(this.#deadline, tokenEndsAt);
    this.#replies.notify('relay.session_expiring', { expires_at: expiresAt, reason: id });
  }

  #logActivity(): void {
    const passed = this.#activity?.take();
    const { id, requestId } = this.admission;
    if (passed) this.#services.log.debug({ session: id, requestId, ...passed }, 'session.events');
  }

  overview(): Overview {
    const isActive = this.#up.active || this.#down.active;
    return overviewOf(this.admission, {
      state: stateOf(this.#state),
      startedAt: this.#started.wall,
      lastEventAt: wallOf(this.#started, isActive ? performance.now() : this.#lastActiveAt),
      dialed: this.#dialed,
      azureId: this.#azureId,
      deadline: this.#deadline,
      totals: this.#meter.totals(),
    });
  }

  quietMs(now: number): number {
    return this.#client.quietMs(now);
  }

  ask(): void {
    this.#client.ask();
  }

  /** Ends the session as soon as what has begun is finished; no answer is asked for any more. */
  drain(): void {
    if (this.#state !== 'open') {
      this.end('draining', 'relay');
      return;
    }
    this.#state = 'draining';
    this.#replies.notify('relay.draining', {});
    const { turns } = this.#meter;
    const drain = createDrain({
      turns,
      isHolding: () => this.#client.waitingBytes + this.#up.waiting > 0,
      isPlaying: () => false,
      isWritten: () => {
        this.#client.flush();
        return this.#client.bufferedBytes === 0 && (this.#upstream?.waitingBytes ?? 0) === 0;
      },
      over: () => this.end('draining', 'relay'),
    });
    this.#drain = drain;
    this.#route?.drain(
      () => turns.unasked !== null,
      () => drain.look(),
    );
    drain.look();
  }

  /** The one transition to closed: tells both sides, gives back what the session held, and logs it. */
  end(id: ExitId, initiator: Initiator, ending: Ending = {}): void {
    if (this.#state === 'closed') {
      // What is left of the client's socket has no say in what upstream still has to say.
      if (initiator !== 'client') this.#account.finish();
      return;
    }
    const before = this.#state;
    this.#state = 'closed';
    this.#endedAt = performance.now();
    this.#dialing?.abort();
    this.#drain?.stop();
    this.#up.close();
    surely(
      () => {
        const event = this.#replies.farewell(id, ending.message, ending.retryAfterMs);
        this.#client.close({ id, event });
      },
      () => this.admission.release(),
      () => this.#services.ended(this),
      () => this.#logActivity(),
      () => this.#report(id, initiator, ending, before),
      () => {
        const isSound = initiator !== 'upstream' && this.#readyAt > 0 && this.#upstream?.isFull === false;
        this.#account.close(this.#endedAt, isSound ? this.#services.settlements : null);
      },
    );
  }

  /** Says everywhere how it ended. */
  #report(id: ExitId, initiator: Initiator, ending: Ending, before: State): void {
    const { metrics, log } = this.#services;
    const now = this.#endedAt;
    const end: End = {
      reason: id,
      initiator,
      milliseconds: Math.round(now - this.#started.now),
      ready: this.#readyAt > 0,
      eventsUp: this.#up.events,
      eventsDown: this.#down.events,
      refusals: this.#replies.refusals,
      heldSecondsUp: seconds(this.#up.totalHeldSeconds()),
      heldSecondsDown: seconds(this.#down.totalHeldSeconds()),
      totals: this.#meter.totals(),
      detail: ending.message,
      closeCode: ending.closeCode,
      cause: ending.cause,
      phase: ending.phase,
    };
    reportEnd(end, identityOf(this.admission, this.#dialed), metrics, log);
    if (before === 'configuring') {
      const attributes = traced.upstream(this.#dialed);
      const [from, to] = [wallOf(this.#started, this.#dialedAt), wallOf(this.#started, now)];
      this.#trace.part('configure', { from, to, attributes, failure: id });
    }
    this.#trace.end(id, wallOf(this.#started, now), traced.end(end, this.#dialed));
  }

  /** Lets go of upstream, and reports what the session cost. */
  #closeUpstream(complete: boolean): void {
    // Who does not read would not read a goodbye either, and would keep what was meant for it in our memory until a time-out.
    if (this.#upstream?.isFull) this.#upstream.terminate();
    else this.#upstream?.close({ id: 'normal', event: null });
    if (this.#readyAt === 0) return;
    const when = {
      startedAt: wallOf(this.#started, this.#readyAt),
      endedAt: wallOf(this.#started, this.#endedAt),
      complete,
    };
    const { usage } = this.#meter;
    this.#services.used(usageOf(this.admission, this.#dialed, usage, this.#meter.totals(), when));
  }
}

function seconds(exact: number): number {
  return Math.round(exact * 1000) / 1000;
}

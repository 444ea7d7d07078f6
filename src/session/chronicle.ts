/** What is said about one session, wherever it is said: its log lines, its trace, its part of the metrics, its record of usage. */

import type { Admission } from '../admission/admission.js';
import { type Clock, moment, wallOf } from '../clock.js';
import type { ExitId } from '../errors.js';
import type { Hold } from '../legs/leg.js';
import type { Initiator, ReplacementTrigger } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type SessionTrace, traceSession } from '../telemetry/trace.js';
import type { UsageRecord } from '../telemetry/usage.js';
import type { CallReport } from '../tools/calls.js';
import type { DialEvent } from '../upstream/pool.js';
import { type Activity, createActivity } from './activity.js';
import type { Books, Totals } from './books.js';
import type { Ended } from './ending.js';
import { type NoticeServices, Notices } from './notices.js';
import type { Reached } from './reach.js';
import {
  type End,
  identityOf,
  type Replacement,
  reportCall,
  reportDial,
  reportEnd,
  reportOpening,
  reportOutputRefused,
  reportReplacement,
  reportUntranscribed,
  traced,
  usageOf,
} from './report.js';
import type { Scribe } from './scribe.js';
import { createScribe, type ScribeSurroundings } from './scribing.js';
import { surely } from './surely.js';

/** What a chronicle needs of the instance. */
export interface ChronicleServices extends NoticeServices {
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** What this replica is called by. */
  readonly replica: string;
  /** Told once of every session that was open, when its usage is final. */
  used(record: UsageRecord): void;
}

/** Of each kind, the first ones show what there is to know. */
const mostReports = 10;

export class Chronicle {
  readonly #admission: Admission;
  /** Said in every line where there is one. */
  readonly #transport: string | undefined;
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #replica: string;
  readonly #books: Books;
  readonly #trace: SessionTrace;
  /** What is told and logged in the time of day is counted from here: a clock that is set meanwhile bends no span. */
  readonly started = moment();
  /** Only where the log is at level debug. */
  readonly #activity: Activity | null;
  readonly #notices: Notices;
  /** Null where nobody is told what is said. */
  readonly #scribe: Scribe | null;
  readonly #used: ChronicleServices['used'];
  #ending: { readonly reason: ExitId; readonly initiator: Initiator } | null = null;
  #reached: Reached | null = null;
  #reachedAt = 0;
  #readyAt = 0;
  #endedAt = 0;
  #reports = 0;

  constructor(
    admission: Admission,
    transport: string | undefined,
    books: Books,
    services: ChronicleServices,
    surroundings: ScribeSurroundings,
  ) {
    this.#admission = admission;
    this.#transport = transport;
    this.#books = books;
    this.#metrics = services.metrics;
    this.#log = services.log;
    this.#replica = services.replica;
    this.#trace = traceSession(admission.traceparent, this.started.wall, traced.session(admission));
    this.#activity = services.log.isLevelEnabled('debug') ? createActivity() : null;
    this.#used = services.used;
    this.#notices = new Notices(admission, services, surroundings.taps, (at) => this.#wall(at));
    this.#scribe = createScribe(admission.profile, surroundings, {
      clock: services.clock,
      metrics: services.metrics,
      wallOf: (at) => this.#wall(at),
      said: (utterance) => this.#notices.said(utterance),
    });
    for (const tap of [this.#activity?.tap, this.#notices.hosted]) if (tap) surroundings.taps.add(tap);
  }

  get #identity(): object {
    const identity = identityOf(this.#admission, this.#reached, this.#replica);
    return this.#transport === undefined ? identity : { ...identity, transport: this.#transport };
  }

  #wall(at: number): number {
    return wallOf(this.started, at);
  }

  readonly dialed = (event: DialEvent): void => {
    surely(
      () => reportDial(event, this.#admission, this.#log),
      () => this.#trace.part('dial', traced.dial(event, this.#wall(performance.now()))),
    );
  };

  reached(reached: Reached, at: number): void {
    this.#reached = reached;
    this.#reachedAt = at;
  }

  /** Upstream runs the profile. */
  opened(now: number): void {
    const { now: startedAt } = this.started;
    this.#readyAt = now;
    this.#metrics.sessionReady((now - startedAt) / 1000);
    const opening = {
      dialMs: Math.round((this.#reached?.acceptedAt ?? now) - startedAt),
      attempts: this.#reached?.attempts ?? 0,
      configureMs: Math.round(now - this.#reachedAt),
      readyMs: Math.round(now - startedAt),
    };
    reportOpening(opening, this.#identity, this.#log);
    this.#notices.started({
      transport: this.#transport === 'webrtc' ? 'webrtc' : 'websocket',
      dialect: this.#admission.dialect,
      upstream: this.#reached?.upstream.name ?? '',
      started_at: new Date(this.#wall(now)).toISOString(),
    });
    this.#configured(now);
  }

  #configured(now: number, failure?: ExitId): void {
    const [from, to] = [this.#wall(this.#reachedAt), this.#wall(now)];
    const attributes = traced.upstream(this.#reached);
    this.#trace.part('configure', { from, to, attributes, ...(failure && { failure }) });
  }

  get isReady(): boolean {
    return this.#readyAt > 0;
  }

  get totals(): Totals {
    return this.#books.totals(this.#reached?.shared == null);
  }

  ended({ id, initiator, up, down, refusals, wasConfiguring, ...ending }: Ended, now: number): void {
    this.#endedAt = now;
    this.#ending = { reason: id, initiator };
    this.#scribe?.close();
    const end: End = {
      reason: id,
      initiator,
      milliseconds: Math.round(now - this.started.now),
      ready: this.isReady,
      eventsUp: up.events,
      eventsDown: down?.events ?? 0,
      refusals,
      heldSecondsUp: seconds(up.totalHeldSeconds()),
      heldSecondsDown: seconds(down?.totalHeldSeconds() ?? 0),
      totals: this.totals,
      detail: ending.message,
      closeCode: ending.closeCode,
      cause: ending.cause,
      phase: ending.phase,
    };
    reportEnd(end, this.#identity, this.#metrics, this.#log);
    if (wasConfiguring) this.#configured(now, id);
    this.#trace.end(id, this.#wall(now), traced.end(end, this.#reached));
  }

  /** The leg is lost, and another is to take its place; or none was to be had. */
  lost(trigger: ReplacementTrigger, isForGood = false): void {
    if (isForGood) this.#log.warn({ ...this.#identity, trigger }, 'session.not_replaced');
    else this.#log.info({ ...this.#identity, trigger }, 'session.replacing');
  }

  /** The session goes on with this leg. */
  replaced(reached: Reached, how: Replacement): void {
    this.#reached = reached;
    this.#books.replacements++;
    reportReplacement(how, this.#identity, this.#log);
    const to = this.#wall(performance.now());
    this.#trace.part('replace', { from: to - how.gapMs, to, attributes: traced.upstream(reached) });
  }

  /** A leg that was lost could not say what it cost. */
  unsettled(): void {
    this.#books.isIncomplete = true;
  }

  /** What it cost is final; what was never open has cost nothing. */
  used(complete: boolean): void {
    if (!this.isReady) return;
    const when = {
      startedAt: this.#wall(this.#readyAt),
      endedAt: this.#wall(this.#endedAt),
      complete: complete && !this.#books.isIncomplete,
    };
    const record = usageOf(this.#admission, this.#reached, this.#books.ledger.usage, this.totals, when);
    const { started_at, ended_at } = record;
    const ending = this.#ending ?? { reason: 'normal', initiator: 'relay' };
    surely(
      () => this.#used(record),
      () => this.#notices.used(record),
      () => this.#notices.ended({ ...ending, started_at, ended_at, turns: this.totals.turns }),
    );
  }

  /** Speech of so many bytes is not sent to the client after all. */
  dropped(bytes: number): void {
    this.#scribe?.dropped(bytes);
  }

  /** A backend puts in an item of this id. */
  injected(itemId: string): void {
    this.#scribe?.injected(itemId);
  }

  /** Names the session's trace to whom it asks. */
  get traceparent(): string | undefined {
    return this.#trace.traceparent;
  }

  /** A call of a tool is over. */
  called(report: CallReport): void {
    this.#books.toolCalls++;
    if (report.result.outcome !== 'ok') this.#books.toolErrors++;
    surely(
      () => reportCall(report, this.#admission, this.#metrics, this.#log),
      () => this.#notices.called(report),
      () => this.#trace.part('tool', traced.call(report, this.#wall(performance.now()))),
    );
  }

  /** Upstream did not take the output of a call. */
  outputRefused(callId: string, code: unknown): void {
    reportOutputRefused(callId, code, this.#admission, this.#log);
  }

  /** What has passed since the last time, by type. */
  passed(): void {
    const passed = this.#activity?.take();
    const { id, requestId } = this.#admission;
    if (passed) this.#log.debug({ session: id, requestId, ...passed }, 'session.events');
  }

  /** Another token holds, and the session until then. */
  renewed(expiresAt: number): void {
    this.#log.info({ ...this.#identity, expiresAt }, 'session.renewed');
  }

  /** The client was lost, or has come back; a backend has taken the session over, or given it back. */
  noted(fields: object, message: string): void {
    this.#log.info({ ...this.#identity, ...fields }, message);
  }

  held(why: Hold, heldSeconds: number): void {
    this.#log.info({ ...this.#identity, why, heldSeconds }, 'session.held');
  }

  /** The client answers no pings. */
  unanswered(): void {
    this.#log.info(this.#identity, 'client.unanswered');
  }

  untranscribed(code: string, model: string): void {
    reportUntranscribed(code, model, this.#identity, this.#log);
  }

  /** What a profile that only reports let pass; the first ones of a session show what would break when it is enforced. */
  reported(detail: string): void {
    if (++this.#reports <= mostReports) this.#log.warn({ ...this.#identity, detail }, 'policy.reported');
  }

  /** The client changed the session where it must not; `times` so far, of which those that may be before the end are told. */
  violated(fields: readonly string[], times: number): void {
    this.#metrics.callViolated();
    const { webrtc, client } = this.#admission.profile;
    // Who is only told of them may be told of any number.
    if (times > Math.max(mostReports, webrtc.violations)) return;
    const message = client.report_only ? 'policy.reported' : 'call.violated';
    this.#log.warn({ ...this.#identity, detail: `The client changed ${fields.join(', ')}.` }, message);
  }
}

function seconds(exact: number): number {
  return Math.round(exact * 1000) / 1000;
}

/** What the log and the metrics say about one session: a line when it opens, a line when it ends. */

import type { Admission } from '../admission/admission.js';
import { userKey } from '../auth/principal.js';
import { type ExitId, isRetryable } from '../errors.js';
import type { Initiator, Origin, ReplacementTrigger } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { logRepeated } from '../telemetry/repeats.js';
import type { TraceAttributes, TracePart } from '../telemetry/trace.js';
import type { Usage, UsageRecord } from '../telemetry/usage.js';
import type { CallReport } from '../tools/calls.js';
import { faultOf } from '../upstream/causes.js';
import type { Dialed } from '../upstream/dial.js';
import { DialFailure } from '../upstream/failure.js';
import type { DialEvent } from '../upstream/pool.js';
import type { Totals } from './books.js';
import { rejectedOf } from './rejection.js';

/** How a session ended; everything here is for the operator. */
export interface End {
  readonly reason: ExitId;
  readonly initiator: Initiator;
  readonly milliseconds: number;
  /** Whether the client was ever able to talk. */
  readonly ready: boolean;
  readonly eventsUp: number;
  readonly eventsDown: number;
  readonly refusals: number;
  /** Time the client was not read because upstream did not keep up, and the other way round. */
  readonly heldSecondsUp: number;
  readonly heldSecondsDown: number;
  readonly totals: Totals;
  readonly detail?: string | undefined;
  readonly closeCode?: number | undefined;
  readonly cause?: unknown;
  /** What upstream had to do when its time was over. */
  readonly phase?: string | undefined;
}

/** A session that can talk, and what it took to get there; times are in milliseconds. */
export interface Opening {
  /** From the client's arrival until upstream's handshake was done, all attempts included. */
  readonly dialMs: number;
  readonly attempts: number;
  readonly configureMs: number;
  readonly readyMs: number;
}

/** The upstream of a session. */
type Where = Pick<Dialed, 'upstream' | 'requestIds'>;

/** Who a session belongs to and where it went: the same fields in every line about it. */
export function identityOf(
  { id, requestId, principal, profile, dialect }: Admission,
  dialed: Where | null,
  replica: string,
): object {
  return {
    session: id,
    replica,
    requestId,
    subject: principal.subject,
    ...(principal.tenant !== null && { tenant: principal.tenant }),
    profile: profile.name,
    dialect,
    ...(dialed && {
      upstream: dialed.upstream.name,
      upstreamDialect: dialed.upstream.dialect,
      azure: dialed.requestIds,
    }),
  };
}

/** Logs that a client may talk. */
export function reportOpening(opening: Opening, identity: object, log: Log): void {
  log.info({ ...identity, ...opening }, 'session.opened');
}

/** A leg to upstream that has taken the place of another one. */
export interface Replacement {
  readonly trigger: ReplacementTrigger;
  readonly continuity: 'full' | 'transcript_only';
  readonly gapMs: number;
  readonly turnInterrupted: boolean;
  readonly lost: { readonly items: number; readonly audio_ms: number };
}

/** Logs that a session goes on with another leg. */
export function reportReplacement({ lost, ...how }: Replacement, identity: object, log: Log): void {
  log.info({ ...identity, ...how, lostItems: lost.items, lostAudioMs: lost.audio_ms }, 'session.replaced');
}

/** Logs once a session that what its user says does not become words, and what the operator can do about it. */
export function reportUntranscribed(code: string, model: string, identity: object, log: Log): void {
  const detail =
    code === 'DeploymentNotFound'
      ? `The transcription model "${model}" is no deployment of this resource: deploy it under that name, or name one that is deployed.`
      : 'The upstream could not transcribe what the user said.';
  log.warn({ ...identity, code, model, detail }, 'transcription.failed');
}

/** Counts and logs a call of a tool that is over: never its arguments or what it brought. */
export function reportCall(
  { tool, callId, result, ms, hasRun }: CallReport,
  { id, requestId }: Admission,
  metrics: Metrics,
  log: Log,
): void {
  const { outcome, bytes, status, error, azure } = result;
  const name = tool?.name ?? 'other';
  const seconds = Math.round(ms) / 1000;
  metrics.toolCalled(name, outcome, hasRun ? seconds : null);
  if (outcome === 'timeout' || outcome === 'failed') metrics.upstreamError('tool', outcome);
  const line = {
    ...{ session: id, requestId, tool: name, ...(tool && { runs: tool.runs }), call: callId },
    ...{
      outcome,
      seconds,
      bytes,
      ...(status !== undefined && { status }),
      ...(error && { error }),
      ...(azure && { azure }),
    },
  };
  log[outcome === 'ok' ? 'info' : 'warn'](line, 'tool.called');
}

/** Logs that upstream did not take the output of a call. */
export function reportOutputRefused(call: string, code: unknown, { id, requestId }: Admission, log: Log): void {
  // A code is upstream's text: only what looks like one may reach the log.
  const known = typeof code === 'string' && /^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(code) ? code : 'other';
  log.warn({ session: id, requestId, call, code: known }, 'tool.output_refused');
}

/** Logs one dial: at debug when it succeeded, since the line of the opening says so too. */
export function reportDial(event: DialEvent, { id, requestId, principal }: Admission, log: Log): void {
  const { upstream, outcome, seconds, status, failure } = event;
  const what = { session: id, requestId, upstream, outcome, seconds };
  if (outcome === 'ok' || outcome === 'aborted') {
    log.debug(what, 'upstream.dialed');
    return;
  }
  const own = { ...what, status, error: failure, azure: failure?.requestIds };
  const line = { about: `${outcome} ${upstream} ${userKey(principal)}`, common: { upstream, outcome }, own };
  logRepeated(log, 'warn', line, 'upstream.dialed');
}

/** The record of what a session cost; times are in milliseconds since 1970. */
export function usageOf(
  { id, principal, profile }: Admission,
  dialed: Where | null,
  usage: Readonly<Usage>,
  { audioSecondsUp, audioSecondsDown }: Totals,
  { startedAt, endedAt, complete }: { startedAt: number; endedAt: number; complete: boolean },
): UsageRecord {
  return {
    session: id,
    subject: principal.subject,
    tenant: principal.tenant,
    profile: profile.name,
    upstream: dialed?.upstream.name ?? '',
    started_at: new Date(startedAt).toISOString(),
    ended_at: new Date(endedAt).toISOString(),
    minutes: Math.round((endedAt - startedAt) / 600) / 100,
    input_audio_seconds: audioSecondsUp,
    output_audio_seconds: audioSecondsDown,
    ...usage,
    complete,
  };
}

/** Whose fault it is that a session failed. */
function originOf({ reason, cause, closeCode }: End): Origin {
  if (reason === 'internal') return 'relay';
  if (reason === 'upstream_lost' && (closeCode === undefined || closeCode === 1006)) return 'network';
  // A configuration that upstream refuses, in words of its own, is the operator's.
  if (reason === 'upstream_configuration_failed' && cause !== undefined) return 'relay';
  return originOfDial(cause);
}

/** Whose fault it is that a dial failed. */
export function originOfDial(failure: unknown): Origin {
  return (failure instanceof DialFailure && faultOf(failure)) || 'upstream';
}

/** Counts and logs the end of a session. */
export function reportEnd(end: End, identity: object, metrics: Metrics, log: Log): void {
  const { reason, initiator, milliseconds, totals, detail, closeCode, cause, phase, ...counts } = end;
  const failed = initiator === 'upstream' && isRetryable(reason);
  metrics.sessionEnded(reason, initiator, milliseconds / 1000, end.ready);
  // A dial that the pool has told of is counted as such.
  const isCounted = cause instanceof DialFailure && cause.isCounted;
  if ((failed || reason === 'internal') && !isCounted) metrics.upstreamError(originOf(end), reason);
  const rejected = rejectedOf(cause);
  const slowIn = phase ?? (cause instanceof DialFailure ? cause.phase : null);
  const level = reason === 'internal' ? 'error' : failed ? 'warn' : 'info';
  log[level](
    {
      ...identity,
      reason,
      initiator,
      seconds: milliseconds / 1000,
      ...counts,
      ...totals,
      ...(detail && { detail }),
      ...(closeCode !== undefined && { closeCode }),
      ...(rejected && { rejected }),
      ...(slowIn !== null && { phase: slowIn }),
      ...(cause !== undefined && { error: cause }),
    },
    'session.ended',
  );
}

/** What a trace says about a session, its dials and its end: the log's words, without the user. */
export const traced = {
  session: ({ id, requestId, profile, dialect }: Admission): TraceAttributes => ({
    'relay.session.id': id,
    'relay.request.id': requestId,
    'relay.profile': profile.name,
    'relay.dialect': dialect,
  }),
  upstream: (dialed: Where | null): TraceAttributes =>
    dialed ? { 'relay.upstream': dialed.upstream.name, 'relay.upstream.dialect': dialed.upstream.dialect } : {},
  dial: ({ upstream, outcome, seconds, status }: DialEvent, now: number): TracePart => ({
    from: now - seconds * 1000,
    to: now,
    attributes: {
      'relay.upstream': upstream,
      'relay.reason': outcome,
      ...(status !== undefined && { 'http.response.status_code': status }),
    },
    // Given up because the client left: nobody failed.
    failure: outcome === 'ok' || outcome === 'aborted' ? undefined : outcome,
  }),
  call: ({ tool, result: { outcome, status }, ms }: CallReport, now: number): TracePart => ({
    from: now - ms,
    to: now,
    attributes: {
      'relay.tool': tool?.name ?? 'other',
      'relay.reason': outcome,
      ...(status !== undefined && { 'http.response.status_code': status }),
    },
    failure: outcome === 'ok' ? undefined : outcome,
  }),
  end: ({ initiator, totals }: End, dialed: Where | null): TraceAttributes => ({
    ...traced.upstream(dialed),
    'relay.initiator': initiator,
    'relay.turns': totals.turns,
  }),
};

/**
 * Every metric the relay publishes. What is counted per event is a plain number here and becomes a Prometheus sample
 * only when it is scraped. Label values come from closed sets: never a user, a session or a name somebody sent.
 */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ExitId } from '../errors.js';
import type { Dialect } from '../protocol/catalogue.js';
import { countDeliveries } from './deliveries.js';
import {
  type ControlOutcome,
  type ControlVerb,
  controlOutcomes,
  controlVerbs,
  errorCodes,
  type Initiator,
  type Odd,
  type Origin,
  odds,
  type ReloadOutcome,
  reloadOutcomes,
  type StoreCall,
  storeCalls,
  type TokenKind,
  transcriptionCodes,
} from './labels.js';
import { publishLive } from './live.js';
import { countReplacements } from './replacements.js';
import { countReplicated } from './replicated.js';
import { countResumes } from './resumes.js';
import { countToolCalls } from './toolcalls.js';
import { countTraffic } from './traffic.js';

export type Metrics = ReturnType<typeof createMetrics>;

/** Makes the relay's metrics in a registry of their own. */
export function createMetrics(
  options: { process?: boolean; replicated?: boolean; linesDropped?: () => number; workersSilent?: () => number } = {},
) {
  const registry = new Registry();
  const registers = [registry];
  if (options.process !== false) collectDefaultMetrics({ register: registry });

  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name, help, labelNames: [...labelNames], registers });
  const histogram = <L extends string>(name: string, help: string, buckets: number[], labelNames: readonly L[] = []) =>
    new Histogram<L>({ name, help, buckets, labelNames: [...labelNames], registers });

  const { watch, countSecrets } = publishLive(registers);

  const sessions = counter('relay_sessions_total', 'Admitted sessions by whether they became ready', ['outcome']);
  const ends = counter('relay_session_ends_total', 'Ended sessions by exit id and who ended them', [
    'reason',
    'initiator',
  ]);
  const clients = counter('relay_clients_total', 'Admitted sessions by the protocol and the library of the client', [
    'dialect',
    'sdk',
  ]);
  const duration = histogram(
    'relay_session_duration_seconds',
    'Length of ended sessions',
    [1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600],
  );
  const refusals = counter('relay_refusals_total', 'Handshakes and requests refused before a session existed', [
    'reason',
  ]);
  const ready = histogram(
    'relay_session_ready_seconds',
    'From the end of the handshake until the client may talk',
    [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 20],
  );
  const dial = histogram(
    'relay_upstream_dial_seconds',
    'Time to open an upstream WebSocket; kind says why one failed',
    [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10],
    ['upstream', 'outcome', 'kind'],
  );
  const entra = histogram(
    'relay_entra_token_seconds',
    'Time to obtain a Microsoft Entra token',
    [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    ['outcome'],
  );
  const firstAudio = histogram(
    'relay_first_audio_seconds',
    "From the end of the user's speech, the commit or response.create to the first audio of the answer",
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5],
  );
  const slow = counter('relay_slow_path_total', 'Messages that had to be parsed, by what took them off the fast path', [
    'reason',
  ]);
  const odd = counter('relay_upstream_odd_events_total', 'What upstream sent and is no proper event, by what is odd', [
    'kind',
  ]);
  for (const kind of odds) odd.inc({ kind }, 0);
  const held = counter('relay_held_seconds_total', 'Time a side was read but nothing of it was passed on', ['why']);
  const tokens = counter(
    'relay_tokens_total',
    'Model tokens reported by upstream; each token is in one kind only, but those of kind other may be in a second one',
    ['kind'],
  );
  const transcriptions = counter(
    'relay_transcriptions_failed_total',
    'Utterances that upstream could not put into words, by its code; DeploymentNotFound: the model is no deployment',
    ['code'],
  );
  for (const code of [...transcriptionCodes, 'other']) transcriptions.inc({ code }, 0);
  const tools = countToolCalls({ counter, histogram });
  const replacements = countReplacements({ counter, histogram });
  const interruptions = counter('relay_interruptions_total', 'Answers cut short because the user spoke');
  const upstreamErrors = counter('relay_upstream_errors_total', 'Errors around the upstream, by whose they are', [
    'origin',
    'code',
  ]);
  const { webhookDelivered, usageRecord } = countDeliveries(registers);
  const violations = counter(
    'relay_call_violations_total',
    'Changes of a WebRTC session by its browser that the profile forbids',
  );
  const revocations = counter(
    'relay_revocations_total',
    'Requests to withdraw tokens, by whether they were carried out',
    ['kind', 'outcome'],
  );
  // There from the start, so that the first one that failed is an increase.
  for (const kind of ['user', 'token']) {
    for (const outcome of ['done', 'failed']) revocations.inc({ kind, outcome }, 0);
  }
  const control = counter(
    'relay_control_requests_total',
    'Requests of backends about live sessions, by what they ask and what became of it',
    ['verb', 'outcome'],
  );
  for (const verb of controlVerbs) for (const outcome of controlOutcomes) control.inc({ verb, outcome }, 0);
  const storeErrors = counter(
    'relay_store_errors_total',
    'Calls that the store of places, budgets and secrets failed',
    ['call'],
  );
  for (const call of storeCalls) storeErrors.inc({ call }, 0);
  const reloads = counter(
    'relay_config_reloads_total',
    'Readings of the changed file of settings by what came of them',
    ['outcome'],
  );
  for (const outcome of reloadOutcomes) reloads.inc({ outcome }, 0);
  const rateLimit = new Gauge({
    name: 'relay_rate_limit_remaining',
    help: 'What upstream last reported as left of a rate limit',
    labelNames: ['upstream', 'name'],
    aggregator: 'min',
    registers,
  });
  new Gauge({
    name: 'relay_workers_silent',
    help: 'Worker processes that have not been heard for five seconds; they get no new connections',
    registers,
    collect() {
      this.set(options.workersSilent?.() ?? 0);
    },
  });
  const shed = counter('relay_shed_total', 'Sessions ended because the instance was short of memory or time', ['want']);
  for (const want of ['memory', 'time'] as const) shed.inc({ want }, 0);
  const loopDelay = new Gauge({
    name: 'relay_loop_delay_seconds',
    help: 'What an event waited on the average in the last second, because the process was busy',
    aggregator: 'max',
    registers,
  });
  const hung = counter('relay_workers_hung_total', 'Worker processes that were killed because they hung');
  const restarts = counter('relay_worker_restarts_total', 'Worker processes that died and were started again');

  new Counter({
    name: 'relay_log_lines_dropped_total',
    help: 'Lines of the log that could not be written',
    registers,
    collect() {
      this.reset();
      this.inc(options.linesDropped?.() ?? 0);
    },
  });
  const traffic = countTraffic(registers);

  return {
    registry,
    /** Counted on every event; see Traffic. */
    traffic,
    /** What is known of Redis; null without. */
    replicated: options.replicated ? countReplicated(registers) : null,
    /** Says where gauges are read from. */
    watch,
    /** Says where the unused client secrets are counted: in the process that has the store. */
    countSecrets,
    storeFailed(call: StoreCall): void {
      storeErrors.inc({ call });
    },
    configReloaded(outcome: ReloadOutcome): void {
      reloads.inc({ outcome });
    },
    /** @param sdk a name of the closed list in the session's census */
    clientAdmitted(dialect: Dialect, sdk: string): void {
      clients.inc({ dialect, sdk });
    },
    sessionReady(seconds: number): void {
      sessions.inc({ outcome: 'ready' });
      ready.observe(seconds);
    },
    sessionEnded(reason: ExitId, initiator: Initiator, seconds: number, wasReady: boolean): void {
      if (!wasReady) sessions.inc({ outcome: 'failed' });
      ends.inc({ reason, initiator });
      duration.observe(seconds);
    },
    refused(reason: ExitId): void {
      refusals.inc({ reason });
    },
    /** @param kind why it failed, of the closed set of kinds; empty where it did not */
    dialed(upstream: string, outcome: string, kind: string, seconds: number): void {
      dial.observe({ upstream, outcome, kind }, seconds);
    },
    tokenFetched(outcome: 'ok' | 'failed', seconds: number): void {
      entra.observe({ outcome }, seconds);
    },
    firstAudio(seconds: number): void {
      firstAudio.observe(seconds);
    },
    slowPath(reason: string): void {
      slow.inc({ reason });
    },
    odd(kind: Odd): void {
      odd.inc({ kind });
    },
    /** @param why one of the reasons for which a leg is held */
    held(why: string, seconds: number): void {
      held.inc({ why }, seconds);
    },
    tokens(kind: TokenKind, count: number): void {
      if (count > 0) tokens.inc({ kind }, count);
    },
    /** Counts an utterance without words; returns the code as it is counted. */
    untranscribed(code: unknown): string {
      const known = typeof code === 'string' && transcriptionCodes.has(code) ? code : 'other';
      transcriptions.inc({ code: known });
      return known;
    },
    ...tools,
    ...replacements,
    interrupted(): void {
      interruptions.inc();
    },
    upstreamError(origin: Origin, code: string): void {
      upstreamErrors.inc({ origin, code: errorCodes.has(code) ? code : 'other' });
    },
    callViolated(): void {
      violations.inc();
    },
    revoked(kind: 'user' | 'token', outcome: 'done' | 'failed'): void {
      revocations.inc({ kind, outcome });
    },
    resumed: countResumes(registers),
    controlled(verb: ControlVerb, outcome: ControlOutcome): void {
      control.inc({ verb, outcome });
    },
    shed(want: 'memory' | 'time'): void {
      shed.inc({ want });
    },
    loopDelayed(seconds: number): void {
      loopDelay.set(seconds);
    },
    workerHung(): void {
      hung.inc();
    },
    workerRestarted(): void {
      restarts.inc();
    },
    webhookDelivered,
    usageRecord,
    rateLimit(upstream: string, name: 'requests' | 'tokens', remaining: number): void {
      rateLimit.set({ upstream, name }, remaining);
    },
  };
}

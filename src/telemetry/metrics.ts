/**
 * Every metric the relay publishes. What is counted per event is a plain number here and becomes a Prometheus sample
 * only when it is scraped. Label values come from closed sets: never a user, a session or a name somebody sent.
 */

import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type ExitId, exitIds } from '../errors.js';
import {
  clientEvents,
  type Dialect,
  type Direction,
  previewClientEvents,
  previewServerEvents,
  serverEvents,
} from '../protocol/catalogue.js';
import { version } from '../version.js';

/** What became of a usage record. `failed`: every attempt was; `dropped`: for want of room, or of time at shutdown. */
export type DeliveryOutcome = 'delivered' | 'failed' | 'dropped';

/** What became of one event. */
/** `trimmed` counts beside the others: an event of which the profile let some fields not through. */
const decisions = ['forward', 'rebuild', 'answer', 'drop', 'refuse', 'report', 'trimmed'] as const;
type Decision = (typeof decisions)[number];

/** Who brought a session to its end. */
export type Initiator = 'client' | 'upstream' | 'relay';

/** Whose fault an error is. */
export type Origin = 'client' | 'relay' | 'upstream' | 'identity' | 'network' | 'tool';

/** What upstream sends now and then and is no event; half a character is passed on, all else is dropped. */
const odds = ['binary', 'malformed', 'ambiguous', 'too_big', 'half_character'] as const;
/** One of them. */
export type Odd = (typeof odds)[number];

/**
 * Kinds of tokens; cached ones are counted in `cached_*` only, so that the kinds add up to the total. `other` is what
 * upstream counts under names that this version does not know, perhaps in one of the other kinds as well.
 */
export type TokenKind =
  | 'input_text'
  | 'input_audio'
  | 'input_image'
  | 'cached_text'
  | 'cached_audio'
  | 'cached_image'
  | 'output_text'
  | 'output_audio'
  | 'other';

/** Why input transcription fails. Source: recordings of live sessions, and the Realtime API's documented error codes. */
const transcriptionCodes = new Set([
  'DeploymentNotFound',
  'audio_unintelligible',
  'rate_limit_exceeded',
  'insufficient_quota',
  'server_error',
  'internal_error',
]);

/** What is asked of the store. */
const storeCalls = ['enter', 'settle', 'leave', 'forget', 'put', 'look', 'take'] as const;
type StoreCall = (typeof storeCalls)[number];

/** What becomes of the file of settings when it is read again. */
const reloadOutcomes = ['reloaded', 'unchanged', 'rejected'] as const;
/** One of them. */
export type ReloadOutcome = (typeof reloadOutcomes)[number];

const directions = ['up', 'down'] as const;
const typeNames = [
  ...new Set<string>([...clientEvents, ...previewClientEvents, ...serverEvents, ...previewServerEvents]),
  'other',
];
const typeIndex = new Map(typeNames.map((name, index) => [name, index]));
const otherType = typeNames.length - 1;

/** Error codes worth a series of their own; all else is `other`. Source: the Realtime API's documented error codes. */
const errorCodes = new Set<string>([
  ...exitIds,
  'rate_limit_exceeded',
  'insufficient_quota',
  'server_error',
  'internal_error',
  'content_filter',
  'conversation_already_has_active_response',
  'response_cancel_not_active',
  'input_audio_buffer_commit_empty',
  'invalid_value',
  'unknown_parameter',
  'missing_required_parameter',
]);

/** A histogram of plain numbers, for what is observed on every event. */
class Tally {
  readonly #counts: Float64Array;
  #sum = 0;
  constructor(readonly bounds: readonly number[]) {
    this.#counts = new Float64Array(bounds.length + 1);
  }
  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.bounds.length && value > (this.bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
  }
  /** Samples in Prometheus' cumulative form. */
  samples(name: string, labels: Record<string, string>): MetricSample[] {
    const out: MetricSample[] = [];
    let total = 0;
    for (let i = 0; i <= this.bounds.length; i++) {
      total += this.#counts[i] as number;
      out.push({ labels: { ...labels, le: this.bounds[i] ?? '+Inf' }, value: total, metricName: `${name}_bucket` });
    }
    out.push({ labels, value: this.#sum, metricName: `${name}_sum` });
    out.push({ labels, value: total, metricName: `${name}_count` });
    return out;
  }
}

interface MetricSample {
  labels: Record<string, string | number>;
  value: number;
  metricName: string;
}

/** The numbers of one direction, added to on every event. */
class Traffic {
  bytes = 0;
  audioSeconds = 0;
  backpressureSeconds = 0;
  readonly latency = new Tally([
    0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05,
  ]);
  readonly #events = new Float64Array(typeNames.length * decisions.length);

  /** Counts one event; a type nobody knows counts as `other`. */
  event(type: string, decision: Decision): void {
    const slot = (typeIndex.get(type) ?? otherType) * decisions.length + decisions.indexOf(decision);
    this.#events[slot] = (this.#events[slot] as number) + 1;
  }

  /** Calls back with every non-zero count. */
  each(visit: (type: string, decision: Decision, count: number) => void): void {
    this.#events.forEach((count, slot) => {
      if (count === 0) return;
      visit(
        typeNames[Math.floor(slot / decisions.length)] as string,
        decisions[slot % decisions.length] as Decision,
        count,
      );
    });
  }
}

/** What the metrics ask of the running relay when they are scraped. */
export interface Live {
  sessions(): number;
  /** How many there may be. */
  sessionsLimit(): number;
  /** Whether `/readyz` would say so; asks nobody. */
  isReady(): boolean;
  bufferedBytes(direction: Direction): number;
  /** Withdrawn users and tokens that are remembered. */
  revocations(): number;
  /** Seconds until the upstream token runs out, by upstream; absent where an API key is used. */
  tokenSeconds(): ReadonlyMap<string, number>;
  /** Seconds until the certificate of the public listener runs out; null, or left out, where it speaks no TLS. */
  certificateSeconds?(): number | null;
}

export type Metrics = ReturnType<typeof createMetrics>;

/** Makes the relay's metrics in a registry of their own. */
export function createMetrics(
  options: { process?: boolean; linesDropped?: () => number; workersSilent?: () => number } = {},
) {
  const registry = new Registry();
  const registers = [registry];
  if (options.process !== false) collectDefaultMetrics({ register: registry });
  let live: Live | null = null;
  let unusedSecrets: () => number = () => 0;

  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name, help, labelNames: [...labelNames], registers });
  const histogram = <L extends string>(name: string, help: string, buckets: number[], labelNames: readonly L[] = []) =>
    new Histogram<L>({ name, help, buckets, labelNames: [...labelNames], registers });

  new Gauge({
    name: 'relay_build_info',
    help: 'Always 1; the labels say which version of the relay runs on which of Node',
    labelNames: ['version', 'node'],
    // One build, in however many processes.
    aggregator: 'max',
    registers,
  }).set({ version, node: process.versions.node }, 1);
  new Gauge({
    name: 'relay_ready',
    help: 'Whether the relay takes new sessions, as /readyz says: 1 or 0',
    // With workers it does when one of them does.
    aggregator: 'max',
    registers,
    collect() {
      this.set(Number(live?.isReady() ?? false));
    },
  });
  new Gauge({
    name: 'relay_sessions_limit',
    help: 'Sessions that there may be at the same time',
    // One limit for all processes together.
    aggregator: 'max',
    registers,
    collect() {
      this.set(live?.sessionsLimit() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_sessions_active',
    help: 'Sessions that exist now, from admission to end',
    registers,
    collect() {
      this.set(live?.sessions() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_buffered_bytes',
    help: 'Bytes waiting to be written to the receiving side, over all sessions',
    labelNames: ['direction'],
    registers,
    collect() {
      for (const direction of directions) this.set({ direction }, live?.bufferedBytes(direction) ?? 0);
    },
  });
  new Gauge({
    name: 'relay_revocations',
    help: 'Withdrawn users and tokens that are remembered',
    // Every process has them all.
    aggregator: 'max',
    registers,
    collect() {
      this.set(live?.revocations() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_client_secrets',
    help: 'Client secrets that are minted, not run out and not used',
    registers,
    collect() {
      this.set(unusedSecrets());
    },
  });
  new Gauge({
    name: 'relay_entra_token_expiry_seconds',
    help: 'Seconds until the cached Microsoft Entra token runs out',
    labelNames: ['upstream'],
    aggregator: 'min',
    registers,
    collect() {
      // An upstream that is no longer configured leaves no value behind.
      this.reset();
      for (const [upstream, seconds] of live?.tokenSeconds() ?? []) this.set({ upstream }, seconds);
    },
  });

  new Gauge({
    name: 'relay_certificate_expiry_seconds',
    help: 'Seconds until the certificate of the public listener runs out; below 0 it has',
    aggregator: 'min',
    registers,
    collect() {
      const seconds = live?.certificateSeconds?.() ?? null;
      if (seconds === null) this.remove();
      else this.set(seconds);
    },
  });

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
  const interruptions = counter('relay_interruptions_total', 'Answers cut short because the user spoke');
  const upstreamErrors = counter('relay_upstream_errors_total', 'Errors around the upstream, by whose they are', [
    'origin',
    'code',
  ]);
  const usageRecords = counter('relay_usage_records_total', 'Usage records for the webhook by what became of them', [
    'outcome',
  ]);
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

  const up = new Traffic();
  const down = new Traffic();
  const traffic = { up, down };
  const scraped = (name: string, help: string, labelNames: string[], collect: (metric: Counter<string>) => void) =>
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        collect(this);
      },
    });
  scraped('relay_log_lines_dropped_total', 'Lines of the log that could not be written', [], (metric) =>
    metric.inc(options.linesDropped?.() ?? 0),
  );
  scraped(
    'relay_events_total',
    'Events by what became of them; trimmed ones count beside the others',
    ['direction', 'type', 'decision'],
    (metric) => {
      for (const direction of directions)
        traffic[direction].each((type, decision, count) => {
          metric.inc({ direction, type, decision }, count);
        });
    },
  );
  const perDirection = (name: string, help: string, of: (of: Traffic) => number) =>
    scraped(name, help, ['direction'], (metric) => {
      for (const direction of directions) metric.inc({ direction }, of(traffic[direction]));
    });
  perDirection('relay_bytes_total', 'Payload bytes received', (of) => of.bytes);
  perDirection('relay_audio_seconds_total', 'Seconds of audio relayed', (of) => of.audioSeconds);
  perDirection(
    'relay_backpressure_seconds_total',
    'Time a side was not read because the other did not keep up',
    (of) => of.backpressureSeconds,
  );
  const latencyName = 'relay_added_latency_seconds';
  const latencyHelp = 'From the arrival of an event to its hand-over to the other socket';
  // prom-client has no public form for a histogram whose buckets are kept elsewhere; this answers what its registry asks.
  class Latency extends Histogram<'direction'> {
    override get() {
      const values = directions.flatMap((direction) => traffic[direction].latency.samples(latencyName, { direction }));
      const metric = { name: latencyName, help: latencyHelp, type: 'histogram', values, aggregator: 'sum' };
      return Promise.resolve(metric) as never;
    }

    /** What the text form of `/metrics` is made from (prom-client 15.1). */
    getForPromString() {
      return this.get();
    }
  }
  new Latency({ name: latencyName, help: latencyHelp, labelNames: ['direction'], registers });

  return {
    registry,
    /** Counted on every event; see Traffic. */
    traffic: traffic as Readonly<Record<Direction, Traffic>>,
    /** Says where gauges are read from. */
    watch(source: Live): void {
      live = source;
    },
    /** Says where the unused client secrets are counted: in the process that has the store. */
    countSecrets(source: () => number): void {
      unusedSecrets = source;
    },
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
    usageRecord(outcome: DeliveryOutcome): void {
      usageRecords.inc({ outcome });
    },
    rateLimit(upstream: string, name: 'requests' | 'tokens', remaining: number): void {
      rateLimit.set({ upstream, name }, remaining);
    },
  };
}

/** The metrics of one process at one moment, as plain data. */
export type Snapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/** What of a process outlives it: a sum that fell would look like a restart of everything. */
export function lastingPart(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ type }) => lasting.includes(String(type)));
}

const lasting = ['counter', 'histogram'];

/** How the metrics of Node are put together where a sum or a mean would hide the one process that is in trouble. */
const ofNode: Readonly<Record<string, 'first' | 'max' | 'min'>> = {
  process_start_time_seconds: 'first',
  process_open_fds: 'max',
  process_max_fds: 'min',
  nodejs_eventloop_lag_seconds: 'max',
  nodejs_eventloop_lag_mean_seconds: 'max',
  nodejs_eventloop_lag_stddev_seconds: 'max',
  nodejs_eventloop_lag_p50_seconds: 'max',
  nodejs_eventloop_lag_p90_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
};

/** One registry for several processes: sums, or what fits the metric better; `first` is that of the first snapshot. */
export function mergeSnapshots(snapshots: readonly Snapshot[]): Pick<Registry, 'metrics' | 'getMetricsAsJSON'> {
  const named = snapshots.map((snapshot) =>
    snapshot.map((metric) => {
      const aggregator = ofNode[metric.name];
      return aggregator ? { ...metric, aggregator } : metric;
    }),
  );
  return AggregatorRegistry.aggregate(named);
}

/** The metrics of several processes, put together. */

import { AggregatorRegistry, type Registry } from 'prom-client';

/** The metrics of one process at one moment, as plain data. */
export type Snapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

const lasting = ['counter', 'histogram'];

/** What of a process outlives it: a sum that fell would look like a restart of everything. */
export function lastingPart(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ type }) => lasting.includes(String(type)));
}

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

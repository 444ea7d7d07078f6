/** What is counted of the state that several replicas have in common in Redis. */

import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { StoreCall } from './labels.js';

/** What is looked up when the metrics are scraped. */
export interface LiveReplicas {
  isUp(): boolean;
  /** For how long Redis is away; null while it is there. */
  awayMs(): number | null;
  /** Sessions of this replica that have no place there. */
  overLimit(): number;
  /** Replicas that live, this one included. */
  replicas(): number;
}

/** Publishes what a relay with Redis has beside the rest. */
export function countReplicated(registers: Registry[]) {
  let live: LiveReplicas | null = null;
  let awaySeconds = 0;
  const gauge = (name: string, help: string, value: (source: LiveReplicas) => number) =>
    new Gauge({
      name,
      help,
      // Of several processes one has Redis.
      aggregator: 'max',
      registers,
      collect() {
        this.set(live ? value(live) : 0);
      },
    });
  gauge('relay_store_up', 'Whether Redis answers and can be written to: 1 or 0', ({ isUp }) => Number(isUp()));
  gauge('relay_sessions_over_limit', 'Sessions that go on although there is no place for them in Redis', (source) =>
    source.overLimit(),
  );
  gauge('relay_replicas', 'Replicas that live and share one Redis, this one included', (source) => source.replicas());
  const seconds = new Histogram({
    name: 'relay_store_seconds',
    help: 'Time that Redis took to answer',
    labelNames: ['call'],
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1],
    registers,
  });
  new Counter({
    name: 'relay_store_away_seconds_total',
    help: 'Time for which Redis was out of reach or could not be written to',
    registers,
    collect() {
      this.reset();
      this.inc(awaySeconds + (live?.awayMs() ?? 0) / 1000);
    },
  });
  const emptied = new Counter({
    name: 'relay_store_emptied_total',
    help: 'Times that Redis came back without what it had',
    registers,
  });
  return {
    /** Says where gauges are read from. */
    watch(source: LiveReplicas): void {
      live = source;
    },
    answered(call: StoreCall, took: number): void {
      seconds.observe({ call }, took);
    },
    emptied(): void {
      emptied.inc();
    },
    wasAway(ms: number): void {
      awaySeconds += ms / 1000;
    },
  };
}

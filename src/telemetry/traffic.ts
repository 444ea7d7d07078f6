/** What is counted on every event: plain numbers, which become samples only when they are scraped. */

import { Counter, Histogram, type Registry } from 'prom-client';
import {
  clientEvents,
  type Direction,
  previewClientEvents,
  previewServerEvents,
  serverEvents,
} from '../protocol/catalogue.js';

/** What became of one event; `trimmed` counts beside the others: an event of which the profile let some fields not through. */
const decisions = ['forward', 'rebuild', 'answer', 'drop', 'refuse', 'report', 'trimmed'] as const;
type DecisionLabel = (typeof decisions)[number];

/** Which way an event goes. */
export const directions = ['up', 'down'] as const;
const typeNames = [
  ...new Set<string>([...clientEvents, ...previewClientEvents, ...serverEvents, ...previewServerEvents]),
  'other',
];
const typeIndex = new Map(typeNames.map((name, index) => [name, index]));
const otherType = typeNames.length - 1;

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
export class Traffic {
  bytes = 0;
  audioSeconds = 0;
  backpressureSeconds = 0;
  readonly latency = new Tally([
    0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05,
  ]);
  readonly #events = new Float64Array(typeNames.length * decisions.length);

  /** Counts one event; a type nobody knows counts as `other`. */
  event(type: string, decision: DecisionLabel): void {
    const slot = (typeIndex.get(type) ?? otherType) * decisions.length + decisions.indexOf(decision);
    this.#events[slot] = (this.#events[slot] as number) + 1;
  }

  /** Calls back with every non-zero count. */
  each(visit: (type: string, decision: DecisionLabel, count: number) => void): void {
    this.#events.forEach((count, slot) => {
      if (count === 0) return;
      visit(
        typeNames[Math.floor(slot / decisions.length)] as string,
        decisions[slot % decisions.length] as DecisionLabel,
        count,
      );
    });
  }
}

/** Makes the numbers of both directions, and publishes them. */
export function countTraffic(registers: Registry[]): Readonly<Record<Direction, Traffic>> {
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

  return traffic;
}

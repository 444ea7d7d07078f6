/** The metrics of all workers as one. */

import { lastingPart, mergeSnapshots, type Snapshot } from '../telemetry/merge.js';

/** One process whose metrics are counted; asked for at most as long as it lives. */
export interface Source {
  /** Rejects when the process does not answer. */
  snapshot(): Promise<Snapshot>;
}

/**
 * What workers have counted stays counted when they are gone: to Prometheus a counter that falls has begun anew, and all it
 * shows from there on would count once more.
 */
export class Totals {
  readonly #own: () => Promise<Snapshot>;
  /** The last that was heard of each living worker; null before the first. */
  readonly #last = new Map<Source, Snapshot | null>();
  #past: Snapshot = [];

  /** @param own the metrics of this process */
  constructor(own: () => Promise<Snapshot>) {
    this.#own = own;
  }

  add(source: Source): void {
    this.#last.set(source, null);
  }

  /** Notes what a worker has counted until now. */
  note(source: Source, snapshot: Snapshot): void {
    if (this.#last.has(source)) this.#last.set(source, snapshot);
  }

  /** The worker is gone. What it counted since it was last asked is lost. */
  async remove(source: Source): Promise<void> {
    const last = this.#last.get(source);
    this.#last.delete(source);
    if (!last) return;
    const before = this.#past;
    // In place before anything is waited for, so that none is missing from what is asked meanwhile.
    this.#past = [...before, ...lastingPart(last)];
    const summed = this.#past;
    const merged = await mergeSnapshots([summed]).getMetricsAsJSON();
    if (this.#past === summed) this.#past = merged;
  }

  /** All of them in Prometheus' text form. */
  async metrics(): Promise<string> {
    const [own] = await Promise.all([
      this.#own(),
      ...[...this.#last.keys()].map((source) =>
        source.snapshot().then((snapshot) => this.note(source, snapshot), unanswered),
      ),
    ]);
    const living = [...this.#last.values()].filter((snapshot) => snapshot !== null);
    return mergeSnapshots([own, this.#past, ...living]).metrics();
  }
}

/** What was last heard of it counts then: a gap would look like a restart. */
function unanswered(_error: unknown): void {}

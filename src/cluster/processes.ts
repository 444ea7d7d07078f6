/** The worker processes: started, and started again when they die. */

import cluster, { type Worker } from 'node:cluster';
import type { Log } from '../telemetry/log.js';
import { inTime } from '../wait.js';

/** How a worker learns which one it is: a number from 1 on, which its successors have as well. */
export const workerVariable = 'REALTIME_RELAY_WORKER';

/** How a process ended. */
interface Death {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What is told of workers. */
export interface CrewEvents {
  /** One has been started; returns what to do when it has ended and nothing more will come from it. */
  hired(worker: Worker, number: number): () => void;
  restarted(): void;
}

const firstDelayMs = 100;
/** Of one that never listened: it has a fault that another start does not mend. */
const longestDelayMs = 30_000;
/** Of one that did: what a user can do to it must not become an outage. */
const longestServedMs = 1000;
/** One that has served for this long is replaced at once, whatever happened before. */
const provenMs = 5000;
/** For what a process said before it ended to be heard. */
const lastWordsMs = 200;

export class Crew {
  readonly #events: CrewEvents;
  readonly #log: Log;
  readonly #workers = new Map<number, Worker>();
  readonly #restarts = new Set<NodeJS.Timeout>();
  /** Since when workers listen, by their number. */
  readonly #servedFrom = new Map<number, number>();
  #keeps = false;
  #closed = false;
  #whenEmpty: (() => void) | null = null;
  #unfit: ((death: Death) => void) | null = null;

  constructor(events: CrewEvents, log: Log) {
    this.#events = events;
    this.#log = log;
    cluster.schedulingPolicy = cluster.SCHED_RR;
    // Settings hold maps, and metrics hold NaN; JSON knows neither.
    cluster.setupPrimary({ serialization: 'advanced' });
  }

  /** Starts so many workers; resolves only if one of them ends before `keep` is called, to how it did. */
  start(count: number): Promise<Death> {
    const unfit = new Promise<Death>((resolve) => {
      this.#unfit = resolve;
    });
    for (let number = 1; number <= count; number++) this.#hire(number, 0);
    return unfit;
  }

  /** A worker listens. */
  served(number: number): void {
    this.#servedFrom.set(number, performance.now());
  }

  /** From now on workers that die are replaced. */
  keep(): void {
    this.#keeps = true;
  }

  /** Replaces nobody any more; resolves when the last has ended. Those that take longer than this are killed. */
  async close(ms: number): Promise<void> {
    this.#closed = true;
    for (const timer of this.#restarts) clearTimeout(timer);
    if (this.#workers.size === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    if (await inTime(empty, ms)) return;
    this.#log.error({ workers: [...this.#workers.keys()] }, 'worker.killed');
    this.kill();
    await empty;
  }

  /** Ends all of them at once. */
  kill(): void {
    for (const { process } of this.#workers.values()) process.kill('SIGKILL');
  }

  #hire(number: number, deaths: number): void {
    const worker = cluster.fork({ [workerVariable]: String(number) });
    this.#workers.set(number, worker);
    const gone = this.#events.hired(worker, number);
    void endOf(worker).then((death) => {
      this.#workers.delete(number);
      gone();
      this.#ended(number, worker, death, deaths);
      if (this.#workers.size === 0) this.#whenEmpty?.();
    });
  }

  #ended(number: number, worker: Worker, death: Death, deaths: number): void {
    if (this.#closed) return;
    const { pid } = worker.process;
    if (!this.#keeps) {
      this.#unfit?.(death);
      return;
    }
    const servedFrom = this.#servedFrom.get(number);
    this.#servedFrom.delete(number);
    const isProven = servedFrom !== undefined && performance.now() - servedFrom >= provenMs;
    const longestMs = servedFrom === undefined ? longestDelayMs : longestServedMs;
    const delayMs = isProven ? 0 : Math.min(firstDelayMs * 2 ** deaths, longestMs);
    this.#log.error({ worker: number, pid, ...death, restart_ms: delayMs }, 'worker.died');
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      this.#events.restarted();
      this.#hire(number, isProven ? 0 : deaths + 1);
    }, delayMs);
    this.#restarts.add(timer);
  }
}

/** Resolves when a process has ended and the last it said has been heard. */
function endOf(worker: Worker): Promise<Death> {
  return new Promise((resolve) => {
    let death: Death | null = null;
    let isSilent = false;
    const look = () => {
      if (death && isSilent) resolve(death);
    };
    worker.process.once('exit', (code, signal) => {
      death = { code, signal };
      look();
      // While a connection is on its way to a process, Node puts the end of their line off until that is confirmed. From one
      // that is no more this never comes, and the worker would count among the living for ever.
      setTimeout(() => {
        if (!isSilent) worker.process.emit('disconnect');
      }, lastWordsMs).unref();
    });
    worker.process.once('disconnect', () => {
      isSilent = true;
      look();
    });
    worker.on('error', () => {
      // One that could not even be started ends in no other way.
      if (worker.process.pid === undefined) resolve({ code: null, signal: null });
    });
  });
}

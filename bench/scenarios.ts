/** What is done with each contestant, and what is read off. Every figure but latency is CPU or memory of the contestant. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Contestant, cpuSeconds, residentBytes, type Start, type Upstream } from './contestants.js';
import type { Command, Flooded, Report } from './messages.js';

/** A helper process that is told what to do and answers when it is done. */
class Worker {
  readonly #child: ChildProcess;
  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(file: string, args: string[] = []): Promise<{ worker: Worker; port: number }> {
    const script = fileURLToPath(new URL(file, import.meta.url));
    const child = fork(script, args, { execArgv: ['--import', 'tsx'], serialization: 'advanced' });
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    return { worker: new Worker(child), port };
  }

  tell(command: Command): Promise<Report> {
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error('a helper process of the benchmark ended'));
      this.#child.once('exit', ended);
      this.#child.once('message', (report: Report) => {
        this.#child.off('exit', ended);
        resolve(report);
      });
      this.#child.send(command);
    });
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

/** One contestant with clients connected through it. */
interface Stage {
  readonly contestant: Contestant;
  readonly load: Worker;
  readonly upstream: Worker;
}

/** What one run of one scenario measured; absent where it does not apply. */
export interface Measurement {
  readonly cpuMicrosPerEvent?: number;
  readonly p50Micros?: number;
  readonly p99Micros?: number;
  readonly bytesPerSession?: number;
  readonly cpuMicrosPerConnect?: number;
  readonly peakBytes?: number;
  readonly longestStallMs?: number;
  /** What of one core is left to how many sessions at this pace; extrapolated. */
  readonly sessionsPerCore?: number;
  /** Events that did not arrive, came out of order or changed; anything but 0 is a fault. */
  readonly faults?: number;
}

export interface Scenario {
  readonly name: string;
  readonly what: string;
  run(stage: Stage, size: Size): Promise<Measurement>;
}

/** How much of everything: a full run, or a quick one for CI. */
export interface Size {
  readonly floodEvents: number;
  readonly paceSeconds: number;
  readonly paceSessions: number;
  readonly idleSessions: number;
  /** Sessions opened before connects are counted. */
  readonly warmSessions: number;
}

/*
 * A process that has just started compiles what it runs, and pays for that with its first ten thousands of events and
 * first thousand of sessions. A relay runs for weeks, so every contestant is warmed up before anything is read off.
 */
export const sizes: Record<'full' | 'quick', Size> = {
  full: { floodEvents: 160_000, paceSeconds: 10, paceSessions: 100, idleSessions: 5000, warmSessions: 1500 },
  quick: { floodEvents: 48_000, paceSeconds: 5, paceSessions: 50, idleSessions: 200, warmSessions: 100 },
};

const floodClients = 8;
/** A flood comes in rounds of this many events. */
const roundLength = 16;
/** At this share of one core the extrapolation stops: above it, latency grows. */
const busyShare = 0.7;

/** Waits until the receiving side has seen so many events, or no more come. */
async function arrived(receiver: Worker, expected: number): Promise<Report> {
  let last = -1;
  for (;;) {
    const report = await receiver.tell({ do: 'report' });
    if (report.events >= expected || report.events === last) return report;
    last = report.events;
    await pause(300);
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function connectClients({ contestant, load }: Stage, count: number): Promise<Report> {
  return load.tell({ do: 'connect', url: contestant.url, count, token: contestant.token });
}

async function reset({ load, upstream }: Stage): Promise<void> {
  await pause(200);
  await load.tell({ do: 'reset' });
  await upstream.tell({ do: 'reset' });
}

/** Floods twice, and measures the second time. */
async function flood(stage: Stage, { from, to }: Direction, what: Flooded, events: number) {
  await connectClients(stage, floodClients);
  const each = Math.ceil(events / floodClients / roundLength) * roundLength;
  const expected = each * floodClients;
  await reset(stage);
  await from(stage).tell({ do: 'flood', what, count: each });
  await arrived(to(stage), expected);
  await reset(stage);
  const before = cpuSeconds(stage.contestant.pids);
  await from(stage).tell({ do: 'flood', what, count: each });
  const report = await arrived(to(stage), expected);
  const seconds = cpuSeconds(stage.contestant.pids) - before;
  return { cpuMicrosPerEvent: (seconds * 1e6) / expected, faults: expected - report.events + report.faults };
}

interface Direction {
  readonly from: (stage: Stage) => Worker;
  readonly to: (stage: Stage) => Worker;
}

const up: Direction = { from: ({ load }) => load, to: ({ upstream }) => upstream };
const down: Direction = { from: ({ upstream }) => upstream, to: ({ load }) => load };

export const floodUp: Scenario = {
  name: 'flood up',
  what: '4.3 KB appends as fast as they are taken, 8 sessions',
  run: (stage, { floodEvents }) => flood(stage, up, 'audio', floodEvents),
};

function floodDown(what: Flooded, description: string): Scenario {
  return {
    name: `flood down, ${what}`,
    what: description,
    run: (stage, { floodEvents }) => flood(stage, down, what, (what === 'audio' ? 1 : 2) * floodEvents),
  };
}

export const floodDownAudio = floodDown('audio', '8 KB audio deltas as fast as they are taken, 8 sessions');
export const floodDownText = floodDown('text', '0.25 KB transcript deltas as fast as they are taken, 8 sessions');
export const floodDownBareText = floodDown('bare text', 'the same without the padding of live upstreams');

/** Conversation at its natural pace. */
export function realtimePace(factor: number): Scenario {
  return {
    name: `realtime pace × ${factor}`,
    what: `duplex sessions, 10 appends up, 8 audio and 12 text deltas down a second each (${factor} × the base number)`,
    async run(stage, { paceSeconds, paceSessions }) {
      const { contestant, load, upstream } = stage;
      const sessions = paceSessions * factor;
      await connectClients(stage, sessions);
      await reset(stage);
      await load.tell({ do: 'pace' });
      await upstream.tell({ do: 'pace' });
      await pause(paceSeconds * 500);
      const earlier = [await upstream.tell({ do: 'report' }), await load.tell({ do: 'report' })];
      const before = cpuSeconds(contestant.pids);
      await pause(paceSeconds * 1000);
      const seconds = cpuSeconds(contestant.pids) - before;
      const later = [await upstream.tell({ do: 'report' }), await load.tell({ do: 'report' })];
      const sentUp = (await load.tell({ do: 'stop' })).sent;
      const sentDown = (await upstream.tell({ do: 'stop' })).sent;
      const ends = [await arrived(upstream, sentUp), await arrived(load, sentDown)];
      const latencies = Float64Array.from(
        later.flatMap(({ latencies }, i) => latencies.slice(earlier[i]?.latencies.length)),
      ).sort();
      const events = sum(later, 'events') - sum(earlier, 'events');
      return {
        cpuMicrosPerEvent: (seconds * 1e6) / events,
        p50Micros: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
        p99Micros: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
        // Without a process in between there is nothing to extrapolate.
        ...(seconds > 0 && { sessionsPerCore: Math.round((busyShare * sessions * paceSeconds) / seconds) }),
        faults: sentUp + sentDown - sum(ends, 'events') + sum(ends, 'faults'),
      };
    },
  };
}

function sum(reports: readonly Report[], key: 'events' | 'faults'): number {
  return reports.reduce((total, report) => total + report[key], 0);
}

export const idleSessions: Scenario = {
  name: 'idle sessions',
  what: 'sessions that are open and say nothing: memory of each, and CPU to open one',
  async run(stage, { idleSessions: count, warmSessions }) {
    await connectClients(stage, warmSessions);
    await pause(2000);
    const memory = residentBytes(stage.contestant.pids);
    const before = cpuSeconds(stage.contestant.pids);
    await connectClients(stage, count);
    const seconds = cpuSeconds(stage.contestant.pids) - before;
    await pause(2000);
    return {
      cpuMicrosPerConnect: (seconds * 1e6) / count,
      bytesPerSession: (residentBytes(stage.contestant.pids) - memory) / count,
    };
  },
};

export const refusedHandshakes: Scenario = {
  name: 'refused handshakes',
  what: 'handshakes with a forged token: CPU to refuse one; nothing is dialled',
  async run({ contestant, load }) {
    // Three parts with a signature of the right length, so that it is the signature that has to be checked.
    const [header, claims] = contestant.token.split('.');
    const token = `${header}.${claims}.${'A'.repeat(43)}`;
    await load.tell({ do: 'knock', url: contestant.url, count: 500, token });
    const before = cpuSeconds(contestant.pids);
    const count = 2000;
    await load.tell({ do: 'knock', url: contestant.url, count, token });
    return { cpuMicrosPerConnect: ((cpuSeconds(contestant.pids) - before) * 1e6) / count };
  },
};

/** A side that stops reading while the other goes on. */
export function stalled(side: 'client' | 'upstream'): Scenario {
  return {
    name: `stalled ${side}`,
    what: `one session; the ${side} reads nothing while the other side offers 1 GB`,
    async run(stage) {
      await connectClients(stage, 1);
      await reset(stage);
      const memory = residentBytes(stage.contestant.pids);
      const receiver = side === 'client' ? stage.load : stage.upstream;
      await receiver.tell({ do: 'hold' });
      let peak = 0;
      const offered = Math.ceil(1e9 / 8300 / roundLength) * roundLength;
      if (side === 'client') await stage.upstream.tell({ do: 'flood', what: 'audio', count: offered });
      else void stage.load.tell({ do: 'flood', what: 'audio', count: offered * 2 }).catch(() => undefined);
      for (let i = 0; i < 30; i++) {
        await pause(100);
        peak = Math.max(peak, residentBytes(stage.contestant.pids) - memory);
      }
      return { peakBytes: peak };
    },
  };
}

/** One very large event beside conversations at their natural pace. */
export const largeAppend: Scenario = {
  name: '15 MiB append',
  what: 'a second 15 MiB append beside other sessions; the longest time another event was late',
  async run(stage) {
    await connectClients(stage, 20);
    await stage.load.tell({ do: 'prepare', bytes: 11 * 1024 * 1024 });
    await stage.load.tell({ do: 'pace' });
    await stage.upstream.tell({ do: 'pace' });
    await stage.load.tell({ do: 'large' });
    await pause(1500);
    await reset(stage);
    await stage.load.tell({ do: 'large' });
    await pause(1500);
    const reports = [await stage.upstream.tell({ do: 'report' }), await stage.load.tell({ do: 'report' })];
    await stage.load.tell({ do: 'stop' });
    await stage.upstream.tell({ do: 'stop' });
    return { longestStallMs: Math.max(0, ...reports.flatMap(({ latencies }) => latencies)) / 1000 };
  },
};

/** Runs one scenario once with one contestant, everything of it fresh. */
export async function runOnce(
  scenario: Scenario,
  start: Start,
  size: Size,
  tls: { cert: string; key: string } | null,
): Promise<{ name: string; measured: Measurement }> {
  const { worker: upstream, port } = await Worker.start('./upstream.ts', tls ? [tls.cert, tls.key] : []);
  const { worker: load } = await Worker.start('./load.ts');
  const before: Upstream = { port, certificate: tls?.cert ?? null };
  const contestant = await start(before);
  try {
    return { name: contestant.name, measured: await scenario.run({ contestant, load, upstream }, size) };
  } finally {
    load.stop();
    upstream.stop();
    await contestant.stop();
  }
}

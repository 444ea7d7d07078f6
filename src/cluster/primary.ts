/** The process that has the workers: it holds what they share, answers operators, and never touches a session. */

import type { Worker } from 'node:cluster';
import type { z } from 'zod';
import { createTokenVerifier } from '../admission/verifier.js';
import { readCertificate } from '../config/certificate.js';
import { secretsOf } from '../config/redact.js';
import { followSettings, type SettingsSource } from '../config/reload.js';
import type { Settings } from '../config/settings.js';
import type { Across } from '../control/across.js';
import type { Answer, Command } from '../control/commands.js';
import { type AskOthers, askAll } from '../control/peers.js';
import { addressIn } from '../control/replica.js';
import { createSharedState } from '../control/shared.js';
import type { Health } from '../doors/app.js';
import { openOps } from '../doors/listener.js';
import { RelayError } from '../errors.js';
import { tokenObserver } from '../session/observers.js';
import { answerCall } from '../store/remote.js';
import { backlogOf, conceal, type Log } from '../telemetry/log.js';
import { createMetrics } from '../telemetry/metrics.js';
import { createTargets } from '../upstream/configured.js';
import { createExchange } from './exchange.js';
import { watchHandover } from './handover.js';
import {
  type PrimaryNotice,
  type PrimaryQuestion,
  readiness,
  snapshot,
  workerNotice,
  workerQuestion,
} from './messages.js';
import { Crew } from './processes.js';
import { Pulses } from './pulse.js';
import { Line } from './rpc.js';
import { Totals } from './totals.js';

/** Several relays behind one port. */
export interface Primary {
  readonly url: string;
  readonly opsUrl: string;
  /** What it is called by, with all its workers. */
  readonly replica: string;
  /** Reads the settings again, for all workers. */
  reload(): void;
  /** Lets all workers drain at once; resolves to whether every one of them came to its end by itself. */
  drain(): Promise<boolean>;
  /** Ends all workers at once. */
  kill(): void;
}

/** A worker that did not even start; `code` is that of its exit, null when a signal ended it. */
export class WorkerFailed extends Error {
  constructor(readonly code: number | null) {
    super('A worker ended before it listened.');
    this.name = 'WorkerFailed';
  }
}

/** An operator's question must not wait for a worker that hangs. */
const askMs = 1000;
/** What a worker may take for its end beyond the time it has to drain. */
const graceMs = 3000;

/**
 * Starts the workers; resolves when all of them listen.
 * @param beatMs how often each of them says that it lives
 * @throws ConfigError
 * @throws WorkerFailed
 */
export async function startPrimary(
  settings: Settings,
  log: Log,
  source: SettingsSource,
  beatMs: number,
): Promise<Primary> {
  let current = settings;
  let isDraining = false;
  let isClean = true;
  check(settings);
  conceal(log, secretsOf(settings));

  const lines = new Map<number, Line>();
  /** By their addresses those that have been told what was withdrawn before, and must be told what is from now on. */
  const briefed = new Map<string, Line>();
  const tellAll = (notice: PrimaryNotice) => {
    for (const line of lines.values()) line.tell(notice);
  };
  const pulses = new Pulses(log, () => metrics.workerHung(), beatMs);
  const metrics = createMetrics({
    replicated: settings.redis !== null,
    linesDropped: () => backlogOf(log).dropped,
    workersSilent: () => pulses.silent,
  });
  const state = createSharedState({
    ...{ metrics, log, onToken: tokenObserver(metrics, log), settings: () => current },
    filled: (isFull) => tellAll({ say: 'full', isFull }),
  });
  const { replica, store, memory, revocations } = state;
  const exchange = createExchange(replica, () => across);
  const totals = new Totals(() => metrics.registry.getMetricsAsJSON());

  let url = '';
  let listening = 0;
  let allListen: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    allListen = resolve;
  });

  function hired(worker: Worker, number: number): () => void {
    const source = {
      snapshot: async () => snapshot.parse(await line.ask({ about: 'metrics' } satisfies PrimaryQuestion, askMs)),
    };
    let hasFinished = false;
    const owner = String(worker.process.pid);
    const address = addressIn(replica, owner);
    const pulse = pulses.add({ worker: number, pid: worker.process.pid, kill: () => worker.process.kill('SIGKILL') });
    const handover = watchHandover(worker, () => pulse.isSilent && pulses.hasLiving);
    const misunderstood = (error: unknown) => log.error({ worker: number, error }, 'worker.misunderstood');
    const line: Line = new Line((message, done) => worker.send(message, undefined, undefined, done), {
      heard(received) {
        const notice = workerNotice.parse(received);
        if (notice.say === 'hello') {
          briefed.set(address, line);
          const first: PrimaryNotice[] = [
            { say: 'replica', replica },
            { say: 'revocations', revocations: [...revocations] },
            { say: 'settings', settings: current },
            { say: 'full', isFull: memory.isFull },
          ];
          if (isDraining) first.push({ say: 'drain' });
          for (const one of first) line.tell(one);
        } else if (notice.say === 'listening') {
          url = notice.url;
          pulse.listens();
          crew.served(number);
          if (++listening === settings.workers) allListen();
        } else if (notice.say === 'pass') {
          exchange.pass(notice, line);
        }
      },
      async asked(received) {
        const question = workerQuestion.parse(received);
        if (question.about === 'store') return answerCall(store, question.call);
        if (question.about === 'control') return ask(question.command, question.to);
        hasFinished = true;
        totals.note(source, snapshot.parse(question.metrics));
        return null;
      },
      failed: misunderstood,
    });
    worker.on('message', (message) => {
      pulse.beat();
      line.receive(message);
    });
    lines.set(number, line);
    exchange.add(address, line);
    totals.add(source);
    return () => {
      pulse.remove();
      handover.giveBack();
      line.close();
      lines.delete(number);
      briefed.delete(address);
      exchange.remove(address);
      if (!hasFinished) isClean = false;
      Promise.all([store.forget(owner), totals.remove(source)]).catch(misunderstood);
    };
  }

  /** Who has not been told what was withdrawn before has no sessions either. */
  function carryOut(command: Command, to: string | null): Promise<Answer> {
    const meant = [...briefed].filter(([address]) => to === null || address === to);
    const asks = meant.map(([, line]) => (due: Command, ms: number) => {
      return line.ask({ about: 'control', command: due } satisfies PrimaryQuestion, ms);
    });
    if (command.verb !== 'revoke') return askAll(command, asks);
    return askAll({ ...command, keep: command.keep && revocations.add(command.revocation) }, asks);
  }

  const across: Across | null = state.across({
    carryOut,
    learned(revocations) {
      for (const line of briefed.values()) line.tell({ say: 'revocations', revocations: [...revocations] });
    },
    receive: exchange.receive,
    gone: exchange.gone,
  });
  const ask: AskOthers = across?.ask ?? carryOut;

  const health: Health = {
    async ready() {
      const detail = isDraining ? 'draining' : state.unready();
      if (detail) return { ready: false, detail };
      const answers = [...lines.values()].map(readinessOf);
      // One that hangs does not hold up the good news of another.
      return new Promise((resolve) => {
        for (const answer of answers) void answer.then((one) => one.ready && resolve(one));
        void Promise.all(answers).then(([first = noWorker]) => resolve(first));
      });
    },
  };
  await state.start();
  const ops = await openOps(
    settings,
    { contentType: metrics.registry.contentType, metrics: () => totals.metrics() },
    health,
  );
  const crew = new Crew({ hired, restarted: () => metrics.workerRestarted() }, log);
  const unfit = await Promise.race([crew.start(settings.workers), ready]);
  if (unfit) {
    crew.kill();
    pulses.close();
    await Promise.all([crew.close(graceMs), ops.close(), state.close()]);
    throw new WorkerFailed(unfit.code);
  }
  crew.keep();
  const follower = followSettings(source, settings, apply, log, metrics.configReloaded);

  function apply(next: Settings): void {
    check(next);
    conceal(log, secretsOf(next));
    current = next;
    state.resized();
    ops.keepIdle(next.limits.keep_alive_seconds);
    tellAll({ say: 'settings', settings: next });
  }

  return {
    url,
    opsUrl: ops.url,
    replica,
    reload: follower.reload,
    async drain() {
      log.info({ workers: lines.size, seconds: current.limits.drain_seconds }, 'relay.draining');
      isDraining = true;
      isClean = true;
      follower.close();
      tellAll({ say: 'drain' });
      await crew.close(current.limits.drain_seconds * 1000 + graceMs);
      pulses.close();
      await Promise.all([ops.close(), state.close()]);
      return isClean;
    },
    kill: () => crew.kill(),
  };
}

const noWorker = { ready: false, detail: 'no worker runs' };

async function readinessOf(line: Line): Promise<z.output<typeof readiness>> {
  try {
    return readiness.parse(await line.ask({ about: 'readiness' } satisfies PrimaryQuestion, askMs));
  } catch (error) {
    return { ready: false, detail: `a worker does not answer: ${RelayError.from(error).message}` };
  }
}

/** Finds what is wrong with settings before any worker has them. */
function check(settings: Settings): void {
  createTokenVerifier(settings).close();
  createTargets(settings, () => undefined);
  if (settings.tls) readCertificate(settings.tls);
}

/** One of several relays behind one port: all of it but what the primary holds for all. */

import { EventEmitter, once } from 'node:events';
import type { Settings } from '../config/settings.js';
import { patienceMs } from '../control/commands.js';
import { type Control, createIdleControl } from '../control/control.js';
import { createPeers } from '../control/peers.js';
import { addressIn } from '../control/replica.js';
import { Streams } from '../control/streams.js';
import { RelayError } from '../errors.js';
import { type Relay, type Shared, startRelay } from '../relay.js';
import { createRemoteStore } from '../store/remote.js';
import { Revocations } from '../store/revocations.js';
import { createLog, endLog, type Log } from '../telemetry/log.js';
import { flushTraces } from '../telemetry/trace.js';
import { primaryNotice, primaryQuestion, type WorkerNotice, type WorkerQuestion } from './messages.js';
import { Line } from './rpc.js';

/** For the primary to hear what the others have to say. */
const spareMs = 2000;

/**
 * Runs a worker until the primary lets it drain. When the primary is no more, Node itself ends it (`disconnect` of a
 * cluster's worker).
 * @param number which one it is, for the log
 * @param beatMs how often it says that it lives
 */
export async function runWorker(number: number, beatMs: number): Promise<void> {
  // A terminal and some process managers signal every process; what is to happen is for the primary to say.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined);

  let log: Log | null = null;
  let relay: Relay | null = null;
  let latest: Settings | null = null;
  let isFull = false;
  let replica = '';
  // Bounded by the primary's list, of which it is a copy.
  const revocations = new Revocations(Number.POSITIVE_INFINITY);
  const streams = new Streams({
    // It has heard which replica it is of before anybody can be told its address.
    get address() {
      return addressIn(replica, process.pid);
    },
    tell: (to, message) => tell({ say: 'pass', to, message }),
  });
  let control: Control = createIdleControl(revocations, streams);
  const news = new EventEmitter();
  const line = new Line((message, done) => process.send?.(message, undefined, undefined, done), {
    heard(received) {
      const notice = primaryNotice.parse(received);
      if (notice.say === 'settings') latest = notice.settings;
      if (notice.say === 'replica') replica = notice.replica;
      if (notice.say === 'full') isFull = notice.isFull;
      if (notice.say === 'revocations') {
        for (const one of notice.revocations) revocations.add(one);
        relay?.sessions.endRevoked((principal) => revocations.covers(principal));
      }
      if (notice.say === 'passed') streams.receive(notice.message);
      if (notice.say === 'gone') streams.gone(notice.address, notice.hasDied);
      news.emit(notice.say);
    },
    async asked(received) {
      const question = primaryQuestion.parse(received);
      if (question.about === 'control') return control(question.command);
      if (!relay) throw new RelayError('overloaded', 'This worker has not started yet.');
      return question.about === 'metrics' ? relay.metrics.registry.getMetricsAsJSON() : relay.health.ready();
    },
    failed: (error) => log?.error({ error }, 'worker.misunderstood'),
  });
  const tell = (notice: WorkerNotice) => line.tell(notice);
  const ask = (question: WorkerQuestion, withinMs?: number) => line.ask(question, withinMs);
  const load = (): Settings => {
    if (!latest) throw new Error('the primary has sent no settings');
    return latest;
  };

  const drain = once(news, 'drain');
  const told = once(news, 'settings');
  process.on('message', (message) => line.receive(message));
  tell({ say: 'hello' });
  setInterval(() => tell({ say: 'beat' }), beatMs).unref();
  await told;
  const settings = load();
  log = createLog(settings.logLevel, undefined, number);
  process.on('uncaughtException', (error) => {
    log?.fatal({ error }, 'An error nobody handled; the process ends.');
    process.exit(1);
  });

  const store = createRemoteStore((call) => ask({ about: 'store', call }));
  const shared: Shared = {
    store,
    // The primary has what there is in Redis, and says when it is not ready.
    unready: () => null,
    // It is a copy, and holds what the primary's list has room for.
    resized: () => undefined,
    start: async () => undefined,
    close: () => store.close(),
    replica,
    isFull: () => isFull,
    revocations,
    streams,
    join(joining) {
      control = joining;
      return createPeers(control, streams, (command, to) => {
        return ask({ about: 'control', command, to }, patienceMs(command) + spareMs);
      });
    },
  };
  const started = await startRelay(settings, log, { path: null, load }, null, shared);
  relay = started;
  news.on('settings', started.reload);
  if (latest !== settings) started.reload();
  log.info({ pid: process.pid }, 'worker.started');
  tell({ say: 'listening', url: started.url });

  await drain;
  await started.drain();
  await flushTraces();
  // Answered after all that was said before it was heard.
  const metrics = await started.metrics.registry.getMetricsAsJSON();
  const unheard = (error: unknown) => log?.warn({ error }, 'worker.unheard');
  await ask({ about: 'end', metrics }).catch(unheard);
  log.info('worker.stopped');
  await endLog(log);
}

/** `realtime-relay serve`: the relay as a process, or as several, until a signal ends it. */

import { startPrimary } from '../cluster/primary.js';
import { workerVariable } from '../cluster/processes.js';
import { beatMs } from '../cluster/pulse.js';
import { runWorker } from '../cluster/worker.js';
import { loadConfig } from '../config/load.js';
import type { SettingsSource } from '../config/reload.js';
import type { Settings } from '../config/settings.js';
import { startRelay } from '../relay.js';
import { createLog, endLog, flushLog, type Log } from '../telemetry/log.js';
import { flushTraces } from '../telemetry/trace.js';
import { type CliCommand, exitCodes, options } from './command.js';
import { searchHeapLessOften } from './heap.js';
import { onSignal, untilSignal } from './signals.js';

/** Runs the relay. */
export const serveCommand: CliCommand = {
  help: '  serve                 run the relay; settings come from the environment and RELAY_CONFIG',
  async run(args) {
    options(args, {});
    return (await serve(process.env)) ? exitCodes.ok : exitCodes.failed;
  },
};

/**
 * Serves until it is told to end; resolves to whether all came to a good end.
 * @param everyMs how often workers say that they live
 * @public to test/support/hurried.mjs
 */
export async function serve(env: NodeJS.ProcessEnv, everyMs = beatMs): Promise<boolean> {
  searchHeapLessOften();
  const worker = env[workerVariable];
  if (worker && process.send) {
    await runWorker(Number(worker), everyMs);
    return true;
  }
  const settings = loadConfig(env);
  const log = createLog(settings.logLevel);
  process.on('uncaughtException', (error) => {
    log.fatal({ error }, 'An error nobody handled; the process ends.');
    process.exit(1);
  });
  const path = env.RELAY_CONFIG?.trim() || null;
  const source = { path, load: () => loadConfig(env) };
  // From here on, so that one that comes while the relay starts is heard, too.
  const told = untilSignal();
  const isClean = await (settings.workers > 1
    ? serveWithWorkers(settings, log, source, told, everyMs)
    : serveAlone(settings, log, source, told));
  log.info('relay.stopped');
  await endLog(log);
  return isClean;
}

async function serveAlone(settings: Settings, log: Log, source: SettingsSource, told: Promise<void>): Promise<boolean> {
  const relay = await startRelay(settings, log, source);
  process.on('SIGHUP', relay.reload);
  const upstreams = settings.upstreams.map(({ name }) => name);
  log.info({ url: relay.url, ops: relay.opsUrl, replica: relay.replica, upstreams }, 'relay.started');
  await told;
  onSignal(() => endNow(log));
  await relay.drain();
  await flushTraces();
  return true;
}

/** This process leads the others. */
async function serveWithWorkers(
  settings: Settings,
  log: Log,
  source: SettingsSource,
  told: Promise<void>,
  everyMs: number,
): Promise<boolean> {
  const primary = await startPrimary(settings, log, source, everyMs);
  process.on('SIGHUP', primary.reload);
  const upstreams = settings.upstreams.map(({ name }) => name);
  const { url, opsUrl: ops, replica } = primary;
  log.info({ url, ops, replica, upstreams, workers: settings.workers }, 'relay.started');
  await told;
  onSignal(() => {
    primary.kill();
    endNow(log);
  });
  return primary.drain();
}

/** What a second signal asks for. */
function endNow(log: Log): void {
  flushLog(log);
  process.exit(1);
}

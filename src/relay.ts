/** Puts the relay together: every part is made here once, and given what it needs. */

import { setImmediate as turn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Buckets } from './admission/buckets.js';
import type { AdmissionServices } from './admission/candidate.js';
import { createConnects } from './admission/connects.js';
import { createControls } from './admission/controls.js';
import { createAddressOf } from './admission/forwarded.js';
import { createShares } from './admission/shares.js';
import { createTokenVerifier } from './admission/verifier.js';
import { createClientSecrets } from './auth/secrets.js';
import { createClock } from './clock.js';
import { secretsOf } from './config/redact.js';
import { followSettings, type SettingsSource } from './config/reload.js';
import type { Settings } from './config/settings.js';
import { createOwnPeers } from './control/alone.js';
import type { Control } from './control/control.js';
import { createLocalControl } from './control/local.js';
import type { Peers } from './control/peers.js';
import { createResuming } from './control/resuming.js';
import { createSharedState, type SharedState, secretSealOf } from './control/shared.js';
import type { Streams } from './control/streams.js';
import { createApp, type Health } from './doors/app.js';
import { createAudit } from './doors/audit.js';
import { type DemoDesk, loadConsole } from './doors/console.js';
import { addressOf, closeServer, connectionsOf, createListener, endIdle, listen, openOps } from './doors/listener.js';
import { Sidebands } from './doors/sidebands.js';
import { createGateway } from './doors/upgrade.js';
import { upstreamLeg } from './legs/upstream.js';
import { dialObserver, storeObserver, tokenObserver } from './session/observers.js';
import { Pressure } from './session/pressure.js';
import { Reaches } from './session/reach.js';
import { placesOf, SessionRegistry } from './session/registry.js';
import { Settlements } from './session/settlement.js';
import { watchStore } from './store/watched.js';
import { backlogOf, conceal, createLog, type Log } from './telemetry/log.js';
import { createMetrics, type Metrics } from './telemetry/metrics.js';
import { flushRepeated } from './telemetry/repeats.js';
import type { UsageRecord } from './telemetry/usage.js';
import { createToolbox } from './tools/making.js';
import { createUpstreams } from './upstream/configured.js';
import { probe, probeOptions } from './upstream/probe.js';
import { createReadiness } from './upstream/readiness.js';
import { createScopes } from './upstream/scoped.js';
import { createMail } from './webhooks/mail.js';

/** A running relay. */
export interface Relay {
  /** Address of the public listener, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Address of the operations listener; empty where another process has it. */
  readonly opsUrl: string;
  /** What it is called by in logs and lists, new with each start. */
  readonly replica: string;
  readonly metrics: Metrics;
  readonly sessions: SessionRegistry;
  readonly health: Health;
  /** Reads the settings again, where they have a source; what happens is in the log. */
  reload(): void;
  /** Refuses new sessions, lets running answers finish, ends the rest, and closes. Resolves when all is closed. */
  drain(): Promise<void>;
  /** Ends every session at once and closes. */
  close(): Promise<void>;
}

/** What a relay shares with other processes that serve the same port; one of them has the operations listener. */
export interface Shared extends Omit<SharedState, 'memory' | 'across'> {
  /** Whether no place is left, as far as this process has heard. */
  isFull(): boolean;
  /** Its ways to the others. */
  readonly streams: Streams;
  /** Takes the process in: what carries out what is asked of it from now on, and in return all that have the sessions. */
  join(control: Control): Peers;
}

/** Between the clocks of issuer and relay, at the most. */
const leewaySeconds = 60;
/** For calls to be hung up when nothing else is waited for. */
const lastCallMs = 1000;

/**
 * Starts a relay; resolves when both listeners are open.
 * @param source where the settings are read from again; null for a relay that keeps those it was started with
 * @param desk what makes tokens for the console of the demo; null everywhere else
 * @param shared null for a relay of one process
 */
export async function startRelay(
  settings: Settings,
  log: Log = createLog(settings.logLevel),
  source: SettingsSource | null = null,
  desk: DemoDesk | null = null,
  shared: Shared | null = null,
): Promise<Relay> {
  /** What a session gets that begins now. */
  let current: Settings = settings;
  conceal(log, secretsOf(settings));
  const replicated = settings.redis !== null && !shared;
  const metrics = createMetrics({ replicated, linesDropped: () => backlogOf(log).dropped });
  for (const warning of settings.warnings) log.warn(warning);

  const upstreams = createUpstreams(settings, { onDial: dialObserver(metrics), onToken: tokenObserver(metrics, log) });
  const scopes = createScopes(settings.entra, tokenObserver(metrics, log));
  const toolbox = createToolbox({ proxy: settings.proxy, credentials: scopes });
  const own = shared
    ? null
    : createSharedState({ metrics, log, onToken: tokenObserver(metrics, log), settings: () => current });
  const state = shared ?? (own as SharedState);
  const store = shared ? watchStore(shared.store, storeObserver(metrics, log)) : state.store;
  const verifier = createTokenVerifier(settings);
  const secrets = createClientSecrets(store, { seal: secretSealOf(settings) });
  const { revocations } = state;
  const registry = new SessionRegistry(settings.limits.sessions, (principal) => revocations.covers(principal));
  const home = {
    replica: state.replica,
    hasSeveralIssuers: settings.auth.issuers.flatMap(({ names }) => [...names.keys()]).length > 1,
  };
  const limits = () => current.limits;
  const [clock, resuming] = [createClock(), createResuming(registry)];
  const services = { registry, revocations, home, clock, log, limits, resuming };
  const controlOver = (streams: Streams) => createLocalControl({ ...services, streams });
  const peers = shared
    ? shared.join(controlOver(shared.streams))
    : createOwnPeers(own as SharedState, controlOver, () => registry.endRevoked((one) => revocations.covers(one)));
  const settlements = new Settlements(settings.limits.sessions, clock);
  const mail = createMail(settings, { clock, log, metrics });
  const { origins, queryCredentials, workers } = settings;
  const admission: AdmissionServices = {
    verifier,
    secrets,
    store,
    revocations,
    owner: String(process.pid),
    connects: createConnects(() => current.profiles),
    addressOf: createAddressOf(settings.proxies),
    unavailable: () => upstreams.unavailable(),
    registry: shared ? placesOf(registry, () => shared.isFull()) : registry,
    endGhost: ({ issuer, subject, tenant }) => {
      const ended = peers.ask({ verb: 'end_ghost', user: { issuer, subject, tenant } });
      // Who cannot be asked has ended nobody.
      return ended.catch(() => false);
    },
    origins,
    queryCredentials,
    cookie: settings.auth.cookie,
    issuers: settings.auth.issuers,
    settings: () => current,
  };
  let certificateEndsAt: () => number | null = () => null;
  metrics.watch({
    sessions: () => registry.size,
    detachedSessions: () => [...registry].filter(({ resumption }) => resumption?.isDetached).length,
    sessionsLimit: () => current.limits.sessions,
    isReady: () => !keptFrom() && readiness.known().ready,
    bufferedBytes: (direction) => [...registry].reduce((sum, session) => sum + session.buffered[direction], 0),
    tokenSeconds: () => upstreams.tokenSeconds(),
    sidebands: () => sidebands.size,
    revocations: () => revocations.size,
    certificateSeconds: () => {
      const end = certificateEndsAt();
      return end === null ? null : (end - Date.now()) / 1000;
    },
  });

  const pressure = new Pressure({ registry, metrics, log, workers, limits });
  pressure.ledger.add({ name: 'log', bytes: () => backlogOf(log).bytes });
  pressure.ledger.add({ name: 'webhooks', bytes: mail.bytes });

  /** Why it takes nobody although it could tell who they are and open sessions. */
  const keptFrom = (): string | null => (registry.isDraining ? 'draining' : pressure.isBusy ? 'busy' : state.unready());
  const health: Health = {
    ready() {
      const detail = keptFrom();
      return detail ? { ready: false, detail } : readiness.state();
    },
  };
  const reaches = new Reaches({
    ...{ upstreams, clock, log },
    leg: (dialed, limits) => upstreamLeg(dialed, limits, metrics),
  });
  const tooling = {
    of: toolbox.of,
    places: createShares(() => Math.ceil(current.limits.tools_at_once / workers)),
    rates: new Buckets(),
  };
  const session = {
    clock,
    tooling,
    metrics,
    log,
    settlements,
    webhooks: mail.webhooks,
    hasSeveralIssuers: home.hasSeveralIssuers,
    replica: home.replica,
    opened: () => readiness.proved(),
    used: (record: UsageRecord) => {
      log.info(record, 'session.usage');
      mail.used(record);
    },
  };
  const [controls, audit] = [createControls(), createAudit({ log, metrics })];
  const sidebands = new Sidebands({ admission, peers, controls, audit, clock, log, workers });
  pressure.ledger.add({
    name: 'sidebands',
    bytes: () => sidebands.bufferedBytes,
    shed: (bytes) => sidebands.shed(bytes),
  });
  const gateway = createGateway({ resuming, peers, sidebands, admission, registry, reaches, metrics, log, session });
  const app = createApp({
    admission,
    metrics,
    log,
    health,
    calls: { session, reaches, registry, upstreams },
    control: { peers, controls, tokenSeconds: settings.auth.maxSeconds + leewaySeconds },
    audit,
    hsts: settings.tls ? settings.hsts : 'off',
    console: settings.console ? { files: await loadConsole(), desk } : null,
  });
  const readiness = createReadiness({
    rule: () => current.limits.readiness,
    credential: () => upstreams.ready(),
    keys: () => verifier.warm(),
    probe: (signal) => upstreams.reach(probeOptions(current, signal), probe),
    failed: (need, error) => log.warn({ need, error }, 'readiness.failed'),
  });
  const http = createListener(app, gateway, settings, { metrics, log });
  certificateEndsAt = http.certificateEndsAt;
  registry.watch(connectionsOf(http.server));

  await state.start();
  const [, ops] = await Promise.all([
    listen(http.server, settings.port, settings.host),
    shared ? null : openOps(settings, metrics.registry, health),
  ]);
  upstreams.warm();
  toolbox.use(settings.profiles.values());
  // With workers it is the leader who reads the file, and who counts that.
  const counted = shared ? () => undefined : metrics.configReloaded;
  const follower = source && followSettings(source, settings, apply, log, counted);

  function apply(next: Settings): void {
    conceal(log, secretsOf(next));
    if (!isDeepStrictEqual(current.upstreams, next.upstreams)) upstreams.replace(next);
    toolbox.use(next.profiles.values());
    if (!isDeepStrictEqual(current.webhooks, next.webhooks)) mail.webhooks.use(next.webhooks);
    current = next;
    registry.resize(next.limits.sessions);
    state.resized();
    http.server.headersTimeout = next.limits.handshake_seconds * 1000;
    http.server.requestTimeout = http.server.headersTimeout;
    ops?.keepIdle(next.limits.keep_alive_seconds);
    if (!registry.isDraining) http.server.keepAliveTimeout = next.limits.keep_alive_seconds * 1000;
  }

  async function stop(): Promise<void> {
    flushRepeated(log);
    // What sessions had to say at last is heard first by those who follow them.
    await turn();
    sidebands.close();
    follower?.close();
    pressure.close();
    readiness.close();
    http.unwatch();
    upstreams.close();
    scopes.close();
    verifier.close();
    await Promise.all([closeServer(http.server), ops?.close(), state.close()]);
  }

  return {
    url: addressOf(http.server, settings.tls ? 'https' : 'http', settings.host),
    opsUrl: ops?.url ?? '',
    replica: state.replica,
    metrics,
    sessions: registry,
    health,
    reload: () => follower?.reload(),
    async drain() {
      const { drain_seconds: seconds } = current.limits;
      log.info({ sessions: registry.size, seconds }, 'relay.draining');
      endIdle(http.server);
      mail.webhooks.hurry();
      const until = performance.now() + seconds * 1000;
      const left = () => Math.max(0, until - performance.now());
      // What sessions cost is told after they have ended, and within the same time.
      const reserveMs = Math.min(2000, seconds * 100);
      await registry.drain(seconds - reserveMs / 1000);
      await Promise.all([settlements.close(Math.max(0, left() - reserveMs / 2)), reaches.close(left())]);
      await mail.close(Math.max(1, left()));
      await stop();
    },
    async close() {
      await registry.drain(0);
      await Promise.all([settlements.close(0), reaches.close(lastCallMs)]);
      await mail.close(0);
      await stop();
    },
  };
}

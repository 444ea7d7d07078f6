/** What is not counted but looked up in the running relay when it is scraped. */

import { Gauge, type Registry } from 'prom-client';
import type { Direction } from '../protocol/catalogue.js';
import { version } from '../version.js';
import { directions } from './traffic.js';

/** What the metrics ask of the running relay when they are scraped. */
export interface Live {
  sessions(): number;
  /** Of those, the ones that wait for their clients. */
  detachedSessions?(): number;
  /** How many there may be. */
  sessionsLimit(): number;
  /** Whether `/readyz` would say so; asks nobody. */
  isReady(): boolean;
  bufferedBytes(direction: Direction): number;
  /** Backends that follow a session. */
  sidebands(): number;
  /** Withdrawn users and tokens that are remembered. */
  revocations(): number;
  /** Seconds until the upstream token runs out, by upstream; absent where an API key is used. */
  tokenSeconds(): ReadonlyMap<string, number>;
  /** Seconds until the certificate of the public listener runs out; null, or left out, where it speaks no TLS. */
  certificateSeconds?(): number | null;
}

/** Publishes what can be looked up; says where, as soon as there is something to look at. */
export function publishLive(registers: Registry[]) {
  let live: Live | null = null;
  let unusedSecrets: () => number = () => 0;

  new Gauge({
    name: 'relay_build_info',
    help: 'Always 1; the labels say which version of the relay runs on which of Node',
    labelNames: ['version', 'node'],
    // One build, in however many processes.
    aggregator: 'max',
    registers,
  }).set({ version, node: process.versions.node }, 1);
  new Gauge({
    name: 'relay_ready',
    help: 'Whether the relay takes new sessions, as /readyz says: 1 or 0',
    // With workers it does when one of them does.
    aggregator: 'max',
    registers,
    collect() {
      this.set(Number(live?.isReady() ?? false));
    },
  });
  new Gauge({
    name: 'relay_sessions_limit',
    help: 'Sessions that there may be at the same time',
    // One limit for all processes together.
    aggregator: 'max',
    registers,
    collect() {
      this.set(live?.sessionsLimit() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_sidebands_active',
    help: 'Backends that follow a session now',
    registers,
    collect() {
      this.set(live?.sidebands() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_detached_sessions',
    help: 'Sessions that have lost their client and wait for it to come back',
    registers,
    collect() {
      this.set(live?.detachedSessions?.() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_sessions_active',
    help: 'Sessions that exist now, from admission to end',
    registers,
    collect() {
      this.set(live?.sessions() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_buffered_bytes',
    help: 'Bytes waiting to be written to the receiving side, over all sessions',
    labelNames: ['direction'],
    registers,
    collect() {
      for (const direction of directions) this.set({ direction }, live?.bufferedBytes(direction) ?? 0);
    },
  });
  new Gauge({
    name: 'relay_revocations',
    help: 'Withdrawn users and tokens that are remembered',
    // Every process has them all.
    aggregator: 'max',
    registers,
    collect() {
      this.set(live?.revocations() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_client_secrets',
    help: 'Client secrets that are minted, not run out and not used',
    registers,
    collect() {
      this.set(unusedSecrets());
    },
  });
  new Gauge({
    name: 'relay_entra_token_expiry_seconds',
    help: 'Seconds until the cached Microsoft Entra token runs out',
    labelNames: ['upstream'],
    aggregator: 'min',
    registers,
    collect() {
      // An upstream that is no longer configured leaves no value behind.
      this.reset();
      for (const [upstream, seconds] of live?.tokenSeconds() ?? []) this.set({ upstream }, seconds);
    },
  });

  new Gauge({
    name: 'relay_certificate_expiry_seconds',
    help: 'Seconds until the certificate of the public listener runs out; below 0 it has',
    aggregator: 'min',
    registers,
    collect() {
      const seconds = live?.certificateSeconds?.() ?? null;
      if (seconds === null) this.remove();
      else this.set(seconds);
    },
  });

  return {
    watch(source: Live): void {
      live = source;
    },
    countSecrets(source: () => number): void {
      unusedSecrets = source;
    },
  };
}

/** A relay for tests: on free ports, before the emulator or any other upstream, with its log kept. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ClientOptions } from 'ws';
import { signToken } from '../../src/auth/token.js';
import { loadConfig } from '../../src/config/load.js';
import type { Settings } from '../../src/config/settings.js';
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.js';
import { type Relay, type Shared, startRelay } from '../../src/relay.js';
import { createLog } from '../../src/telemetry/log.js';
import { connect, type TestClient } from './client.js';

export const jwt = {
  secret: 'a-secret-of-the-tests-that-is-long-enough',
  issuer: 'https://issuer.test',
  audience: 'relay-tests',
};

export interface TestRelay {
  readonly relay: Relay;
  /** The public listener as a WebSocket address. */
  readonly address: string;
  readonly log: Record<string, unknown>[];
  /** Resolves to the next log line with this message, or one that was already written. */
  logged(message: string, count?: number): Promise<Record<string, unknown>>;
  token(claims?: { subject?: string; profile?: string; tenant?: string; ttlSeconds?: number; claims?: object }): string;
  /** Writes the YAML file anew. */
  rewrite(yaml: string): void;
  /** Connects as a user, on the GA path unless another is given. */
  connect(options?: ClientOptions & { path?: string; token?: string; protocols?: string[] }): Promise<TestClient>;
  /** The value of a metric with all these labels; 0 when there is none. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
}

export interface TestRelayOptions {
  /** Address of the upstream. */
  upstream: string;
  env?: Record<string, string>;
  /** Text of the YAML file. */
  yaml?: string;
  level?: string;
  /** What it has in common with other processes. */
  shared?: Shared;
}

/** A machine that is busy with other tests must not turn clients away; tests of that name these limits themselves. */
function unhurried(settings: Settings, yaml = ''): Settings {
  if (/busy_/.test(yaml)) return settings;
  return { ...settings, limits: { ...settings.limits, busy_delay_ms: 0, busy_percent: 0 } };
}

/** Starts a relay that is closed when the test is over. */
export async function startTestRelay(options: TestRelayOptions): Promise<TestRelay> {
  const env: Record<string, string> = {
    HOST: '127.0.0.1',
    PORT: '0',
    RELAY_OPS_PORT: '0',
    AZURE_OPENAI_ENDPOINT: options.upstream,
    AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
    AZURE_OPENAI_API_KEY: 'emulator-key',
    RELAY_JWT_SECRET: jwt.secret,
    RELAY_JWT_ISSUER: jwt.issuer,
    RELAY_JWT_AUDIENCE: jwt.audience,
    ...options.env,
  };
  if (options.yaml !== undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'relay-'));
    env.RELAY_CONFIG = join(folder, 'relay.yaml');
    writeFileSync(env.RELAY_CONFIG, options.yaml);
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  }
  const log: Record<string, unknown>[] = [];
  const listeners = new Set<() => void>();
  const sink = {
    write(line: string) {
      log.push(JSON.parse(line) as Record<string, unknown>);
      for (const listener of listeners) listener();
    },
  };
  const path = env.RELAY_CONFIG ?? null;
  const load = () => unhurried(loadConfig(env), path === null ? '' : readFileSync(path, 'utf8'));
  const source = path === null ? null : { path, load };
  const ownLog = createLog((options.level ?? 'debug') as 'debug', sink);
  const relay = await startRelay(load(), ownLog, source, null, options.shared ?? null);
  onTestFinished(() => relay.close());
  const address = relay.url.replace('http', 'ws');

  const token: TestRelay['token'] = ({ subject = 'alice', ttlSeconds = 600, claims, ...rest } = {}) =>
    signToken({ ...jwt, subject, ttlSeconds, ...(claims && { claims: claims as Record<string, unknown> }), ...rest });

  return {
    relay,
    address,
    log,
    token,
    rewrite(yaml) {
      if (path === null) throw new Error('this relay has no file');
      writeFileSync(path, yaml);
    },
    logged(message, count = 1) {
      return new Promise((resolve) => {
        const look = () => {
          const lines = log.filter(({ msg }) => msg === message);
          if (lines.length < count) return;
          listeners.delete(look);
          resolve(lines[count - 1] as Record<string, unknown>);
        };
        listeners.add(look);
        look();
      });
    },
    connect({ path = '/openai/v1/realtime?model=gpt-realtime', token: credential = token(), headers, ...rest } = {}) {
      return connect(`${address}${path}`, { headers: { Authorization: `Bearer ${credential}`, ...headers }, ...rest });
    },
    async metric(name, labels = {}) {
      const text = await relay.metrics.registry.metrics();
      const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
      return text
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
        .filter((line) => wanted.every((label) => line.includes(label)))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
  };
}

/** An emulator that is closed when the test is over; answers come at once unless a speed is given. */
export async function startTestEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = await startEmulator({ speed: Number.POSITIVE_INFINITY, ...options });
  onTestFinished(() => emulator.close());
  return emulator;
}

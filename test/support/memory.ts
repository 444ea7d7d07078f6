/** A relay in a child process, so that its memory, handles and timers are measured apart from clients and emulator. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { signToken } from '../../src/auth/token.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const program = fileURLToPath(new URL('../soak/relay.mjs', import.meta.url));
const jwt = {
  secret: 'a-secret-of-the-measured-relay-long-enough',
  issuer: 'https://issuer.test',
  audience: 'measured',
};

/** What the process holds at one moment; sizes in bytes. */
export interface Sample {
  readonly heap: number;
  /** Buffers and other memory outside V8's heap. */
  readonly external: number;
  /** What the operating system has given to the process, free parts of its heaps included. */
  readonly rss: number;
  readonly sessions: number;
  /** Bytes waiting in the sockets of all sessions. */
  readonly buffered: { readonly up: number; readonly down: number };
  /** Open handles and timers by kind. */
  readonly resources: Readonly<Record<string, number>>;
}

type Question = 'look' | 'sample' | 'watch' | 'peak';

export interface MeasuredRelay {
  /** The public listener as a WebSocket address. */
  readonly address: string;
  readonly opsUrl: string;
  token(subject?: string, claims?: Record<string, unknown>): string;
  /** What the process holds now, garbage included. */
  look(): Promise<Sample>;
  /** What the process holds after a garbage collection. */
  sample(): Promise<Sample>;
  /**
   * Starts to note the highest values, always after a garbage collection, for as long as there are as many sessions as
   * now. Resolves to the first values.
   */
  watch(): Promise<Sample>;
  /** Stops that, and resolves to the highest values since. */
  peak(): Promise<Sample>;
  /** The sum of a metric's samples with all these labels; 0 when there is none. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
  close(): Promise<void>;
}

/** Starts a relay that is measured; `env` comes on top of what makes it listen on free ports. */
export async function startMeasuredRelay(options: {
  upstream: string;
  yaml: string;
  env?: Record<string, string>;
}): Promise<MeasuredRelay> {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'));
  const config = join(folder, 'relay.yaml');
  writeFileSync(config, options.yaml);
  const child = fork(program, [], {
    cwd: root,
    execArgv: ['--expose-gc'],
    env: {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: '0',
      RELAY_OPS_PORT: '0',
      RELAY_LOG_LEVEL: 'fatal',
      RELAY_CONFIG: config,
      AZURE_OPENAI_ENDPOINT: options.upstream,
      AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
      AZURE_OPENAI_API_KEY: 'emulator-key',
      RELAY_JWT_SECRET: jwt.secret,
      RELAY_JWT_ISSUER: jwt.issuer,
      RELAY_JWT_AUDIENCE: jwt.audience,
      ...options.env,
    },
  });
  const { url, opsUrl } = await told<{ url: string; opsUrl: string }>(child);

  // Answers carry no number, so questions go one after the other.
  let last: Promise<unknown> = Promise.resolve();
  const ask = (question: Question): Promise<Sample> => {
    const answered = last.then(() => {
      child.send(question);
      return told<Sample>(child);
    });
    last = answered.catch(() => undefined);
    return answered;
  };

  return {
    address: url.replace('http', 'ws'),
    opsUrl,
    token: (subject = 'alice', claims = {}) => signToken({ ...jwt, subject, ttlSeconds: 3600, claims }),
    look: () => ask('look'),
    sample: () => ask('sample'),
    watch: () => ask('watch'),
    peak: () => ask('peak'),
    metric: (name, labels) => metricAt(opsUrl, name, labels),
    async close() {
      rmSync(folder, { recursive: true, force: true });
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.disconnect();
      await exit;
    },
  };
}

/** Fetches without leaving a connection open, which would count as one of the relay's sockets. */
export function fetchOnce(url: string): Promise<Response> {
  return fetch(url, { headers: { connection: 'close' } });
}

/** The sum of a metric's samples with all these labels, read from an operations listener; 0 when there is none. */
export async function metricAt(opsUrl: string, name: string, labels: Record<string, string> = {}): Promise<number> {
  const text = await (await fetchOnce(`${opsUrl}/metrics`)).text();
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => wanted.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

function told<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const exited = (code: number | null) => reject(new Error(`the measured relay ended with ${code}`));
    child.once('exit', exited);
    child.once('message', (message) => {
      child.off('exit', exited);
      resolve(message as T);
    });
  });
}

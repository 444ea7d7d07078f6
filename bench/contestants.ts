/** What is measured, each as a process of its own: the relay, a naive one, and proxies people already trust. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { signToken } from '../src/auth/token.js';

/** A running contestant. */
export interface Contestant {
  readonly name: string;
  /** Where clients connect to. */
  readonly url: string;
  readonly token: string;
  /** Its processes; empty for the direct connection, which costs nothing in between. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** Starts a contestant before the upstream that listens on this port of the loopback. */
export type Start = (upstream: Upstream) => Promise<Contestant>;

export interface Upstream {
  readonly port: number;
  /** PEM file of the upstream's certificate; null when it speaks plain HTTP. */
  readonly certificate: string | null;
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const path = '/openai/v1/realtime?model=bench';
const jwt = { secret: 'a-secret-for-the-benchmark-of-32-bytes', issuer: 'bench', audience: 'bench' };

/** Limits that no scenario reaches; they are checked all the same. */
const profileLimits = {
  sessions_per_user: 100_000,
  connects_per_second: 1e6,
  connects_burst: 1e6,
  events_per_second: 1e9,
  events_burst: 1e9,
  audio_realtime_factor: 1e9,
  audio_burst_seconds: 1e9,
};
/** A machine that measures is busy. */
const instanceLimits = { sessions: 100_000, stall_seconds: 120, busy_percent: 0, busy_delay_ms: 0, readiness: 'off' };

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
}

/** The settings, as far as a build knows them: an older one refuses what it does not. JSON is YAML. */
function settingsFor(build: string): string {
  const schema: Schema = JSON.parse(readFileSync(join(build, 'config.schema.json'), 'utf8'));
  const known = (limits: object, names: Schema | undefined) =>
    Object.fromEntries(Object.entries(limits).filter(([name]) => names?.properties?.[name]));
  const limits = known(profileLimits, schema.properties?.profiles?.additionalProperties?.properties?.limits);
  return JSON.stringify({
    profiles: {
      default: { session: { instructions: 'Benchmark.' }, limits },
      trusted: { client: { trust: 'trusted' }, limits },
    },
    limits: known(instanceLimits, schema.properties?.limits),
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address ? address.port : 0;
}

/** Starts a program whose output goes to a file, as a service's does, and waits for a line of it. */
async function started(
  program: Program,
  folder: string,
  pattern: RegExp,
): Promise<{ child: ChildProcess; found: string }> {
  const log = join(folder, 'out.log');
  const out = openSync(log, 'w');
  const child = spawn(process.execPath, program.args, {
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...program.env },
    stdio: ['ignore', out, 'inherit'],
  });
  closeSync(out);
  while (child.exitCode === null) {
    const found = pattern.exec(readFileSync(log, 'utf8'))?.[1];
    if (found !== undefined) return { child, found };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`it ended before it listened: ${readFileSync(log, 'utf8')}`);
}

interface Program {
  readonly args: string[];
  readonly env: NodeJS.ProcessEnv;
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

interface RelayOptions {
  readonly name?: string;
  readonly path?: string;
  readonly profile?: string;
  readonly workers?: number;
  /** The folder of a checkout that has been built; this one unless given. */
  readonly build?: string;
}

/** The relay as it is shipped: built, full policy, metrics on, log at info, app tokens verified. */
export function relay(options: RelayOptions = {}): Start {
  const { build = here('..') } = options;
  return async ({ port, certificate }) => {
    const folder = mkdtempSync(join(tmpdir(), 'relay-bench-'));
    writeFileSync(join(folder, 'relay.yaml'), settingsFor(build));
    const env = {
      HOST: '127.0.0.1',
      PORT: '0',
      RELAY_OPS_PORT: '0',
      RELAY_WORKERS: String(options.workers ?? 1),
      RELAY_CONFIG: join(folder, 'relay.yaml'),
      AZURE_OPENAI_ENDPOINT: certificate ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
      AZURE_OPENAI_REALTIME_DEPLOYMENT: 'bench',
      AZURE_OPENAI_API_KEY: 'bench',
      RELAY_JWT_SECRET: jwt.secret,
      RELAY_JWT_ISSUER: jwt.issuer,
      RELAY_JWT_AUDIENCE: jwt.audience,
      ...(certificate && { NODE_EXTRA_CA_CERTS: certificate }),
    };
    const args = [join(build, 'dist/cli.js'), 'serve'];
    const { child, found } = await started({ args, env }, folder, /"url":"([^"]+)"/);
    return {
      name: options.name ?? 'relay',
      url: `${found}${options.path ?? path}`,
      token: signToken({
        ...jwt,
        subject: 'bench',
        ttlSeconds: 86_400,
        ...(options.profile && { profile: options.profile }),
      }),
      pids: [child.pid as number, ...childrenOf(child.pid as number)],
      async stop() {
        await stopped(child);
        rmSync(folder, { recursive: true, force: true });
      },
    };
  };
}

function script(name: string, file: string, argument: (upstream: Upstream) => string): Start {
  return async (upstream) => {
    const folder = mkdtempSync(join(tmpdir(), 'relay-bench-'));
    const args = [here(file), argument(upstream)];
    const env = upstream.certificate ? { NODE_EXTRA_CA_CERTS: upstream.certificate } : {};
    const { child, found: port } = await started({ args, env }, folder, /^(\d+)$/m);
    return {
      name,
      url: `http://127.0.0.1:${port}${path}`,
      token: 'none',
      pids: [child.pid as number],
      async stop() {
        await stopped(child);
        rmSync(folder, { recursive: true, force: true });
      },
    };
  };
}

export const naive = script('naive relay', './naive.mjs', ({ port, certificate }) =>
  certificate ? `wss://localhost:${port}${path}` : `ws://127.0.0.1:${port}${path}`,
);

export const nodePipe = script('node TCP pipe', './pipe.mjs', ({ port }) => String(port));

export const direct: Start = async ({ port }) => ({
  name: 'direct',
  url: `http://127.0.0.1:${port}${path}`,
  token: 'none',
  pids: [],
  stop: async () => undefined,
});

/** Whether a program is on this machine; the benchmark leaves out what is not. */
export function has(program: string): boolean {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function waitForPort(port: number): Promise<void> {
  const { connect } = await import('node:net');
  for (let i = 0; i < 100; i++) {
    const socket = connect(port, '127.0.0.1');
    const open = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

/** A daemon started with a configuration file that is made for the ports of this run. */
function daemon(
  name: string,
  program: string,
  configuration: (port: number, upstream: number, folder: string) => string,
  args: (file: string) => string[],
): Start {
  return async (upstream) => {
    const folder = mkdtempSync(join(tmpdir(), 'relay-bench-'));
    const port = await freePort();
    const file = join(folder, 'daemon.conf');
    writeFileSync(file, configuration(port, upstream.port, folder));
    const child = spawn(program, args(file), { stdio: ['ignore', 'ignore', 'ignore'] });
    await waitForPort(port);
    return {
      name,
      url: `http://127.0.0.1:${port}${path}`,
      token: 'none',
      pids: [child.pid as number, ...childrenOf(child.pid as number)],
      async stop() {
        child.kill('SIGTERM');
        await once(child, 'exit');
        rmSync(folder, { recursive: true, force: true });
      },
    };
  };
}

export const haproxy = daemon(
  'HAProxy TCP',
  'haproxy',
  (port, upstream) => `global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:${port}
  server upstream 127.0.0.1:${upstream}
`,
  (file) => ['-db', '-f', file],
);

export const nginx = daemon(
  'nginx',
  'nginx',
  (port, upstream, folder) => `daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log /dev/null;
events { worker_connections 4000; }
http {
  access_log off;
  client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
  uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 1h;
      proxy_buffering off;
    }
  }
}
`,
  (file) => ['-c', file],
);

const ticksPerSecond = 100;

/** CPU seconds that processes have used so far, user and system, by the kernel's own account. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  }, 0);
}

/** Resident memory of processes, in bytes. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
    return sum + Number(kilobytes) * 1024;
  }, 0);
}

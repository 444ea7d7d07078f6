/**
 * Proves that the relay's costs are bounded: memory of idle sessions, and nothing left behind by sessions that came and
 * went. Everything runs on 127.0.0.1; the relay has a process of its own. `--quick` does less of the same.
 */

import { once } from 'node:events';
import { createConnection } from 'node:net';
import { WebSocket } from 'ws';
import { startEmulator } from '../src/emulator/emulator.js';
import type { Sample } from './soak/relay.js';
import { startIdentity } from './support/identity.js';
import { type MeasuredRelay, startMeasuredRelay } from './support/memory.js';

const quick = process.argv.includes('--quick');
const idleSessions = quick ? 200 : 1000;
const cycles = quick ? 1000 : 10_000;
/** Sessions that are opened and ended before anything is measured, so that code is compiled and caches are filled. */
const warmUps = 300;
const atOnce = 40;
const sessionBytes = 60 * 1024;
/** What a process may have learned during the cycles: compiled code, feedback, label sets; in the long run 100 bytes a cycle. */
const heapGrowth = (quick ? 2 : 1) * 1024 * 1024;
const settleSeconds = 20;
const wholeSeconds = quick ? 60 : 180;

const yaml = `
profiles:
  default:
    session: { instructions: "${'Be brief. '.repeat(100)}", audio: { output: { voice: marin } } }
    limits: { sessions_per_user: 100000 }
limits: { sessions: 100000 }
`;

const rows: { what: string; value: string; limit: string; ok: boolean }[] = [];
const report = (what: string, value: string, limit: string, ok: boolean): void => {
  rows.push({ what, value, limit, ok });
};

/** Opens a session and resolves once it may talk. */
async function open(relay: MeasuredRelay, headers: Record<string, string>): Promise<WebSocket> {
  const client = dial(relay, headers);
  await once(client, 'message');
  return client;
}

function dial(relay: MeasuredRelay, headers: Record<string, string>): WebSocket {
  const client = new WebSocket(`${relay.address}/openai/v1/realtime?model=x`, { headers, perMessageDeflate: false });
  client.on('error', () => undefined);
  return client;
}

async function gone(client: WebSocket, leave: () => void): Promise<void> {
  const closed = new Promise((resolve) => client.once('close', resolve));
  if (client.readyState === WebSocket.CLOSED) return;
  leave();
  await closed;
}

const ask = JSON.stringify({ type: 'response.create', response: { output_modalities: ['audio'] } });

/** Ways in which a client comes and goes. */
const lives: readonly ((relay: MeasuredRelay, headers: Record<string, string>) => Promise<void>)[] = [
  async function polite(relay, headers) {
    const client = await open(relay, headers);
    await gone(client, () => client.close(1000));
  },
  async function destroyed(relay, headers) {
    const client = await open(relay, headers);
    await gone(client, () => client.terminate());
  },
  async function politeDuringTheDial(relay, headers) {
    const client = dial(relay, headers);
    await once(client, 'open');
    await gone(client, () => client.close(1000));
  },
  async function destroyedDuringTheDial(relay, headers) {
    const client = dial(relay, headers);
    await once(client, 'open');
    await gone(client, () => client.terminate());
  },
  async function destroyedDuringTheHandshake(relay, headers) {
    const { hostname, port } = new URL(relay.address);
    const socket = createConnection(Number(port), hostname);
    const lines = [
      'GET /openai/v1/realtime?model=x HTTP/1.1',
      'Host: relay',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    socket.on('error', () => undefined);
    socket.write(`${lines.join('\r\n')}\r\n\r\n`, () => socket.destroy());
    await new Promise((resolve) => socket.once('close', resolve));
  },
  async function politeInAnAnswer(relay, headers) {
    const client = await open(relay, headers);
    client.send(ask);
    await once(client, 'message');
    await gone(client, () => client.close(1000));
  },
  async function destroyedInAnAnswer(relay, headers) {
    const client = await open(relay, headers);
    client.send(ask);
    await once(client, 'message');
    await gone(client, () => client.terminate());
  },
];

/** Runs `count` calls of `work`, some at once. */
async function many(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

function handles({ resources }: Sample): number {
  return Object.entries(resources).reduce((sum, [kind, count]) => (kind === 'Timeout' ? sum : sum + count), 0);
}

const timers = ({ resources }: Sample) => resources.Timeout ?? 0;
const kilobytes = (bytes: number) => `${(bytes / 1024).toFixed(1)} KB`;

/** Samples until nothing is held that `before` did not hold, or until time is up: sockets close a little after their sessions. */
async function settled(relay: MeasuredRelay, before: Sample): Promise<Sample> {
  const until = Date.now() + settleSeconds * 1000;
  let now = await relay.sample();
  while (Date.now() < until) {
    if (now.sessions === 0 && handles(now) <= handles(before) && timers(now) <= timers(before)) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
    now = await relay.sample();
  }
  return now;
}

async function ready({ opsUrl }: MeasuredRelay): Promise<void> {
  while ((await fetch(`${opsUrl}/readyz`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function comeAndGo(relay: MeasuredRelay, count: number): Promise<void> {
  await many(count, async (index) => {
    const live = lives[index % lives.length] as (typeof lives)[number];
    await live(relay, { Authorization: `Bearer ${relay.token(`user-${index % 500}`)}` });
  });
}

async function idle(relay: MeasuredRelay, fresh: Sample): Promise<void> {
  const before = await settled(relay, fresh);
  const clients: WebSocket[] = [];
  await many(idleSessions, async (index) => {
    clients.push(await open(relay, { Authorization: `Bearer ${relay.token(`idle-${index}`)}` }));
  });
  const during = await relay.sample();
  const each = (of: (sample: Sample) => number) => (of(during) - of(before)) / idleSessions;
  const own = each(({ heap, external }) => heap + external);
  const resident = each(({ rss }) => rss);
  report('idle sessions', String(during.sessions), `= ${idleSessions}`, during.sessions === idleSessions);
  report('heap and buffers per session', kilobytes(own), `<= ${kilobytes(sessionBytes)}`, own <= sessionBytes);
  report('resident memory per session', kilobytes(resident), `<= ${kilobytes(sessionBytes)}`, resident <= sessionBytes);
  report(
    'timers for idle sessions',
    String(timers(during) - timers(before)),
    '<= 1',
    timers(during) - timers(before) <= 1,
  );
  await Promise.all(clients.map((client) => gone(client, () => client.close(1000))));
}

async function cycle(relay: MeasuredRelay, fresh: Sample): Promise<void> {
  const before = await settled(relay, fresh);
  const started = performance.now();
  await comeAndGo(relay, cycles);
  const seconds = (performance.now() - started) / 1000;
  const after = await settled(relay, fresh);
  const back = (what: string, was: number, is: number) => report(what, `${was} -> ${is}`, `<= ${was}`, is <= was);
  report('sessions come and gone', `${cycles} in ${seconds.toFixed(1)} s`, '', true);
  back('sessions left', 0, after.sessions);
  back('handles and sockets', handles(fresh), handles(after));
  back('timers', timers(fresh), timers(after));
  const grown = after.heap + after.external - before.heap - before.external;
  report('heap and buffers grown by', kilobytes(grown), `<= ${kilobytes(heapGrowth)}`, grown <= heapGrowth);
  report('resident memory grown by', kilobytes(after.rss - before.rss), '', true);
}

async function soak(): Promise<void> {
  const identity = await startIdentity();
  const emulator = await startEmulator({
    bearer: (token) => identity.tokens.includes(token),
    recordEvents: 0,
    recordConnections: 1,
  });
  const env = { AZURE_OPENAI_API_KEY: '', ...identity.env };
  const relay = await startMeasuredRelay({ upstream: emulator.url, yaml, env });
  try {
    await ready(relay);
    const fresh = await relay.sample();
    await comeAndGo(relay, warmUps);
    await idle(relay, fresh);
    await cycle(relay, fresh);
    const opened = await relay.metric('relay_sessions_total', { outcome: 'ready' });
    const tokens = identity.tokens.length;
    report('tokens fetched', `${tokens} for ${opened} sessions`, '= 1', tokens === 1 && opened >= idleSessions);
  } finally {
    await relay.close();
    await emulator.close();
    await identity.close();
  }
}

const watchdog = setTimeout(() => {
  process.stderr.write(`not done within ${wholeSeconds} s\n`);
  process.exit(1);
}, wholeSeconds * 1000);
await soak();
clearTimeout(watchdog);
for (const { what, value, limit, ok } of rows) {
  process.stdout.write(`${what.padEnd(32)}${value.padEnd(28)}${limit.padEnd(14)}${ok ? 'ok' : 'failed'}\n`);
}
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;

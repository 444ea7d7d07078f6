/**
 * Proves that the relay's costs are bounded: memory of idle sessions, and nothing left behind by sessions that came and
 * went. Everything runs on 127.0.0.1; the relay has a process of its own. `--quick` does less of the same.
 */

import type { WebSocket } from 'ws';
import { type Emulator, startEmulator } from '../src/emulator/emulator.js';
import { ask, gone, handles, lives, many, open, settled, timers } from './soak/lives.js';
import { startIdentity } from './support/identity.js';
import { fetchOnce, type MeasuredRelay, type Sample, startMeasuredRelay } from './support/memory.js';

const quick = process.argv.includes('--quick');
const idleSessions = quick ? 200 : 1000;
const cycles = quick ? 1000 : 10_000;
/** Sessions that are opened and ended before anything is measured, so that code is compiled and caches are filled. */
const warmUps = 300;
/** Of the memory of one idle session, which needs some 27 KB. */
const sessionBytes = 60 * 1024;
const stalledReaders = 20;
/** Buffered, and the pieces of it that the socket layer holds. */
const stalledBytes = 10 * 1024 * 1024;
/** What a process may have learned during the cycles: compiled code, feedback, label sets; in the long run 100 bytes a cycle. */
const heapGrowth = (quick ? 2 : 1) * 1024 * 1024;
const wholeSeconds = quick ? 120 : 200;

const yaml = `
profiles:
  default:
    session: { instructions: "${'Be brief. '.repeat(100)}", audio: { output: { voice: marin } } }
    limits: { sessions_per_user: 100000, connects_per_second: 1000000, connects_burst: 1000000 }
limits: { sessions: 100000, stall_seconds: 1 }
`;

const rows: { what: string; value: string; limit: string; ok: boolean }[] = [];
const report = (what: string, value: string, limit: string, ok: boolean): void => {
  rows.push({ what, value, limit, ok });
};

const kilobytes = (bytes: number) => `${(bytes / 1024).toFixed(1)} KB`;

async function ready({ opsUrl }: MeasuredRelay): Promise<void> {
  while ((await fetchOnce(`${opsUrl}/readyz`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function comeAndGo(relay: MeasuredRelay, count: number): Promise<void> {
  const ways = Object.values(lives);
  await many(count, async (index) => {
    await ways[index % ways.length]?.(relay, { Authorization: `Bearer ${relay.token(`user-${index % 500}`)}` });
  });
}

async function idle(relay: MeasuredRelay, fresh: Sample): Promise<void> {
  await settled(relay, fresh);
  const before = await relay.sample();
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
  await settled(relay, fresh);
  const before = await relay.sample();
  const started = performance.now();
  await comeAndGo(relay, cycles);
  const seconds = (performance.now() - started) / 1000;
  await settled(relay, fresh);
  const after = await relay.sample();
  const back = (what: string, was: number, is: number) => report(what, `${was} -> ${is}`, `<= ${was}`, is <= was);
  report('sessions come and gone', `${cycles} in ${seconds.toFixed(1)} s`, '', true);
  back('sessions left', 0, after.sessions);
  back('handles and sockets', handles(fresh), handles(after));
  back('timers', timers(fresh), timers(after));
  const grown = after.heap + after.external - before.heap - before.external;
  report('heap and buffers grown by', kilobytes(grown), `<= ${kilobytes(heapGrowth)}`, grown <= heapGrowth);
  report('resident memory grown by', kilobytes(after.rss - before.rss), '', true);
}

/** Clients that ask for an endless answer and never read it, nor say goodbye. */
async function stall(relay: MeasuredRelay, emulator: Emulator, fresh: Sample): Promise<void> {
  await settled(relay, fresh);
  const clients: WebSocket[] = [];
  await many(stalledReaders, async (index) => {
    clients.push(await open(relay, { Authorization: `Bearer ${relay.token(`stalled-${index}`)}` }));
  });
  const before = await relay.watch();
  emulator.control.faults.arm('flood', stalledReaders);
  for (const client of clients) {
    client.pause();
    client.send(ask);
  }
  await settled(relay, fresh);
  const peak = await relay.peak();
  const ended = await relay.metric('relay_session_ends_total', { reason: 'slow_consumer' });
  const each = (of: (sample: Sample) => number) => (of(peak) - of(before)) / stalledReaders;
  const own = each(({ heap, external }) => heap + external);
  report('readers that stop', `${ended} ended`, `= ${stalledReaders}`, ended === stalledReaders);
  report('heap and buffers for each', kilobytes(own), `<= ${kilobytes(stalledBytes)}`, own <= stalledBytes);
  const resident = each(({ rss }) => rss);
  report('resident memory for each', kilobytes(resident), `<= ${kilobytes(stalledBytes)}`, resident <= stalledBytes);
  const after = await relay.look();
  const left = handles(after) - handles(fresh);
  report('their sockets left', String(left), '<= 0', left <= 0);
  for (const client of clients) client.terminate();
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
    await stall(relay, emulator, fresh);
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

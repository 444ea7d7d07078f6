/** Minutes of what the relay must endure, each at the pace of the world outside, against the built relay. Run by `npm run endure`. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { signToken } from '../src/auth/token.js';
import { at, begin, finish, speak, speakAt } from './support/answer.js';
import { connect, type TestClient } from './support/client.js';
import { crowdAnswer, crowdTools, faultsOf, plans, quiet, talk } from './support/crowd.js';
import { addedLatency } from './support/latency.js';
import { startLink } from './support/link.js';
import { metricAt } from './support/memory.js';
import { type Running, relayEnv, serve } from './support/process.js';
import { connectRaw } from './support/raw.js';
import { jwt, startTestEmulator } from './support/relay.js';
import { toolEntries } from './support/tools.js';
import { startUpstream } from './support/upstream.js';
import { startReceiver, webhookSecret } from './support/webhook.js';
import { endpoint } from './tools/support.js';

type Served = Running & { url: string; ops: string; address: string };

const path = '/v1/realtime?model=x';
const token = (subject: string) => signToken({ ...jwt, subject, ttlSeconds: 3600 });
const rows: string[] = [];

/** One line of the table: what was measured, and the bound that it is held to. */
function report(what: string, value: number, bound: '<=' | '>=' | '=', limit: number, unit = ''): void {
  const ok = bound === '=' ? value === limit : bound === '<=' ? value <= limit : value >= limit;
  const digits = Number.isInteger(value) ? 0 : 2;
  rows.push(
    `${what.padEnd(64)}${`${value.toFixed(digits)} ${unit}`.padEnd(14)}${`${bound} ${limit}`.padEnd(12)}${ok ? 'ok' : 'failed'}`,
  );
  expect.soft(ok, rows.at(-1)).toBe(true);
}

afterAll(() => void process.stdout.write(`\n${rows.join('\n')}\n`));

async function start(upstream: string, yaml: string, env: Record<string, string> = {}): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'relay-endure-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'relay.yaml');
  writeFileSync(file, yaml);
  const relay = await serve(relayEnv(upstream, { RELAY_CONFIG: file, ...env }));
  return { ...relay, address: relay.url.replace('http', 'ws') };
}

function logged(relay: Served, message: string): Record<string, unknown>[] {
  return relay.lines.filter((line) => line.includes(`"${message}"`)).map((line) => JSON.parse(line));
}

async function open(address: string, subject: string): Promise<TestClient> {
  const client = await connect(address + path, { headers: { 'api-key': token(subject) } });
  await client.next('session.created');
  return client;
}

/** The time that a process has had of the processors, in milliseconds. */
function processorTime({ pid }: { readonly pid?: number | undefined }): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  // In hundredths of a second (proc(5)).
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The most memory that a process has held, in MiB. */
function mostMemory({ pid }: { readonly pid?: number | undefined }): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Math.round(Number(kilobytes) / 1024);
}

const speechOf = (client: TestClient) => client.types().filter((type) => type === 'response.output_audio.delta').length;

it('a minute of speech made at four times its pace, at 600 kbit/s and 300 ms, through a tunnel of 30 s', async () => {
  const upstream = await startUpstream();
  const relay = await start(upstream.url, 'limits: { busy_delay_ms: 0, busy_percent: 0 }');
  const link = await startLink(relay.address, 75_000, 300);
  const client = await open(link.address, 'passenger');
  const { ws } = await upstream.connected();
  begin(ws, 'resp_1');
  const said = speakAt(ws, 'resp_1', 4, 60).done.then(() => finish(ws, 'resp_1', 'completed'));
  await expect.poll(() => speechOf(client), { timeout: 40_000, interval: 50 }).toBeGreaterThan(100);
  link.isTunnel = true;
  await pause(30_000);
  link.isTunnel = false;
  await said;
  await client.next('response.done');
  report('slow link: pieces of speech heard', speechOf(client), '=', 600);

  begin(ws, 'resp_2');
  const speech = speakAt(ws, 'resp_2', 4, 60);
  await pause(8000);
  speech.stop();
  const began = performance.now();
  ws.send(JSON.stringify({ type: 'input_audio_buffer.speech_started', ...at, audio_start_ms: 0, item_id: 'item_2' }));
  finish(ws, 'resp_2', 'cancelled');
  await client.next('response.done');
  report('slow link: a barge-in is heard after', (performance.now() - began) / 1000, '<=', 1.3, 's');
  report('slow link: sessions ended', logged(relay, 'session.ended').length, '=', 0);
});

it('490 readers that stop, each with 1.3 MB to read, where 64 MiB may wait', async () => {
  const readers = 490;
  const upstream = await startUpstream();
  const relay = await start(
    upstream.url,
    `
profiles: { default: { limits: { sessions_per_user: 1000, connects_per_second: 1000, connects_burst: 1000 } } }
limits: { buffered_bytes: 67108864, sessions: 1000, busy_delay_ms: 0, busy_percent: 0 }`,
  );
  const honest = await open(relay.address, 'honest');
  for (let i = 0; i < readers; i++) {
    const client = await connectRaw(relay.address, token(`reader-${i}`));
    onTestFinished(() => void client.socket.destroy());
    await client.event('session.created');
    client.socket.pause();
  }
  const voices = upstream.connections.map(({ ws }) => ws);
  for (const ws of voices) begin(ws, 'resp_1');
  for (let round = 0; round < 50; round++) {
    for (const ws of voices) if (ws.readyState === WebSocket.OPEN) speak(ws, 'resp_1', 4);
    await pause(100);
  }
  finish(voices[0] as WebSocket, 'resp_1', 'completed');
  await honest.next('response.done');
  const waiting = () => metricAt(relay.ops, 'relay_buffered_bytes', { direction: 'down' });
  await expect.poll(waiting, { timeout: 30_000, interval: 500 }).toBeLessThanOrEqual(64 * 1024 * 1024);
  const shed = logged(relay, 'session.shed');
  report('stopped readers: the most memory that the process has held', mostMemory(relay.child), '<=', 512, 'MiB');
  report('stopped readers: ended, so that the rest fits', shed.length, '>=', 1);
  report('stopped readers: who reads has heard all pieces', speechOf(honest), '=', 200);
  report('stopped readers: others ended', shed.filter(({ subject }) => subject === 'honest').length, '=', 0);
});

it('fifty sessions that talk while the process is stopped for nine tenths of half a minute', async () => {
  const talkers = 50;
  const emulator = await startTestEmulator({ recordEvents: 0 });
  const relay = await start(emulator.url, 'limits: { busy_delay_ms: 200, busy_percent: 0 }');
  const clients: TestClient[] = [];
  for (let i = 0; i < talkers; i++) clients.push(await open(relay.address, `talker-${i}`));
  const audio = JSON.stringify({ type: 'input_audio_buffer.append', audio: Buffer.alloc(4800).toString('base64') });
  const talk = setInterval(() => {
    for (const { ws } of clients) ws.send(audio);
  }, 100);
  onTestFinished(() => clearInterval(talk));
  const { pid } = relay.child as { pid: number };
  onTestFinished(() => void relay.child.kill('SIGCONT'));
  let refusals = 0;
  for (let round = 0; round < 60; round++) {
    process.kill(pid, 'SIGSTOP');
    await pause(450);
    process.kill(pid, 'SIGCONT');
    await pause(50);
    if (round < 20 || round % 10 > 0) continue;
    // The answer comes when the process is let.
    const late = open(relay.address, `late-${round}`).catch(() => null);
    void late.then((client) => {
      if (client === null) refusals += 1;
      else client.ws.close(1000);
    });
  }
  const isLetIn = () =>
    open(relay.address, 'after').then(
      ({ ws }) => void ws.terminate(),
      () => 'refused',
    );
  await expect.poll(isLetIn, { timeout: 40_000, interval: 1000 }).toBe(undefined);
  clearInterval(talk);
  await Promise.all(clients.map((client) => client.ask('hello')));
  report(
    'a starved process: sessions of fifty that live',
    await metricAt(relay.ops, 'relay_sessions_active'),
    '=',
    talkers,
  );
  report('a starved process: newcomers turned away, of four', refusals, '>=', 3);
  report('a starved process: sessions shed', logged(relay, 'session.shed').length, '=', 0);
});

it('six clients that connect again without pause for a minute', async () => {
  const emulator = await startTestEmulator({ recordEvents: 0, recordConnections: 1 });
  const relay = await start(emulator.url, 'limits: { busy_delay_ms: 0, busy_percent: 0 }');
  const honest = await open(relay.address, 'honest');
  const until = performance.now() + 60_000;
  const patienceMs = 10_000;
  const unanswered = { knocks: 0, asks: 0 };
  let knocks = 0;
  const knock = async (subject: string) => {
    const headers = { 'api-key': token(subject) };
    while (performance.now() < until) {
      knocks += 1;
      const until = performance.now() + patienceMs;
      const ws = new WebSocket(relay.address + path, { headers });
      ws.on('error', () => undefined);
      const ended = new Promise((resolve) => {
        ws.once('close', resolve);
        ws.once('open', () => ws.terminate());
      });
      await Promise.race([ended, pause(patienceMs, null, { ref: false })]);
      if (performance.now() >= until) unanswered.knocks += 1;
      ws.terminate();
    }
  };
  // Within what a user may ask for in a minute.
  const asking = (async () => {
    while (performance.now() < until) {
      const asked = honest.ask('hello').then(() => true);
      if (!(await Promise.race([asked, pause(patienceMs, false)]))) unanswered.asks += 1;
      await pause(5000);
    }
  })();
  await Promise.all(Array.from({ length: 6 }, (_, index) => knock(`knocker-${index}`)));
  await asking;
  report('knocking: times in a minute', knocks, '>=', 500);
  report('knocking: of them without any answer within ten seconds', unanswered.knocks, '=', 0);
  report('knocking: questions of somebody else without an answer', unanswered.asks, '=', 0);
  report('knocking: upstream was dialed', emulator.control.received.connectionCount, '<=', 6 * 70 + 1);
  report('knocking: megabytes of log', relay.lines.reduce((sum, line) => sum + line.length, 0) / 1e6, '<=', 2);
  report('knocking: the most memory that the process has held', mostMemory(relay.child), '<=', 256, 'MiB');
});

it('a worker that is killed every two seconds, ten times, with users who come back', async () => {
  const emulator = await startTestEmulator({ recordEvents: 0 });
  const relay = await start(
    emulator.url,
    `
profiles: { default: { limits: { sessions_per_user: 1, connects_per_second: 100, connects_burst: 100 } } }
limits: { busy_delay_ms: 0, busy_percent: 0 }`,
    { RELAY_WORKERS: '2' },
  );
  let wanted = true;
  let returns = 0;
  const stay = async (subject: string) => {
    for (; wanted; returns += 1) {
      const client = await open(relay.address, subject).catch(() => null);
      await (client === null ? pause(100) : Promise.race([client.closed, stopped]));
      client?.ws.terminate();
    }
  };
  let stop = () => undefined as unknown;
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  const staying = Array.from({ length: 20 }, (_, index) => stay(`user-${index}`));
  for (let round = 1; round <= 10; round++) {
    await relay.line(() => logged(relay, 'worker.started').length === round + 1);
    await pause(2000);
    // The one that has been there for longer, which is where the sessions are.
    const dead = logged(relay, 'worker.died').map(({ pid }) => pid);
    const { pid } = logged(relay, 'worker.started').find((line) => !dead.includes(line.pid)) as { pid: number };
    process.kill(pid, 'SIGKILL');
    await relay.line(() => logged(relay, 'worker.died').length === round);
  }
  await relay.line(() => logged(relay, 'worker.started').length === 12);
  const active = () => metricAt(relay.ops, 'relay_sessions_active');
  await expect.poll(active, { timeout: 10_000, interval: 100 }).toBe(20);
  const died = logged(relay, 'worker.died');
  report('restarts: workers that were killed', died.length, '=', 10);
  report('restarts: users of twenty who are back', await active(), '=', 20);
  report('restarts: times that somebody came back', returns, '>=', 100);
  report(
    'restarts: the longest until the next is started',
    Math.max(...died.map((line) => Number(line.restart_ms))),
    '<=',
    1000,
    'ms',
  );
  wanted = false;
  stop();
  await Promise.all(staying);
});

it('a hundred sessions with parallel, slow and failing tools, beside twenty that talk', async () => {
  const emulator = await startTestEmulator({ speed: 4 });
  emulator.control.script(...plans);
  const answer = crowdAnswer(10_000);
  const { url, asked } = await endpoint((_, response) => answer(JSON.parse(asked.at(-1)?.body ?? '{}'), response));
  const limits =
    'tool_calls_per_minute: 10000, responses_burst: 1000, responses_per_second: 100, audio_realtime_factor: 10';
  const relay = await start(
    emulator.url,
    `
limits: { busy_delay_ms: 0, busy_percent: 0, tools_at_once: 4096 }
profiles: { default: { tools: [${toolEntries(url, crowdTools(20)).join(', ')}], limits: { ${limits} } } }`,
  );
  const talkers: TestClient[] = [];
  for (let i = 0; i < 20; i++) talkers.push(await open(relay.address, `talker-${i}`));
  const audio = JSON.stringify({ type: 'input_audio_buffer.append', audio: Buffer.alloc(4800).toString('base64') });
  const talking = setInterval(() => {
    for (const { ws } of talkers) ws.send(audio);
  }, 100);
  onTestFinished(() => clearInterval(talking));
  const clients: TestClient[] = [];
  for (let i = 0; i < 100; i++) clients.push(await open(relay.address, `user-${i}`));
  const { at: opened } = await addedLatency(relay.ops);
  await pause(10_000);
  const calm = await addedLatency(relay.ops, opened);
  const log = () => relay.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  await Promise.all(clients.map((client, seed) => talk(client, 6, seed)));
  await quiet(log, 11_000);
  const busy = await addedLatency(relay.ops, calm.at);
  const called = log().filter(({ msg }) => msg === 'tool.called');
  report('tools: calls of a hundred sessions', called.length, '>=', 600);
  report('tools: that took ten seconds', called.filter(({ seconds }) => seconds >= 10).length, '>=', 50);
  report(
    'tools: that failed, were given up or timed out',
    called.filter(({ outcome }) => outcome !== 'ok').length,
    '>=',
    100,
  );
  const faults = faultsOf(emulator, log());
  report('tools: calls not answered once, or elsewhere; answers asked for twice', faults.length, '=', 0);
  report('tools: latency that the relay adds (p99), without calls', calm.ms, '<=', 10, 'ms');
  report('tools: the same while they run', busy.ms, '<=', Math.max(10, calm.ms), 'ms');
  expect.soft(faults.slice(0, 10)).toEqual([]);
});

it('a thousand turns, a third of them cut, told to a webhook that fails half of the time, and a drain in the middle', async () => {
  const [talkers, turns] = [20, 50];
  const receiver = await startReceiver(() => (Math.random() < 0.5 ? 503 : 204));
  const emulator = await startTestEmulator({ recordEvents: 0 });
  const limits = 'responses_per_second: 1000, responses_burst: 1000, events_per_second: 10000';
  const relay = await start(
    emulator.url,
    `
webhooks: [{ url: "${receiver.url}", secret: "${webhookSecret}" }]
limits: { busy_delay_ms: 0, busy_percent: 0, drain_seconds: 25 }
profiles: { default: { limits: { ${limits} }, transcripts: { webhook: true } } }`,
  );
  const said = new Map<string, string[]>();
  const speakOf = async (subject: string): Promise<void> => {
    const client = await open(relay.address, subject);
    const words: string[] = [];
    said.set(subject, words);
    for (let turn = 0; turn < turns; turn++) {
      const text = `${subject} ${turn}`;
      const content = [{ type: 'input_text', text }];
      client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
      await client.next('conversation.item.done');
      words.push(text);
      client.send({ type: 'response.create' });
      const { response } = await client.next('response.done');
      const [{ id }] = (response as { output: [{ id: string }] }).output;
      if (turn % 3 > 0) continue;
      client.send({ type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms: 300 });
      await client.next('conversation.item.truncated');
    }
  };

  await Promise.all(Array.from({ length: talkers }, (_, i) => speakOf(`talker-${i}`)));
  // In the middle of what is on its way, and before most answers have had the time to be played.
  relay.child.kill('SIGTERM');
  await relay.exited;
  let wrong = 0;
  for (const [subject, words] of said) {
    const mine = receiver.taken().filter(({ data }) => data.subject === subject);
    const users = mine.filter(({ data }) => data.role === 'user').map(({ data }) => data.text);
    const isWhole = mine.every(({ data }, index) => data.seq === index + 1) && mine.at(-1)?.type === 'session.ended';
    if (!isWhole || users.join() !== words.join()) wrong++;
  }
  const items = receiver.taken('transcript.item').length;
  report('transcripts: records that arrived of a thousand turns', items, '=', 2 * talkers * turns);
  report('transcripts: sessions with a gap, or out of order', wrong, '=', 0);
});

it('two hundred sessions, in turns with a sideband each and without', async () => {
  const [sessions, turns, seconds] = [200, 4, 6];
  const upstream = await startUpstream();
  const relay = await start(
    upstream.url,
    `
profiles: { default: { limits: { connects_per_second: 1000, connects_burst: 1000 } } }
limits: { busy_delay_ms: 0, busy_percent: 0 }`,
  );
  let latencies: number[] = [];
  const ids: string[] = [];
  for (let i = 0; i < sessions; i++) {
    const client = await connect(relay.address + path, { headers: { 'api-key': token(`talker-${i}`) } });
    ids.push(((await client.next('session.created')).session as { id: string }).id);
    client.ws.removeAllListeners('message');
    client.ws.on('message', (data: Buffer) => {
      const [, sentAt] = /"delta":"([\d.]+) /.exec(data.toString('latin1')) ?? [];
      if (sentAt !== undefined) latencies.push(performance.now() - Number(sentAt));
    });
  }
  const voices = upstream.connections.map(({ ws }) => ws);
  for (const ws of voices) begin(ws, 'resp_1');
  const followers = new Worker(new URL('./support/followers.mjs', import.meta.url), {
    workerData: {
      address: relay.address,
      key: signToken({ ...jwt, subject: 'backend', ttlSeconds: 3600, claims: { scope: 'relay.sessions.read' } }),
      ids,
    },
  });
  onTestFinished(() => void followers.terminate());
  const tell = (what: string) => {
    followers.postMessage(what);
    return new Promise<number>((resolve) => followers.once('message', resolve));
  };
  /** Words and speech as they come from a model, each session at a moment of its own. */
  const measured = async () => {
    latencies = [];
    const before = processorTime(relay.child);
    const until = performance.now() + seconds * 1000;
    for (let slot = 0; performance.now() < until; slot = (slot + 1) % 20) {
      for (const [index, ws] of voices.entries()) {
        if (index % 20 !== slot) continue;
        speak(ws, 'resp_1');
        const words = { ...at, response_id: 'resp_1', delta: `${performance.now()} words` };
        ws.send(JSON.stringify({ type: 'response.output_audio_transcript.delta', ...words }));
      }
      await pause(5);
    }
    const sorted = latencies.sort((a, b) => a - b);
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.POSITIVE_INFINITY;
    return { p99, processor: (processorTime(relay.child) - before) / sorted.length };
  };
  await measured();
  type Measured = Awaited<ReturnType<typeof measured>>;
  const [without, beside]: [Measured[], Measured[]] = [[], []];
  let shown = 0;
  for (let turn = 0; turn < turns; turn++) {
    without.push(await measured());
    await tell('attach');
    beside.push(await measured());
    shown = await tell('leave');
  }
  const middle = (all: Measured[], of: keyof Measured) =>
    all.map((one) => one[of]).sort((a, b) => a - b)[Math.floor(all.length / 2)] as number;
  const ratio = (of: keyof Measured) => middle(beside, of) / middle(without, of);
  report('sidebands: events that were shown', shown, '>=', sessions * turns * 10);
  report('sidebands: p99 of what users hear, without', middle(without, 'p99'), '<=', 100, 'ms');
  report('sidebands: the same with one for each session, to that', ratio('p99'), '<=', 1.1);
  report('sidebands: time of the processor for an event, to that', ratio('processor'), '<=', 2);
  report('sidebands: sessions ended', logged(relay, 'session.ended').length, '=', 0);
});

/** Conversations that outlive a cap of twenty seconds for minutes, and a region that goes away, at the pace of the world outside. Run by `npm run endure`. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { signToken } from '../src/auth/token.js';
import type { Emulator } from '../src/emulator/emulator.js';
import { spoken } from './emulator/speech.js';
import { connect, type TestClient } from './support/client.js';
import { relayEnv, serve } from './support/process.js';
import { jwt, startTestEmulator } from './support/relay.js';

/** How many, and for how long; ENDURE_MINUTES=10 is what the documents tell of. */
const sessions = 100;
const minutes = Number(process.env.ENDURE_MINUTES ?? 2);
const rows: string[] = [];
afterAll(() => void process.stdout.write(`\n${rows.join('\n')}\n`));

function report(what: string, value: number, bound: '<=' | '>=' | '=', limit: number, unit = ''): void {
  const ok = bound === '=' ? value === limit : bound === '<=' ? value <= limit : value >= limit;
  rows.push(
    `${what.padEnd(64)}${`${value} ${unit}`.padEnd(14)}${`${bound} ${limit}`.padEnd(12)}${ok ? 'ok' : 'failed'}`,
  );
  expect.soft(ok, rows.at(-1)).toBe(true);
}

async function start(upstreams: readonly Emulator[]) {
  const folder = mkdtempSync(join(tmpdir(), 'relay-endure-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'relay.yaml');
  const targets = upstreams.map(
    ({ url }, index) => `{ name: u${index}, endpoint: '${url}', deployment: gpt-realtime, api_key: emulator-key }`,
  );
  writeFileSync(
    file,
    `upstreams: [${targets.join(', ')}]
limits: { busy_delay_ms: 0, busy_percent: 0 }
profiles: { default: { session: { audio: { input: { transcription: { model: gpt-4o-transcribe } } } }, limits: { audio_burst_seconds: 60 } } }`,
  );
  const relay = await serve(relayEnv(upstreams[0]?.url ?? '', { RELAY_CONFIG: file }));
  return { relay, address: `${relay.url.replace('http', 'ws')}/v1/realtime?model=x&relay_events=on` };
}

async function join100(address: string): Promise<TestClient[]> {
  const clients: TestClient[] = [];
  for (let index = 0; index < sessions; index++) {
    const token = signToken({ ...jwt, subject: `user-${index}`, ttlSeconds: 3600 });
    const client = await connect(address, { headers: { 'api-key': token } });
    await client.next('session.created');
    clients.push(client);
  }
  return clients;
}

/** Says the question again and again, in pieces of 100 ms, at its pace. */
function speakOn(client: TestClient, offset: number): () => void {
  const sound = spoken('pcm', 500, 4500);
  let at = (offset * 4800) % sound.length;
  const timer = setInterval(() => {
    const audio = sound.subarray(at, at + 4800).toString('base64');
    at = at + 4800 >= sound.length ? 0 : at + 4800;
    if (client.ws.readyState === client.ws.OPEN) client.send({ type: 'input_audio_buffer.append', audio });
  }, 100);
  return () => clearInterval(timer);
}

function gaps(clients: readonly TestClient[]): number[] {
  const replaced = clients.flatMap(({ events }) => events.filter(({ type }) => type === 'relay.upstream_replaced'));
  return replaced.map(({ gap_ms: ms }) => Number(ms)).sort((a, b) => a - b);
}

const p95 = (sorted: readonly number[]) => sorted[Math.floor(sorted.length * 0.95)] ?? 0;
const fact = (index: number) => `parrot number ${index} is called Nemo${index}`;

async function remembers(client: TestClient, index: number): Promise<boolean> {
  void client.ask(`What is parrot number ${index} called?`);
  for (let tries = 0; tries < 50; tries++) {
    await pause(200);
    if (client.raw.some((text) => text.includes('response.done') && text.includes(`called Nemo${index}`))) return true;
  }
  return false;
}

it(
  `a hundred users who talk for ${minutes} minutes, with an upstream that ends each connection after twenty seconds`,
  async () => {
    const emulator = await startTestEmulator({
      speed: 4,
      sessionSeconds: 20,
      recordEvents: 0,
      recordConnections: 10_000,
    });
    const { address } = await start([emulator]);
    const clients = await join100(address);
    await Promise.all(clients.map((client, index) => client.ask(`Please remember that ${fact(index)}.`)));
    const stops = clients.map(speakOn);
    await pause(minutes * 60_000);
    for (const stop of stops) stop();
    await pause(4000);
    const all = clients.flatMap(({ events }) => events);
    const known = await Promise.all(clients.map(remembers));
    const planned = all.filter(({ type }) => type === 'relay.upstream_replaced');
    report('cap: sessions that ended', clients.filter(({ ws }) => ws.readyState !== ws.OPEN).length, '=', 0);
    report('cap: connections replaced', planned.length, '>=', sessions * minutes * 2);
    report('cap: of these not at their time', planned.filter(({ trigger }) => trigger !== 'expiry').length, '=', 0);
    report('cap: answers cut off', planned.filter(({ turn_interrupted: cut }) => cut === true).length, '=', 0);
    report('cap: gap (p95)', p95(gaps(clients)), '<=', 50, 'ms');
    report('cap: who remember what they were told first', known.filter(Boolean).length, '=', sessions);
    const utterances = emulator.control.received.connections.reduce((sum, { committed }) => sum + committed.length, 0);
    const heard = all.filter(({ type }) => type === 'input_audio_buffer.committed').length;
    report(
      'cap: utterances upstream, beyond those that clients heard of',
      utterances - heard,
      '<=',
      Math.ceil(heard / 100),
    );
  },
  minutes * 60_000 + 120_000,
);

it('a hundred users who talk, and their region that goes away', async () => {
  const [first, second] = [await startTestEmulator({ speed: 4 }), await startTestEmulator({ speed: 4 })];
  const { address } = await start([first, second]);
  const clients = await join100(address);
  await Promise.all(clients.map((client, index) => client.ask(`Please remember that ${fact(index)}.`)));
  const stops = clients.map(speakOn);
  await pause(5000);
  first.control.faults.arm('reset', 1_000_000);
  first.control.faults.strike('die_mid_response');
  await pause(10_000);
  for (const stop of stops) stop();
  await pause(4000);
  const known = await Promise.all(clients.map(remembers));
  report('region: sessions that ended', clients.filter(({ ws }) => ws.readyState !== ws.OPEN).length, '=', 0);
  report('region: connections at the other one', second.control.received.connectionCount, '>=', sessions);
  report('region: gap (p95)', p95(gaps(clients)), '<=', 1500, 'ms');
  report('region: who remember what they were told first', known.filter(Boolean).length, '=', sessions);
}, 120_000);

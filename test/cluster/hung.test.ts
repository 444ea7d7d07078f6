import { expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { signToken } from '../../src/auth/token.js';
import { TestClient } from '../support/client.js';
import { hurried, relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';

const token = (subject: string) => signToken({ ...jwt, subject, ttlSeconds: 600 });

type Served = Awaited<ReturnType<typeof serve>>;

/** A client whose session is opening; it may be a worker that hangs which has it. */
function knock(relay: Served, subject: string): TestClient {
  const headers = { 'api-key': token(subject) };
  return new TestClient(new WebSocket(`${relay.url.replace('http', 'ws')}/v1/realtime?model=x`, { headers }));
}

function logged(relay: Served, message: string): Record<string, unknown>[] {
  return relay.lines.filter((line) => line.includes(`"${message}"`)).map((line) => JSON.parse(line));
}

async function metric(relay: Served, name: string): Promise<number> {
  const text = await (await fetch(`${relay.ops}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

it('gives a worker that hangs no new connections, kills and replaces it, and gives back what it held', {
  timeout: 60_000,
}, async () => {
  const emulator = await startTestEmulator();
  const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }), hurried);
  await relay.line(() => logged(relay, 'worker.started').length === 2);
  for (let i = 0; i < 4; i++) await knock(relay, `user-${i}`).next('session.created');
  // All places of this user, some of which the worker has that will hang.
  for (let i = 0; i < 3; i++) await knock(relay, 'alice').next('session.created');
  const { pid, worker } = logged(relay, 'worker.started')[0] as { pid: number; worker: number };
  const stopped = performance.now();
  process.kill(pid, 'SIGSTOP');
  // One that came before anybody knew; it is taken by the living in the end.
  const early = [knock(relay, 'early-1'), knock(relay, 'early-2')].map((client) => client.next('session.created'));
  const silent = JSON.parse(await relay.line((line) => line.includes('"worker.silent"')));
  expect(silent).toMatchObject({ level: 'warn', worker, pid, seconds: 1 });
  expect(performance.now() - stopped).toBeLessThan(4000);
  expect(await metric(relay, 'relay_workers_silent')).toBe(1);
  for (let i = 0; i < 6; i++) await knock(relay, `late-${i}`).next('session.created');
  expect((await fetch(`${relay.ops}/readyz`)).status).toBe(200);
  expect(logged(relay, 'worker.hung')).toEqual([]);

  const hung = JSON.parse(await relay.line((line) => line.includes('"worker.hung"')));
  expect(hung).toMatchObject({ level: 'error', worker, pid, seconds: 3 });
  expect(performance.now() - stopped).toBeLessThan(10_000);
  // It had served, so it is replaced soon.
  const died = JSON.parse(await relay.line((line) => line.includes('"worker.died"')));
  expect(died).toMatchObject({ worker, pid, signal: 'SIGKILL' });
  expect(died.restart_ms).toBeLessThanOrEqual(100);
  await relay.line(() => logged(relay, 'worker.started').length === 3);
  await Promise.all(early);
  expect(await metric(relay, 'relay_workers_hung_total')).toBe(1);
  expect(await metric(relay, 'relay_workers_silent')).toBe(0);
  await knock(relay, 'alice').next('session.created');
});

it('takes a worker that was slow for a while back, without ending anybody', { timeout: 60_000 }, async () => {
  const emulator = await startTestEmulator();
  const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }), hurried);
  const clients = ['a', 'b'].map((subject) => knock(relay, subject));
  for (const client of clients) await client.next('session.created');
  const { pid, worker } = JSON.parse(await relay.line((line) => line.includes('"worker.started"')));
  process.kill(pid, 'SIGSTOP');
  await relay.line((line) => line.includes('"worker.silent"'));
  process.kill(pid, 'SIGCONT');
  expect(JSON.parse(await relay.line((line) => line.includes('"worker.heard"')))).toMatchObject({ worker, pid });
  for (const client of clients) await client.ask('hello');
  for (let i = 0; i < 4; i++) await knock(relay, `c-${i}`).next('session.created');
  const took = logged(relay, 'session.opened').filter((line) => line.worker === worker);
  expect(took.length).toBeGreaterThanOrEqual(2);
  expect(logged(relay, 'worker.died')).toEqual([]);
});

it('replaces workers within a second that a user kills again and again', { timeout: 60_000 }, async () => {
  const emulator = await startTestEmulator();
  const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }), hurried);
  for (let round = 1; round <= 3; round++) {
    await relay.line(() => logged(relay, 'worker.started').length === round + 1);
    const { pid } = logged(relay, 'worker.started').findLast((line) => line.worker === 1) as { pid: number };
    process.kill(pid, 'SIGKILL');
    await relay.line(() => logged(relay, 'worker.died').length === round);
  }
  for (const { restart_ms } of logged(relay, 'worker.died')) expect(restart_ms).toBeLessThanOrEqual(1000);
});

import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { signToken } from '../../src/auth/token.js';
import { loadConfig } from '../../src/config/load.js';
import { ConfigError } from '../../src/problems.js';
import { makeCertificate } from '../support/certificate.js';
import { TestClient } from '../support/client.js';
import { type Running, relayEnv, run, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';
import { Caller } from '../webrtc/caller.js';

type Served = Running & { url: string; ops: string };

const path = '/openai/v1/realtime?model=x';
const token = (subject: string) => signToken({ ...jwt, subject, ttlSeconds: 600 });

/** A client whose session is open, or the status it was refused with. */
function attempt(relay: Served, credential: string): Promise<TestClient | number> {
  return new Promise((resolve) => {
    const ws = new WebSocket(relay.url.replace('http', 'ws') + path, {
      headers: { 'api-key': credential },
      rejectUnauthorized: false,
    });
    const client = new TestClient(ws);
    ws.once('unexpected-response', (request, response) => {
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
    void client.next('session.created').then(
      () => resolve(client),
      () => undefined,
    );
  });
}

function attempts(relay: Served, credentials: readonly string[]): Promise<(TestClient | number)[]> {
  return Promise.all(credentials.map((credential) => attempt(relay, credential)));
}

const isOpen = (result: TestClient | number): result is TestClient => result instanceof TestClient;
const users = (count: number) => Array.from({ length: count }, (_, index) => token(`user-${index}`));

function logged(relay: Served, message: string): Record<string, unknown>[] {
  return relay.lines.filter((line) => line.includes(`"${message}"`)).map((line) => JSON.parse(line));
}

async function metric(relay: Served, name: string, label = ''): Promise<number> {
  const text = await (await fetch(`${relay.ops}/metrics`)).text();
  const lines = text.split('\n').filter((line) => /^[a-z_]+/.exec(line)?.[0] === name && line.includes(label));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

function childrenOf(pid: number | undefined): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

async function start(yaml = '', env: Record<string, string> = {}): Promise<Served & { rewrite(yaml: string): void }> {
  const emulator = await startTestEmulator();
  const folder = mkdtempSync(join(tmpdir(), 'relay-workers-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'relay.yaml');
  writeFileSync(file, yaml);
  const relay = await serve(relayEnv(emulator.url, { RELAY_CONFIG: file, RELAY_WORKERS: '2', ...env }));
  return { ...relay, rewrite: (next) => writeFileSync(file, next) };
}

describe('a relay of two workers', { timeout: 30_000 }, () => {
  it('counts users, secrets, budgets and metrics over both, shares connections out evenly and finds any call', async () => {
    const relay = await start('profiles: { daily: { limits: { sessions_per_user: 20, sessions_per_day: 5 } } }');
    for (const credential of users(10)) expect(isOpen(await attempt(relay, credential))).toBe(true);
    // A client may know before the log does.
    await relay.line(() => logged(relay, 'session.opened').length === 10);
    const ofFirst = logged(relay, 'session.opened').filter(({ worker }) => worker === 1).length;
    expect(ofFirst).toBeGreaterThanOrEqual(4);
    expect(ofFirst).toBeLessThanOrEqual(6);

    const sameUser = await attempts(relay, Array(20).fill(token('alice')));
    expect(sameUser.filter(isOpen)).toHaveLength(3);
    expect(sameUser.filter((result) => result === 429)).toHaveLength(17);

    const daily = signToken({ ...jwt, subject: 'bob', ttlSeconds: 600, profile: 'daily' });
    const sameBudget = await attempts(relay, Array(10).fill(daily));
    expect(sameBudget.filter(isOpen)).toHaveLength(5);
    expect(sameBudget.filter((result) => result === 429)).toHaveLength(5);

    const minted = await Promise.all(
      users(6).map(async (credential) => {
        const headers = { Authorization: `Bearer ${credential}`, Connection: 'close' };
        const answer = await fetch(`${relay.url}/v1/realtime/client_secrets`, { method: 'POST', headers });
        return ((await answer.json()) as { value: string }).value;
      }),
    );
    for (const secret of minted) {
      const redeemed = await attempts(relay, [secret, secret, secret]);
      expect(redeemed.filter(isOpen)).toHaveLength(1);
      expect(redeemed.filter((result) => result === 401)).toHaveLength(2);
    }

    expect(await metric(relay, 'relay_sessions_active')).toBe(24);
    expect(await metric(relay, 'relay_sessions_total', 'ready')).toBe(24);
    expect(await metric(relay, 'relay_session_ready_seconds_count')).toBe(24);
    expect(await metric(relay, 'relay_refusals_total')).toBe(34);
    expect(await metric(relay, 'process_start_time_seconds')).toBeGreaterThan(Date.now() / 1000 - 60);
    expect(await metric(relay, 'relay_worker_restarts_total')).toBe(0);

    // A call is hung up by whichever worker is asked to.
    const headers = { Authorization: `Bearer ${token('a')}`, Connection: 'close' };
    const hangUp = (call: string) => fetch(`${relay.url}${call}/hangup`, { method: 'POST', headers });
    const { offer } = await Caller.create();
    // Connections are dealt out in turn: with one in between, the second is asked of the worker that has it.
    for (const between of [0, 1]) {
      const created = await fetch(`${relay.url}/v1/realtime/calls`, { method: 'POST', headers, body: offer });
      expect(created.status).toBe(201);
      const call = created.headers.get('location') as string;
      for (let i = 0; i < between; i++) expect((await hangUp('/v1/realtime/calls/call_0')).status).toBe(404);
      expect((await hangUp(call)).status).toBe(200);
      expect((await hangUp(call)).status).toBe(404);
    }
  });

  it('replaces a worker that dies, gives its places back, loses none of what it counted, and ends with its primary', async () => {
    const relay = await start('limits: { sessions: 4 }');
    const first = await attempts(relay, users(9));
    expect(first.filter(isOpen)).toHaveLength(4);
    expect(first.filter((result) => result === 503)).toHaveLength(5);
    expect(await metric(relay, 'relay_sessions_total', 'ready')).toBe(4);

    await relay.line(() => logged(relay, 'session.opened').length === 4);
    const opened = logged(relay, 'session.opened');
    const { worker, pid } = logged(relay, 'worker.started').find((line) => line.worker === opened[0]?.worker) ?? {};
    const lost = opened.filter((line) => line.worker === worker).length;
    // One that hangs does not make the others look ill.
    process.kill(Number(pid), 'SIGSTOP');
    expect((await fetch(`${relay.ops}/readyz`)).status).toBe(200);
    expect(await metric(relay, 'relay_sessions_total', 'ready')).toBe(4);
    process.kill(Number(pid), 'SIGKILL');
    const died = JSON.parse(await relay.line((line) => line.includes('"worker.died"')));
    expect(died).toMatchObject({ level: 'error', worker, pid, signal: 'SIGKILL' });
    const isSuccessor = (line: string) => line.includes('"worker.started"') && !line.includes(`"pid":${pid}`);
    await relay.line((line) => isSuccessor(line) && JSON.parse(line).worker === worker);

    const second = await attempts(relay, users(9));
    expect(second.filter(isOpen)).toHaveLength(lost);
    expect(await metric(relay, 'relay_sessions_active')).toBe(4);
    expect(await metric(relay, 'relay_sessions_total', 'ready')).toBe(4 + lost);
    expect(await metric(relay, 'relay_worker_restarts_total')).toBe(1);
    expect((await fetch(`${relay.ops}/readyz`)).status).toBe(200);

    relay.child.kill('SIGKILL');
    for (const client of second.filter(isOpen)) expect((await client.closed).code).toBe(1006);
    // The streams are closed when the last process that has them is gone.
    expect(await relay.exited).toBe('SIGKILL');
  });

  it('reloads settings and certificate in every worker, drains them all on SIGTERM, and exits 0', async () => {
    const [certificate, renewed] = [
      makeCertificate({ commonName: 'first' }),
      makeCertificate({ commonName: 'second' }),
    ];
    const tls = { RELAY_TLS_CERT: certificate.cert, RELAY_TLS_KEY: certificate.key };
    const relay = await start('limits: { sessions: 1 }', tls);
    for (const part of ['cert', 'key'] as const) copyFileSync(renewed[part], certificate[part]);
    expect((await attempts(relay, users(4))).filter(isOpen)).toHaveLength(1);
    relay.rewrite('limits: { sessions: x }');
    relay.child.kill('SIGHUP');
    await relay.line((line) => line.includes('config.rejected'));
    relay.rewrite('limits: { sessions: 3 }');
    relay.child.kill('SIGHUP');
    for (const worker of [1, 2]) {
      for (const message of ['config.reloaded', 'certificate.reloaded']) {
        await relay.line((line) => line.includes(message) && line.includes(`"worker":${worker}`));
      }
    }
    const more = (await attempts(relay, users(4))).filter(isOpen);
    expect(more).toHaveLength(2);

    const children = childrenOf(relay.child.pid);
    expect(children).toHaveLength(2);
    // As a terminal does: to all of them.
    for (const pid of children) process.kill(pid, 'SIGTERM');
    relay.child.kill('SIGTERM');
    for (const client of more) expect(await client.closed).toEqual({ code: 1012, reason: 'draining' });
    expect(await relay.exited).toBe(0);
    expect(logged(relay, 'worker.stopped').map(({ worker }) => worker)).toEqual(expect.arrayContaining([1, 2]));
    expect(logged(relay, 'worker.died')).toEqual([]);
  });

  it('is not ready while it drains, and ends at once on a second signal', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('mute');
    const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }));
    const client = (await attempt(relay, token('a'))) as TestClient;
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length > 0);
    relay.child.kill('SIGTERM');
    await relay.line((line) => line.includes('relay.draining'));
    const ready = await fetch(`${relay.ops}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([503, { detail: 'draining' }]);
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(1);
    expect((await client.closed).code).toBe(1006);
  });
});

describe('RELAY_WORKERS', { timeout: 30_000 }, () => {
  it.each([
    [undefined, 1],
    ['1', 1],
    ['8', 8],
    ['auto', Math.min(availableParallelism(), 99)],
  ])('of %s means %i', (value, workers) => {
    const env = relayEnv('http://127.0.0.1:1', value === undefined ? {} : { RELAY_WORKERS: value });
    expect(loadConfig(env).workers).toBe(workers);
  });

  it.each(['0', '-1', '1.5', '100', 'all'])('of %s is refused', (value) => {
    const load = () => loadConfig(relayEnv('http://127.0.0.1:1', { RELAY_WORKERS: value }));
    expect(load).toThrow(ConfigError);
  });

  it('of 1 starts no other process, and the log names no worker', async () => {
    const relay = await start('', { RELAY_WORKERS: '1' });
    await attempt(relay, token('a'));
    await relay.line((line) => line.includes('session.opened'));
    expect(childrenOf(relay.child.pid)).toEqual([]);
    expect(logged(relay, 'session.opened')[0]).not.toHaveProperty('worker');
  });

  it('ends with the code of a worker that cannot start', async () => {
    const taken = await startTestEmulator();
    const env = relayEnv(taken.url, { RELAY_WORKERS: '2', PORT: new URL(taken.url).port });
    const relay = run(['serve'], env);
    expect(await relay.exited).toBe(1);
    expect(relay.lines.join('\n')).toContain('The address is in use');
  });
});

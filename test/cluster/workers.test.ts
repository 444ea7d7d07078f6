import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { signToken } from '../../src/auth/token.js';
import { TestClient } from '../support/client.js';
import { type Running, relayEnv, run, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';

type Served = Running & { url: string; ops: string };

const path = '/openai/v1/realtime?model=x';
const token = (subject: string) => signToken({ ...jwt, subject, ttlSeconds: 600 });

/** A client whose session is open, or the status it was refused with. */
function attempt(relay: Served, credential: string): Promise<TestClient | number> {
  return new Promise((resolve) => {
    const ws = new WebSocket(relay.url.replace('http', 'ws') + path, { headers: { 'api-key': credential } });
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

/** The processes of the command line below this one; the loader of TypeScript has processes of its own. */
function childrenOf(pid: number | undefined): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number)
    .filter((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('cli.ts'));
}

async function start(yaml = '', env: Record<string, string> = {}): Promise<Served & { rewrite(yaml: string): void }> {
  const emulator = await startTestEmulator();
  const folder = await mkdtemp(join(tmpdir(), 'relay-workers-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'relay.yaml');
  await writeFile(file, yaml);
  const relay = await serve(relayEnv(emulator.url, { RELAY_CONFIG: file, RELAY_WORKERS: '2', ...env }));
  return { ...relay, rewrite: (next) => void writeFile(file, next) };
}

describe('a relay of two workers', () => {
  it('counts users, secrets and everything else over both, and shares the connections out evenly', async () => {
    const relay = await start();
    const sameUser = await attempts(relay, Array(20).fill(token('alice')));
    expect(sameUser.filter(isOpen)).toHaveLength(3);
    expect(sameUser.filter((result) => result === 429)).toHaveLength(17);

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

    const opened = logged(relay, 'session.opened').map(({ worker }) => worker);
    expect(new Set(opened)).toEqual(new Set([1, 2]));
    const knocks = [...logged(relay, 'session.refused').map(({ worker }) => worker), ...opened];
    const ofFirst = knocks.filter((worker) => worker === 1).length;
    expect(knocks).toHaveLength(38);
    expect(Math.abs(ofFirst - (38 - ofFirst))).toBeLessThanOrEqual(6);

    expect(await metric(relay, 'relay_sessions_active')).toBe(9);
    expect(await metric(relay, 'relay_sessions_total', 'ready')).toBe(9);
    expect(await metric(relay, 'relay_session_ready_seconds_count')).toBe(9);
    expect(await metric(relay, 'relay_refusals_total')).toBe(29);
    expect(await metric(relay, 'process_start_time_seconds')).toBeGreaterThan(Date.now() / 1000 - 60);
    expect(await metric(relay, 'relay_worker_restarts_total')).toBe(0);
  });

  it('replaces a worker that dies, gives its places back, and loses none of what it counted', async () => {
    const relay = await start('limits: { sessions: 4 }');
    const first = await attempts(relay, users(9));
    expect(first.filter(isOpen)).toHaveLength(4);
    expect(first.filter((result) => result === 503)).toHaveLength(5);
    expect(await metric(relay, 'relay_sessions_total', 'ready')).toBe(4);

    const opened = logged(relay, 'session.opened');
    const { worker, pid } = logged(relay, 'worker.started').find((line) => line.worker === opened[0]?.worker) ?? {};
    const lost = opened.filter((line) => line.worker === worker).length;
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
  });

  it('reloads in every worker on SIGHUP, drains them all on SIGTERM, and exits 0', async () => {
    const relay = await start('limits: { sessions: 1 }');
    expect((await attempts(relay, users(4))).filter(isOpen)).toHaveLength(1);
    relay.rewrite('limits: { sessions: x }');
    relay.child.kill('SIGHUP');
    await relay.line((line) => line.includes('config.rejected'));
    relay.rewrite('limits: { sessions: 3 }');
    relay.child.kill('SIGHUP');
    for (const worker of [1, 2]) {
      await relay.line((line) => line.includes('config.reloaded') && line.includes(`"worker":${worker}`));
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

  it('ends with its primary', async () => {
    const relay = await start();
    const client = (await attempt(relay, token('a'))) as TestClient;
    relay.child.kill('SIGKILL');
    expect((await client.closed).code).toBe(1006);
    // The streams are closed when the last process that has them is gone.
    expect(await relay.exited).toBe('SIGKILL');
  });
});

describe('RELAY_WORKERS', () => {
  it('of 1 starts no other process, and the log names no worker', async () => {
    const relay = await start('', { RELAY_WORKERS: '1' });
    await attempt(relay, token('a'));
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

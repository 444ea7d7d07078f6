import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, refused, type TestClient } from '../support/client.js';
import { type Running, relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';
import { Caller } from '../webrtc/caller.js';

type Served = Running & { url: string; ops: string };

const sign = (subject: string, claims: Record<string, unknown> = {}) =>
  signToken({ ...jwt, subject, ttlSeconds: 600, claims });

async function talking({ url }: Served, token: string): Promise<TestClient> {
  const client = await connect(`${url.replace('http', 'ws')}/openai/v1/realtime?model=x`, {
    headers: { authorization: `Bearer ${token}` },
  });
  await client.next('session.created');
  return client;
}

/** The status of so many handshakes: connections are dealt out in turn, so that each worker has some. */
function statuses({ url }: Served, token: string): Promise<number[]> {
  const one = async () => {
    const address = `${url.replace('http', 'ws')}/openai/v1/realtime?model=x`;
    return (await refused(address, { headers: { authorization: `Bearer ${token}` } })).status;
  };
  return Promise.all(Array.from({ length: 4 }, one));
}

async function post({ url }: Served, path: string, token: string, body: string): Promise<Response> {
  const headers = { authorization: `Bearer ${token}`, connection: 'close' };
  return fetch(`${url}${path}`, { method: 'POST', headers, body });
}

async function revoke(relay: Served, body: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const token = sign('backend', { scope: 'relay.revoke' });
  const answer = await post(relay, '/v1/relay/revocations', token, JSON.stringify(body));
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

async function metric({ ops }: Served, line: string): Promise<number> {
  const text = await (await fetch(`${ops}/metrics`)).text();
  const found = text.split('\n').find((one) => one.startsWith(`${line} `));
  return Number(found?.slice(line.length));
}

function logged(relay: Served, message: string): Record<string, unknown>[] {
  return relay.lines.filter((line) => line.includes(`"${message}"`)).map((line) => JSON.parse(line));
}

describe('a revocation at a relay of two workers', { timeout: 30_000 }, () => {
  it('holds in both, in one that comes later, and when the settings are read again', async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }));
    // Two for each worker, and a call.
    const ids = ['a', 'b', 'c', 'd'];
    const tokens = ids.map((jti) => sign(`user-${jti}`, { jti, tenant: 'acme' }));
    const clients: TestClient[] = [];
    for (const token of tokens) clients.push(await talking(relay, token));
    const caller = await Caller.create();
    const created = await post(relay, '/v1/realtime/calls', tokens[0] as string, caller.offer);
    await caller.accept(await created.text());
    await relay.line(() => logged(relay, 'session.opened').length === 5);
    expect(new Set(logged(relay, 'session.opened').map(({ worker }) => worker))).toEqual(new Set([1, 2]));

    const since = Date.now();
    const [user, token] = await Promise.all([revoke(relay, { sub: 'user-a' }), revoke(relay, { jti: 'b' })]);
    expect([user, token]).toMatchObject([
      { status: 200, body: { ended: 2 } },
      { status: 200, body: { ended: 1 } },
    ]);
    for (const client of clients.slice(0, 2)) expect((await client.closed).reason).toBe('revoked');
    await caller.closed();
    expect(Date.now() - since).toBeLessThan(5000);
    expect(emulator.control.calls.records.open).toEqual([]);
    for (const one of tokens.slice(0, 2)) expect(await statuses(relay, one)).toEqual([401, 401, 401, 401]);
    for (const client of clients.slice(2)) expect((await client.ask('Hi')).status).toBe('completed');
    expect(await metric(relay, 'relay_revocations')).toBe(2);
    expect(await metric(relay, 'relay_session_ends_total{reason="revoked",initiator="relay"}')).toBe(3);

    const [{ pid, worker } = {}] = logged(relay, 'worker.started');
    process.kill(Number(pid), 'SIGKILL');
    await relay.line((line) => line.includes('"worker.died"'));
    const isSuccessor = (line: string) => line.includes('"worker.started"') && !line.includes(`"pid":${pid}`);
    await relay.line((line) => isSuccessor(line) && JSON.parse(line).worker === worker);
    relay.child.kill('SIGHUP');
    await relay.line((line) => line.includes('"config.unchanged"') || line.includes('"config.reloaded"'));
    for (const one of tokens.slice(0, 2)) expect(await statuses(relay, one)).toEqual([401, 401, 401, 401]);
    await talking(relay, sign('user-a'));
  });

  it('is not said to hold while a worker does not confirm it', async () => {
    const emulator = await startTestEmulator();
    const relay = await serve(relayEnv(emulator.url, { RELAY_WORKERS: '2' }));
    const client = await talking(relay, sign('alice'));
    await relay.line(() => logged(relay, 'session.opened').length === 1);
    const [{ worker } = {}] = logged(relay, 'session.opened');
    const { pid } = logged(relay, 'worker.started').find((line) => line.worker === worker) ?? {};
    process.kill(Number(pid), 'SIGSTOP');
    let failed = await revoke(relay, { sub: 'alice' }).finally(() => process.kill(Number(pid), 'SIGCONT'));
    expect(failed).toMatchObject({ status: 503, body: { error: { code: 'overloaded', retryable: true } } });
    // What it was told it does as soon as it can, and says so when it is asked again.
    expect((await client.closed).reason).toBe('revoked');
    failed = await revoke(relay, { sub: 'alice' });
    expect(failed).toMatchObject({ status: 200, body: { ended: 0 } });
  });
});

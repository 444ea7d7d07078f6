import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, type TestContext, vi } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { type Emulator, startEmulator } from '../../src/emulator/emulator.js';
import { connect, type TestClient } from '../support/client.js';
import { type Identity, startIdentity } from '../support/identity.js';
import { metricAt } from '../support/memory.js';
import { jwt } from '../support/relay.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const door = '/openai/v1/realtime?model=x';
const patience = { timeout: 12_000, interval: 50 };

interface ServedRelay {
  readonly child: ChildProcess;
  readonly log: Record<string, unknown>[];
  readonly address: string;
  open(subject?: string): Promise<TestClient>;
  handshake(subject?: string): { headers: Record<string, string> };
  ready(): Promise<{ status: number; detail: string | null }>;
  metric(name: string, labels?: Record<string, string>): Promise<number>;
}

/** The relay as an operator runs it, with the credentials of its machine and no API key. */
async function serve(upstream: string, { env }: Identity, { onTestFinished }: TestContext): Promise<ServedRelay> {
  const child = spawn(process.execPath, ['dist/cli.js', 'serve'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: '0',
      RELAY_OPS_PORT: '0',
      AZURE_OPENAI_ENDPOINT: upstream,
      AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
      RELAY_JWT_SECRET: jwt.secret,
      RELAY_JWT_ISSUER: jwt.issuer,
      RELAY_JWT_AUDIENCE: jwt.audience,
      ...env,
    },
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  });
  const log: Record<string, unknown>[] = [];
  const started = new Promise<{ url: string; ops: string }>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => {
      const line = JSON.parse(text) as Record<string, unknown>;
      log.push(line);
      if (line.msg === 'relay.started') resolve(line as { url: string; ops: string } & typeof line);
    });
    child.once('exit', (code) => reject(new Error(`the relay ended with ${code}`)));
  });
  const { url, ops } = await started;
  const address = url.replace('http', 'ws');
  const handshake = (subject = 'alice') => ({
    headers: { Authorization: `Bearer ${signToken({ ...jwt, subject, ttlSeconds: 600 })}` },
  });
  return {
    child,
    log,
    address,
    handshake,
    async open(subject) {
      const client = await connect(address + door, handshake(subject));
      await client.next('session.created');
      return client;
    },
    async ready() {
      const response = await fetch(`${ops}/readyz`);
      const { detail } = (await response.json()) as { detail: string | null };
      return { status: response.status, detail };
    },
    metric: (name, labels) => metricAt(ops, name, labels),
  };
}

/** An identity service, an emulator that takes no credential but its tokens, and a relay between them. */
async function world(context: TestContext, lifetimeSeconds?: number) {
  const identity = await startIdentity(lifetimeSeconds === undefined ? {} : { lifetimeSeconds });
  context.onTestFinished(() => identity.close());
  const withdrawn = new Set<string>();
  const emulator = await startEmulator({
    speed: Number.POSITIVE_INFINITY,
    apiKeys: [],
    bearer: (token) => identity.tokens.includes(token) && !withdrawn.has(token),
  });
  context.onTestFinished(() => emulator.close());
  const relay = await serve(emulator.url, identity, context);
  await vi.waitFor(async () => expect(await relay.ready()).toEqual({ status: 200, detail: null }), patience);
  return { identity, emulator, relay, withdrawn };
}

function bearersOf({ control }: Emulator): Set<string | undefined> {
  return new Set(control.received.connections.map(({ headers }) => headers.authorization));
}

describe('with the managed identity of the machine and no API key', () => {
  it('opens 200 sessions with one token', async (context) => {
    const { identity, emulator, relay } = await world(context);
    const subjects = Array.from({ length: 200 }, (_, index) => `user-${index}`);
    const clients = await Promise.all(subjects.map((subject) => relay.open(subject)));
    expect(emulator.control.received.openCount).toBe(200);
    expect(await clients[199]?.ask('hello')).toMatchObject({ status: 'completed' });
    expect(identity.requests).toHaveLength(1);
    expect(identity.requests[0]?.resource).toBe('https://cognitiveservices.azure.com');
    expect([...bearersOf(emulator)]).toEqual([`Bearer ${identity.tokens[0]}`]);
    const [connection] = emulator.control.received.connections;
    expect(connection?.headers).not.toHaveProperty('api-key');
    expect(await relay.metric('relay_entra_token_seconds_count', { outcome: 'ok' })).toBe(1);
    expect(await relay.metric('relay_entra_token_expiry_seconds')).toBeCloseTo(24 * 3600, -2);
    expect(JSON.stringify(relay.log)).not.toContain(identity.tokens[0]);
    for (const client of clients) client.ws.terminate();
  });
});

// Most of this is waiting for tokens to run out.
describe.concurrent('with tokens that do not last', { timeout: 40_000 }, () => {
  it('renews a token long before it runs out, under running sessions', async (context) => {
    const { identity, emulator, relay } = await world(context, 5);
    const running = await relay.open('early');
    await vi.waitFor(() => expect(identity.tokens.length).toBeGreaterThan(1), patience);
    expect(await relay.metric('relay_entra_token_expiry_seconds')).toBeGreaterThan(2);
    await relay.open('late');
    expect(bearersOf(emulator).size).toBe(2);
    expect(await running.ask('are you still there?')).toMatchObject({ status: 'completed' });
    expect(await relay.metric('relay_entra_token_seconds_count', { outcome: 'ok' })).toBeGreaterThan(1);
    expect(await relay.metric('relay_entra_token_seconds_count', { outcome: 'failed' })).toBe(0);
  });

  it('outlives a dead identity service: sessions go on, new ones open while the token lives, and the rest wait', async (context) => {
    const { identity, relay } = await world(context, 6);
    const running = await relay.open('early');
    identity.fail('refuses');
    await vi.waitFor(() => expect(identity.requests.length).toBeGreaterThan(1), patience);
    expect(await relay.ready()).toMatchObject({ status: 200 });
    const later = await relay.open('later');
    expect(await later.ask('hello')).toMatchObject({ status: 'completed' });

    await vi.waitFor(async () => expect((await relay.ready()).status).toBe(503), patience);
    expect(await relay.metric('relay_entra_token_seconds_count', { outcome: 'failed' })).toBeGreaterThan(0);
    expect((await relay.ready()).detail).toMatch(/\w/);
    expect(await relay.metric('relay_entra_token_expiry_seconds')).toBe(0);
    const turnedAway = await connect(relay.address + door, relay.handshake('too-late'));
    expect(await turnedAway.closed).toEqual({ code: 1013, reason: 'upstream_unavailable' });
    expect(await running.ask('are you still there?')).toMatchObject({ status: 'completed' });
    expect(relay.child.exitCode).toBeNull();

    identity.fail(null);
    await vi.waitFor(async () => {
      expect(await (await relay.open('again')).ask('hello')).toMatchObject({ status: 'completed' });
    }, patience);
    expect(await relay.ready()).toEqual({ status: 200, detail: null });
    expect(relay.log.some(({ msg }) => msg === 'identity.failed')).toBe(true);
    expect(relay.log.some(({ level }) => level === 'fatal')).toBe(false);
  });

  it('answers a 401 of upstream with one fresh token', async (context) => {
    const { identity, emulator, relay, withdrawn } = await world(context, 120);
    await relay.open('before');
    const before = emulator.control.received.connectionCount;
    for (const token of identity.tokens) withdrawn.add(token);
    const client = await relay.open('after');
    expect(await client.ask('hello')).toMatchObject({ status: 'completed' });
    expect(identity.tokens).toHaveLength(2);
    expect(emulator.control.received.connectionCount - before).toBe(2);
    expect(emulator.control.received.connections.at(-2)?.refused).toBe(401);
    await relay.open('with the same token');
    expect(identity.tokens).toHaveLength(2);
  });
});

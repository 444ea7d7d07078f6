import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect, refused } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { relayEnv, serve } from '../support/process.js';
import { connectRaw } from '../support/raw.js';
import { jwt, startTestEmulator, startTestRelay } from '../support/relay.js';

const path = '/openai/v1/realtime?model=x';
const limits = (places: number) => `profiles: { default: { limits: { sessions_per_user: ${places} } } }`;

async function start(places: number, subject = 'alice', more = '') {
  const time = holdTime();
  const emulator = await startTestEmulator();
  const server = await startTestRelay({ upstream: emulator.url, yaml: `${limits(places)}\n${more}` });
  const token = server.token({ subject, ttlSeconds: 3600 });
  /** Somebody whose network may be gone without a word. */
  const open = async (answersPings: boolean) => {
    const client = await connectRaw(server.address, token);
    await client.event('session.created');
    client.answersPings = answersPings;
    return client;
  };
  const turnedAway = () => refused(server.address + path, { headers: { 'api-key': token } });
  return { time, server, open, turnedAway };
}

describe('a user whose places are full comes back', () => {
  it('client_lost: and has the place of the connection that is gone, of several the one gone longest', async () => {
    const { time, server, open } = await start(2);
    const longer = await open(false);
    await time.live(4);
    const shorter = await open(false);
    await time.live(17);
    const back = await open(true);
    expect(await longer.closed).toEqual({ code: 1001, reason: 'client_lost' });
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'client_lost', initiator: 'client' });
    expect(server.relay.sessions.size).toBe(2);
    for (const { socket } of [shorter, back]) expect(socket.destroyed).toBe(false);
  });

  it('and is turned away when a session that is only quiet answers', async () => {
    const { time, server, open, turnedAway } = await start(1);
    const quiet = await open(true);
    await time.live(20);
    const pinged = quiet.frame(({ opcode }) => opcode === 9);
    expect(await turnedAway()).toMatchObject({ status: 429, body: { error: { code: 'rate_limited' } } });
    await pinged;
    expect(server.relay.sessions.size).toBe(1);
  });

  it.each([
    ['the session was heard a moment ago', 10, 'alice'],
    ['many share the name', 20, 'anonymous'],
  ])('and is turned away at once when %s', async (_, seconds, subject) => {
    const { time, server, open, turnedAway } = await start(1, subject);
    await open(false);
    await time.live(seconds);
    expect(await turnedAway()).toMatchObject({ status: 429 });
    expect(server.relay.sessions.size).toBe(1);
  });

  it('and again and again, which keeps nobody else out meanwhile', async () => {
    const { time, server, open, turnedAway } = await start(1, 'alice', 'limits: { sessions: 5 }');
    const quiet = await open(true);
    await time.live(20);
    const pinged = quiet.frame(({ opcode }) => opcode === 9);
    const all = Array.from({ length: 9 }, () => turnedAway());
    await pinged;
    await Promise.race(all);
    const bob = await connectRaw(server.address, server.token({ subject: 'bob', ttlSeconds: 3600 }));
    await bob.event('session.created');
    const answers = (await Promise.all(all)).map(({ body }) => body.error.code);
    expect(answers).toContain('rate_limited');
  });

  it('and does not take the place of somebody else', async () => {
    const { time, server, open, turnedAway } = await start(1);
    const other = await connectRaw(server.address, server.token({ subject: 'bob', ttlSeconds: 3600 }));
    await other.event('session.created');
    other.answersPings = false;
    await time.live(20);
    await open(true);
    expect(await turnedAway()).toMatchObject({ status: 429 });
    expect(server.relay.sessions.size).toBe(2);
  });
});

describe('a relay of two workers', { timeout: 30_000 }, () => {
  it('client_lost: finds the connection that is gone at the other worker', async () => {
    const emulator = await startTestEmulator();
    const folder = mkdtempSync(join(tmpdir(), 'relay-ghosts-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'relay.yaml');
    writeFileSync(file, `${limits(1)}\nlimits: { ping_seconds: 3600 }`);
    // Ten seconds a second.
    const hurry = 'const now = performance.now.bind(performance); performance.now = () => now() * 10;';
    const relay = await serve(
      relayEnv(emulator.url, {
        RELAY_CONFIG: file,
        RELAY_WORKERS: '2',
        NODE_OPTIONS: `--import ${JSON.stringify(`data:text/javascript,${encodeURIComponent(hurry)}`)}`,
      }),
    );
    const url = relay.url.replace('http', 'ws');
    const token = signToken({ ...jwt, subject: 'alice', ttlSeconds: 600 });
    const gone = await connectRaw(url, token);
    await gone.event('session.created');
    gone.answersPings = false;
    await new Promise((resolve) => setTimeout(resolve, 3000));
    // The next connection goes to the other worker.
    const back = await connect(url + path, { headers: { 'api-key': token } });
    await back.next('session.created');
    expect(await gone.closed).toEqual({ code: 1001, reason: 'client_lost' });
    const opened = () => relay.lines.filter((line) => line.includes('session.opened')).map((line) => JSON.parse(line));
    await relay.line(() => opened().length === 2);
    expect(new Set(opened().map(({ worker }) => worker)).size).toBe(2);
  });
});

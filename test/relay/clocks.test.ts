import { describe, expect, it } from 'vitest';
import { refused } from '../support/client.js';
import { type HeldTime, holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { connectRaw } from '../support/raw.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const jumps = [
  ['a quarter of an hour ahead', 15 * 60],
  ['ten minutes back', -10 * 60],
] as const;

async function start(yaml = '{}') {
  const emulator = await startTestEmulator();
  const server = await startTestRelay({ upstream: emulator.url, yaml });
  const open = async () => {
    const client = await server.connect({ token: server.token({ ttlSeconds: 7200 }) });
    await client.next('session.created');
    return client;
  };
  return { emulator, server, open };
}

describe.each(jumps)('a wall clock that is set %s', (_, seconds) => {
  it('ends no session, and idle ones end when they would have', async () => {
    const time = holdTime();
    const { server, open } = await start('profiles: { default: { limits: { idle_seconds: 100 } } }');
    const client = await open();
    await time.live(5);
    time.set(seconds);
    await time.live(90);
    expect(server.relay.sessions.size).toBe(1);
    await time.live(10);
    expect(await endOf(server, client)).toEqual(end('idle_timeout', 1000, 'relay'));
    const { seconds: lasted } = await server.logged('session.ended');
    expect(lasted).toBeGreaterThan(99);
    expect(lasted).toBeLessThan(110);
    const { minutes, started_at, ended_at } = await server.logged('session.usage');
    expect(minutes).toBeLessThan(2);
    expect(Date.parse(String(ended_at)) - Date.parse(String(started_at))).toBeCloseTo(Number(minutes) * 60_000, -4);
  });

  it('hides no upstream that is dead', async () => {
    const time = holdTime();
    const silent = await startUpstream({ autoPong: false });
    const server = await startTestRelay({ upstream: silent.url });
    const client = await server.connect({ token: server.token({ ttlSeconds: 7200 }) });
    await client.next('session.created');
    time.set(seconds);
    await time.live(40);
    expect(await endOf(server, client)).toEqual(end('upstream_lost', 1011, 'upstream', { retryable: true }));
  });

  it('stops no ping', async () => {
    const time = holdTime();
    const { server } = await start();
    const client = await connectRaw(server.address, server.token({ ttlSeconds: 7200 }));
    await client.event('session.created');
    await time.live(5);
    time.set(seconds);
    const pinged = client.frame(({ opcode }) => opcode === 9);
    await time.live(30);
    await pinged;
  });

  it('gives nobody a place that is taken, and takes none that is free', async () => {
    const time = holdTime();
    const { server, open } = await start('profiles: { default: { limits: { sessions_per_user: 1 } } }');
    const client = await open();
    time.set(seconds);
    const headers = { Authorization: `Bearer ${server.token({ ttlSeconds: 7200 })}` };
    const second = await refused(`${server.address}/openai/v1/realtime?model=x`, { headers });
    expect(second).toMatchObject({ status: 429 });
    client.ws.close(1000);
    await server.logged('session.ended');
    await open();
  });

  it('spends no budget of minutes', async () => {
    const time = holdTime(new Date('2026-03-01T12:00:00Z'));
    const { server, open } = await start('profiles: { default: { limits: { minutes_per_day: 5 } } }');
    const client = await open();
    time.set(seconds);
    await time.live(60);
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
    expect(server.relay.sessions.size).toBe(1);
  });

  it('does not move the end of a session that profile or upstream set', async () => {
    const time = holdTime();
    const { server, open } = await start('profiles: { default: { limits: { session_seconds: 60 } } }');
    const client = await open();
    time.set(seconds);
    await time.live(55);
    expect(server.relay.sessions.size).toBe(1);
    await time.live(7);
    expect(await endOf(server, client)).toEqual(end('session_expired', 1001, 'relay', { retryable: true }));
  });
});

describe('a token', () => {
  async function withToken(time: HeldTime, ttlSeconds: number) {
    const { server } = await start();
    const client = await server.connect({ token: server.token({ ttlSeconds }) });
    await client.next('session.created');
    await time.live(1);
    return { server, client };
  }

  it('token_expired: runs out by the wall clock, which is what it means', async () => {
    const time = holdTime();
    const { server, client } = await withToken(time, 600);
    time.set(599);
    await time.live(2);
    expect(await endOf(server, client)).toEqual(end('token_expired', 1008, 'relay', { retryable: false }));
  });

  it('is good for longer when the clock that was ahead is put right', async () => {
    const time = holdTime();
    const { server } = await withToken(time, 60);
    time.set(-600);
    await time.live(100);
    expect(server.relay.sessions.size).toBe(1);
  });
});

describe('an upstream that gives a session little time', () => {
  it.each([6, 12])('session_expired: of %d s, is not left to cut it without a word', async (sessionSeconds) => {
    const time = holdTime();
    const emulator = await startTestEmulator({ sessionSeconds });
    const server = await startTestRelay({ upstream: emulator.url });
    const client = await server.connect();
    await client.next('session.created');
    await time.live(sessionSeconds - 2);
    expect(await endOf(server, client)).toEqual(end('session_expired', 1001, 'relay', { retryable: true }));
  });
});

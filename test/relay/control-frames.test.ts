import { describe, expect, it, onTestFinished } from 'vitest';
import { startMeasuredRelay } from '../support/memory.js';
import { closing, connectRaw, frame, opcode, type RawClient } from '../support/raw.js';
import { served, startRawUpstream } from '../support/raw-upstream.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const { continuation, text, close, ping, pong } = opcode;
const clear = '{"type":"input_audio_buffer.clear"}';

async function start() {
  const emulator = await startTestEmulator();
  const server = await startTestRelay({ upstream: emulator.url });
  const client = await connectRaw(server.address, server.token());
  await client.event('session.created');
  return { emulator, server, client };
}

/** Each kind of frame that asks for work and is no event. */
const kinds: [string, Buffer][] = [
  ['pings', frame(ping, 'x')],
  ['pongs', frame(pong, 'x')],
  ['empty pongs', frame(pong)],
  ['pongs made up as answers', frame(pong, Buffer.alloc(8, 1))],
];

describe('control frames of a client', () => {
  it.each(kinds)('bad_event: too many %s', async (_, one) => {
    const { server, client } = await start();
    client.write(Buffer.concat(Array(500).fill(one)), frame(text, clear));
    expect(await client.closed).toEqual({ code: 1008, reason: 'bad_event' });
    expect(client.events.at(-1)?.error).toMatchObject({ code: 'bad_event', retryable: false });
    expect(client.events.map(({ type }) => type)).not.toContain('input_audio_buffer.cleared');
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'bad_event', initiator: 'client' });
  });

  it.each(kinds)('take a burst of 350 %s, and what stands behind them', async (_, one) => {
    const { client } = await start();
    client.write(Buffer.concat(Array(350).fill(one)), frame(text, clear));
    await client.event('input_audio_buffer.cleared');
  });

  it('count again as time passes', async () => {
    const { server, client } = await start();
    for (let i = 0; i < 25; i++) {
      client.write(Buffer.concat(Array(20).fill(frame(ping, `${i}`))));
      await client.frame((one) => one.opcode === pong && one.payload.toString() === `${i}`);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    expect(server.relay.sessions.size).toBe(1);
  });
});

describe('control frames of upstream', () => {
  it.each([
    ['pings', served(ping, 'x')],
    ['pongs', served(pong, 'x')],
  ])('upstream_failed: too many %s', async (_, one) => {
    const upstream = await startRawUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await connectRaw(server.address, server.token());
    await client.event('session.created');
    const { socket } = await upstream.session(0);
    socket.write(Buffer.concat(Array(500).fill(one)));
    expect(await client.closed).toEqual({ code: 1011, reason: 'upstream_failed' });
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'upstream_failed', initiator: 'upstream' });
  });
});

describe('what a peer has begun and does not finish', () => {
  /** Each behind an event that is of no more use once it was read, and came in the same chunk. */
  const begun: [string, Buffer][] = [
    ['half a head', frame(text, clear.padEnd(130)).subarray(0, 3)],
    ['half an event', frame(text, clear).subarray(0, 20)],
    ['half a ping', frame(ping, 'half of it').subarray(0, 9)],
    ['half a fragment', frame(text, clear, { fin: false }).subarray(0, 20)],
    ['half a goodbye', frame(close, closing(1000, 'goodbye')).subarray(0, 9)],
    ['a fragment', frame(text, '{', { fin: false })],
    ['fragments', Buffer.concat([frame(text, '{', { fin: false }), frame(continuation, ' ', { fin: false })])],
  ];

  it('is all that is kept of it', async () => {
    const emulator = await startTestEmulator({ recordEvents: 0 });
    const relay = await startMeasuredRelay({ upstream: emulator.url, yaml: '{}' });
    onTestFinished(() => relay.close());
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'x'.repeat(50_000) }] };
    const event = frame(text, JSON.stringify({ type: 'conversation.item.create', item }));
    const clients: RawClient[] = [];
    for (let i = 0; i <= begun.length; i++) {
      const client = await connectRaw(relay.address, relay.token(`user ${i}`));
      await client.event('session.created');
      clients.push(client);
      // The first is there for what the first event of a process sets aside.
      if (i > 0) continue;
      client.write(event);
      await client.event('conversation.item.added');
    }
    const before = await relay.sample();
    for (const [i, [, rest]] of begun.entries()) {
      const client = clients[i + 1] as RawClient;
      client.write(event, rest);
      await client.event('conversation.item.added');
    }
    const after = await relay.sample();
    expect(after.external - before.external).toBeLessThan(40_000);
  });

  it('counts in what the session buffers, and takes no more room than has come', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    const client = await connectRaw(server.address, server.token());
    await client.event('session.created');
    const [session] = [...server.relay.sessions];
    const promised = 1024 * 1024;
    client.write(frame(text, Buffer.alloc(200_000, ' '), { announce: promised }));
    await expect.poll(() => session?.buffered.up, { interval: 5 }).toBeGreaterThanOrEqual(200_000);
    expect(session?.buffered.up).toBeLessThan(promised / 2);
    client.socket.destroy();
    await expect.poll(() => server.relay.sessions.size, { interval: 5 }).toBe(0);
  });
});

import { describe, expect, it } from 'vitest';
import { closing, connectRaw, frame, opcode, type RawClient } from '../support/raw.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const { continuation, text, binary, close, ping, pong } = opcode;
const clear = '{"type":"input_audio_buffer.clear"}';
const maxEvent = 16 * 1024 * 1024;

async function start(yaml = '') {
  const emulator = await startTestEmulator();
  const server = await startTestRelay({ upstream: emulator.url, yaml });
  const connect = async (): Promise<RawClient> => {
    const client = await connectRaw(server.address, server.token());
    await client.event('session.created');
    return client;
  };
  return { emulator, server, connect };
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** What breaks RFC 6455, with the close code that says so. */
const broken: [what: string, code: number, frames: Buffer[]][] = [
  ['an unmasked frame', 1002, [frame(text, clear, { masked: false })]],
  ...[...range(3, 7), ...range(11, 15)].map((code): [string, number, Buffer[]] => [
    `the reserved opcode ${code}`,
    1002,
    [frame(code, clear)],
  ]),
  ...[1, 2, 4].map((rsv): [string, number, Buffer[]] => [`reserved bits ${rsv}`, 1002, [frame(text, clear, { rsv })]]),
  ['reserved bits on a ping', 1002, [frame(ping, '', { rsv: 4 })]],
  ['a ping of 126 bytes', 1002, [frame(ping, Buffer.alloc(126))]],
  ['a ping in fragments', 1002, [frame(ping, 'x', { fin: false })]],
  ['a close frame in fragments', 1002, [frame(close, closing(1000), { fin: false })]],
  ['a continuation of nothing', 1002, [frame(continuation, clear)]],
  ['a new event within another', 1002, [frame(text, '{', { fin: false }), frame(text, clear)]],
  ['a close frame of one byte', 1002, [frame(close, Buffer.from([3]))]],
  ...[0, 999, 1004, 1005, 1006, 1015, 1100, 2999, 5000, 65535].map((code): [string, number, Buffer[]] => [
    `a close frame with ${code}`,
    1002,
    [frame(close, closing(code))],
  ]),
  ['a close reason that is not UTF-8', 1007, [frame(close, Buffer.concat([closing(1000), Buffer.from([0xff])]))]],
  ['a byte that UTF-8 never has', 1007, [frame(text, Buffer.from([0x22, 0xff, 0x22]))]],
  ['an overlong form', 1007, [frame(text, Buffer.from([0x22, 0xc1, 0xb4, 0x22]))]],
  ['a surrogate written as UTF-8', 1007, [frame(text, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))]],
  ['UTF-8 that breaks off', 1007, [frame(text, Buffer.from([0x22, 0xe2, 0x82]))]],
  [
    'invalid UTF-8 in fragments',
    1007,
    [frame(text, Buffer.from([0x22, 0xe2]), { fin: false }), frame(continuation, Buffer.from([0x22]))],
  ],
];

const oversize: [what: string, frames: () => Buffer[]][] = [
  ['one byte too many, announced', () => [frame(text, '', { announce: maxEvent + 1 })]],
  ['one byte too many, sent', () => [frame(text, Buffer.alloc(maxEvent + 1, ' '))]],
  [
    'one byte too many, in fragments',
    () => [
      frame(text, Buffer.alloc(maxEvent / 2, ' '), { fin: false }),
      frame(continuation, Buffer.alloc(maxEvent / 2, ' '), { fin: false }),
      frame(continuation, ' '),
    ],
  ],
  ['2 GiB announced and nothing sent', () => [frame(text, '', { announce: 2 ** 31 })]],
  ['more announced than a number can hold', () => [frame(text, '', { announce: 2 ** 62 })]],
  ['2 GiB announced as binary', () => [frame(binary, '', { announce: 2 ** 31 })]],
];

async function expectEnded(
  { server, emulator }: Awaited<ReturnType<typeof start>>,
  client: RawClient,
  id: string,
  code: number,
): Promise<void> {
  expect(await client.closed).toEqual({ code, reason: id });
  expect(client.events.map(({ type }) => type)).toEqual(['session.created', 'error']);
  expect(client.events.at(-1)?.error).toMatchObject({ code: id, retryable: false });
  expect(await server.logged('session.ended')).toMatchObject({ reason: id, initiator: 'client' });
  expect(await server.metric('relay_session_ends_total', { reason: id, initiator: 'client' })).toBe(1);
  await emulator.control.received.waitFor(({ openCount }) => openCount === 0);
  expect(emulator.control.received.events().map(({ type }) => type)).toEqual(['session.update']);
}

describe('frames that break the protocol', () => {
  it.each(broken)('bad_event: %s closes with %d', async (_, code, frames) => {
    const started = await start();
    const client = await started.connect();
    client.write(...frames, frame(text, clear));
    await expectEnded(started, client, 'bad_event', code);
  });

  it.each(oversize)('too_big: %s', async (_, frames) => {
    const started = await start();
    const client = await started.connect();
    const { arrayBuffers } = process.memoryUsage();
    client.write(...frames());
    await expectEnded(started, client, 'too_big', 1009);
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(64 * 1024 * 1024);
  });

  it.each([
    ['whole', [frame(binary, clear)]],
    ['empty', [frame(binary)]],
    ['in fragments', [frame(binary, '{', { fin: false }), frame(continuation, clear)]],
  ])('unsupported_data: a binary frame, %s', async (_, frames) => {
    const started = await start();
    const client = await started.connect();
    client.write(...frames, frame(text, clear));
    await expectEnded(started, client, 'unsupported_data', 1003);
  });

  it.each([
    ['empty', ''],
    ['one-byte', ' '],
  ])('bad_event: 200,000 %s fragments', async (_, payload) => {
    const started = await start();
    const client = await started.connect();
    const part = frame(continuation, payload, { fin: false });
    client.write(frame(text, payload, { fin: false }), Buffer.concat(Array(200_000).fill(part)));
    await expectEnded(started, client, 'bad_event', 1008);
  });

  it('ends the session and the dial when they come before there is an upstream', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('hang');
    const server = await startTestRelay({ upstream: emulator.url });
    const client = await connectRaw(server.address, server.token());
    client.write(frame(text, clear, { masked: false }));
    expect(await client.closed).toEqual({ code: 1002, reason: 'bad_event' });
    expect(client.events.map(({ type }) => type)).toEqual(['error']);
    expect(await server.logged('upstream.dialed')).toMatchObject({ outcome: 'aborted' });
    expect(server.relay.sessions.size).toBe(0);
  });
});

describe('floods', () => {
  /** Runs the flood, and the while asks the same relay as another user. */
  async function flooded(bytes: Buffer) {
    const started = await start();
    const { server, connect } = started;
    const honest = await server.connect({ token: server.token({ subject: 'bob' }) });
    await honest.next('session.created');
    const hostile = await connect();
    for (let i = 0; i < 10; i++) hostile.write(bytes);
    const slowest: number[] = [];
    for (let i = 0; i < 5; i++) {
      const asked = performance.now();
      expect(await honest.ask('hello')).toMatchObject({ status: 'completed' });
      slowest.push(performance.now() - asked);
    }
    expect(Math.max(...slowest)).toBeLessThan(2000);
    return { ...started, hostile, honest };
  }

  it('of pings end the session that sends them, and do not disturb another', async () => {
    const { hostile, server } = await flooded(Buffer.concat(Array(20_000).fill(frame(ping, 'x'))));
    await hostile.closed;
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'bad_event', initiator: 'client' });
    expect(server.relay.sessions.size).toBe(1);
  });

  it('of pings do not fill the memory with pongs that are not read', async () => {
    const { server, connect } = await start();
    const client = await connect();
    client.socket.pause();
    const [session] = [...server.relay.sessions];
    let most = 0;
    const burst = Buffer.concat(Array(1000).fill(frame(ping, Buffer.alloc(125))));
    while (session?.isOpen && !client.socket.destroyed) {
      await new Promise<void>((sent) => client.socket.write(burst, () => sent()));
      most = Math.max(most, session.buffered.down);
    }
    expect(most).toBeLessThan(256 * 1024);
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'bad_event', initiator: 'client' });
    client.socket.destroy();
  });

  it('of no kind are seen in an honest number of pings', async () => {
    const { server, connect } = await start();
    const client = await connect();
    for (let i = 1; i <= 200; i++) {
      client.write(frame(ping, String(i)));
      await client.frame((one) => one.opcode === pong && one.payload.toString() === String(i));
    }
    expect(server.relay.sessions.size).toBe(1);
  });

  it('of empty texts end the session that sends them, and do not disturb another', async () => {
    const { hostile, server } = await flooded(Buffer.concat(Array(20_000).fill(frame(text))));
    expect(await hostile.closed).toEqual({ code: 1007, reason: 'bad_event' });
    expect(server.relay.sessions.size).toBe(1);
  });

  it('of events over the rate are held, and do not disturb another', async () => {
    const { hostile, server, emulator } = await flooded(Buffer.concat(Array(2_000).fill(frame(text, clear))));
    expect(hostile.events.map(({ type }) => type)).not.toContain('error');
    const passed = emulator.control.received.events('input_audio_buffer.clear').length;
    expect(passed).toBeGreaterThanOrEqual(1200);
    expect(passed).toBeLessThan(2000);
    expect(server.relay.sessions.size).toBe(2);
  });

  it('of empty events before there is an upstream are not read for ever', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('hang');
    const yaml = 'limits: { buffer_bytes: 65536, dial_seconds: 2 }';
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    const client = await connectRaw(server.address, server.token());
    const burst = Buffer.concat(Array(100_000).fill(frame(text)));
    for (let i = 0; i < 27; i++) client.write(burst);
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'upstream_timeout' });
    expect(client.socket.bytesWritten - client.socket.writableLength).toBeLessThan(27 * burst.length);
    client.socket.destroy();
  });
});

describe('unusual frames that are honest', () => {
  const item = (text: string) =>
    JSON.stringify({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    });
  const said = 'Grüße an die Bäckerei 🥐 und 東京';

  /** Sends with `write` and expects the item to arrive as it was said. */
  async function arrives(write: (client: RawClient, event: Buffer) => void | Promise<void>): Promise<RawClient> {
    const { emulator, connect } = await start();
    const client = await connect();
    await write(client, Buffer.from(item(said)));
    const event = await emulator.control.received.waitFor((r) => r.events('conversation.item.create')[0]);
    expect(event.body).toMatchObject({ item: { content: [{ type: 'input_text', text: said }] } });
    expect(client.events.map(({ type }) => type)).not.toContain('error');
    return client;
  }

  it('deliver an event in fragments of one byte, which splits its UTF-8', async () => {
    await arrives((client, event) => {
      const parts = [...event].map((byte, i) =>
        frame(i === 0 ? text : continuation, Buffer.from([byte]), { fin: i === event.length - 1 }),
      );
      client.write(...parts);
    });
  });

  it('deliver an event with an empty fragment and a ping within it, and answer the ping', async () => {
    const client = await arrives((client, event) => {
      client.write(
        frame(text, event.subarray(0, 9), { fin: false }),
        frame(ping, 'are you there?'),
        frame(continuation, '', { fin: false }),
        frame(continuation, event.subarray(9)),
      );
    });
    const answer = await client.frame((one) => one.opcode === pong);
    expect(answer.payload.toString()).toBe('are you there?');
  });

  it('deliver an event whose bytes come one by one', async () => {
    await arrives(async (client, event) => {
      client.socket.setNoDelay();
      for (const byte of frame(text, event)) {
        await new Promise<void>((sent) => client.socket.write(Buffer.from([byte]), () => sent()));
      }
    });
  });

  it('deliver an event of exactly the size limit', async () => {
    const { emulator, connect } = await start('profiles: { default: { limits: { audio_burst_seconds: 60 } } }');
    const client = await connect();
    const head = '{"type":"input_audio_buffer.append","audio":"';
    const blanks = (maxEvent - head.length - 2) % 4;
    const audio = 'A'.repeat(maxEvent - head.length - 2 - blanks);
    client.write(frame(text, `${head}${audio}"}${' '.repeat(blanks)}`));
    const event = await emulator.control.received.waitFor((r) => r.events('input_audio_buffer.append')[0]);
    expect(event.audio?.bytes).toBe((audio.length / 4) * 3);
  });

  it('take a pong nobody asked for, and a close frame without a code', async () => {
    const { server, connect } = await start();
    const client = await connect();
    client.write(frame(pong, 'unasked'), frame(text, clear));
    await client.event('input_audio_buffer.cleared');
    client.write(frame(close));
    await client.closed;
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client' });
  });
});

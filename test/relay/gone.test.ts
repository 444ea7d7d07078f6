import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { closing, connectRaw, frame, opcode, type RawClient } from '../support/raw.js';
import { served, startRawUpstream } from '../support/raw-upstream.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const { continuation, text, close, ping, pong } = opcode;
const clear = '{"type":"input_audio_buffer.clear"}';
const cleared = '{"type":"input_audio_buffer.cleared","event_id":"event_9"}';
const soon = { timeout: 10_000, interval: 5 };

type Framer = (code: number, payload?: string | Buffer, fin?: boolean) => Buffer;
const ofClient: Framer = (code, payload, fin = true) => frame(code, payload, { fin });

/** What a peer may have sent just before it is gone, each in one segment. */
const last: [what: string, frames: (make: Framer, event: string) => Buffer[]][] = [
  [
    'whole events and pongs in turn',
    (make, event) =>
      Array(4)
        .fill(0)
        .flatMap(() => [make(text, event), make(pong)]),
  ],
  [
    'pings and whole events in turn',
    (make, event) =>
      Array(4)
        .fill(0)
        .flatMap(() => [make(ping), make(text, event)]),
  ],
  [
    'whole events and events in fragments in turn',
    (make, event) =>
      Array(4)
        .fill(0)
        .flatMap(() => [
          make(text, event),
          make(text, event.slice(0, 5), false),
          make(ping, 'x'),
          make(continuation, event.slice(5)),
        ]),
  ],
  [
    'a goodbye behind an event and a ping',
    (make, event) => [make(ping), make(text, event), make(close, closing(1000))],
  ],
  ['a goodbye with more behind it', (make, event) => [make(close, closing(1000)), make(ping), make(text, event)]],
  [
    'a violation between events and pings',
    (make, event) => [make(ping), make(3, event), make(ping), make(text, event)],
  ],
  [
    'an event without its end',
    (make, event) => [make(pong), make(text, event), make(pong), make(text, event).subarray(0, 20)],
  ],
  ['a ping without its end', (make, event) => [make(text, event), make(ping, 'half of this').subarray(0, 9)]],
  ['a message without its end', (make, event) => [make(text, event), make(text, event, false), make(pong)]],
];

const ways = {
  'says that it has nothing more': (socket: RawClient['socket']) => void socket.end(),
  'is cut off': (socket: RawClient['socket']) => void socket.resetAndDestroy(),
} as const;

const cases = last.flatMap(([what, frames]) =>
  (Object.keys(ways) as (keyof typeof ways)[]).map((how) => ({ what, how, frames })),
);

/** Whatever nobody caught since; the process would have ended with the first. */
function uncaught(): unknown[] {
  const found: unknown[] = [];
  const note = (error: unknown) => void found.push(error);
  process.on('uncaughtException', note);
  process.on('unhandledRejection', note);
  onTestFinished(() => {
    process.off('uncaughtException', note);
    process.off('unhandledRejection', note);
  });
  return found;
}

async function open(server: TestRelay, subject = 'alice'): Promise<RawClient> {
  const client = await connectRaw(server.address, server.token({ subject }));
  await client.event('session.created');
  return client;
}

/** Expects that as many sessions have ended, and that another goes on. */
async function expectAlone(server: TestRelay, other: RawClient, ended: number): Promise<void> {
  await vi.waitFor(() => expect(server.relay.sessions.size).toBe(1), soon);
  expect(server.log.filter(({ msg }) => msg === 'session.ended')).toHaveLength(ended);
  other.write(frame(ping, `after ${ended}`));
  await other.frame((one) => one.opcode === pong && one.payload.toString() === `after ${ended}`);
}

describe('a client that is gone in the middle', () => {
  it.each(cases)('takes nobody with it: $how after $what', async ({ how, frames }) => {
    const errors = uncaught();
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    const other = await open(server, 'bob');
    for (let i = 1; i <= 3; i++) {
      const client = await open(server);
      client.write(...frames(ofClient, clear));
      ways[how](client.socket);
      await expectAlone(server, other, i);
    }
    expect(errors).toEqual([]);
  });

  it('is heard to its last word when it says goodbye behind it', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    const client = await open(server);
    const parts = [frame(ping), frame(text, clear), frame(pong), frame(text, clear), frame(ping), frame(text, clear)];
    client.write(...parts, frame(close, closing(1000)));
    client.socket.end();
    await emulator.control.received.waitFor((received) => received.events('input_audio_buffer.clear')[2]);
  });

  it.each(Object.entries(ways))('takes nobody with it, at whatever byte it %s', async (_, go) => {
    const errors = uncaught();
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    const other = await open(server, 'bob');
    const said = Buffer.concat([
      frame(text, clear),
      frame(pong, 'p'),
      frame(text, clear.slice(0, 3), { fin: false }),
      frame(ping),
      frame(continuation, clear.slice(3)),
      frame(text, '{}'.padEnd(130, ' ')),
      frame(close, closing(1001)),
    ]);
    let ended = 0;
    for (let at = 1; at <= said.length; at += 7) {
      const client = await open(server, `user ${at}`);
      client.socket.write(said.subarray(0, at));
      go(client.socket);
      await expectAlone(server, other, ++ended);
    }
    expect(errors).toEqual([]);
  });
});

describe('an upstream that is gone in the middle', () => {
  it.each(cases)('takes one session with it: $how after $what', async ({ how, frames }) => {
    const errors = uncaught();
    const upstream = await startRawUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const other = await open(server, 'bob');
    for (let i = 1; i <= 3; i++) {
      const client = await open(server);
      const { socket, configured } = await upstream.session(i);
      await configured;
      socket.write(Buffer.concat(frames(served, cleared)));
      ways[how](socket);
      await client.closed;
      await expectAlone(server, other, i);
    }
    expect(errors).toEqual([]);
  });

  it('is heard to its last word when it says goodbye behind it', async () => {
    const upstream = await startRawUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await open(server);
    const { socket, configured } = await upstream.session(0);
    await configured;
    const parts = [
      served(ping),
      served(text, cleared),
      served(pong),
      served(text, cleared),
      served(ping),
      served(text, cleared),
    ];
    socket.write(Buffer.concat([...parts, served(close, closing(1000))]));
    socket.end();
    await client.closed;
    expect(client.events.filter(({ type }) => type === 'input_audio_buffer.cleared')).toHaveLength(3);
  });
});

describe('a page that is refused and gone', () => {
  it.each(cases)('takes nobody with it: $how after $what', async ({ how, frames }) => {
    const errors = uncaught();
    const emulator = await startTestEmulator();
    const env = { RELAY_ALLOWED_ORIGINS: 'https://app.example' };
    const server = await startTestRelay({ upstream: emulator.url, env });
    const other = await open(server, 'bob');
    const page = await connectRaw(server.address, 'not a token', undefined, ['Origin: https://app.example']);
    page.write(...frames(ofClient, clear));
    ways[how](page.socket);
    await page.closed;
    await expectAlone(server, other, 0);
    expect(errors).toEqual([]);
  });
});

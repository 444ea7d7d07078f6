import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FaultName } from '../../src/emulator/faults.js';
import type { TestClient } from '../support/client.js';
import { end, endOf } from '../support/ends.js';
import { connectRaw } from '../support/raw.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

/** The relay looks once a second: a peer that is silent for two looks is pinged, and given up at the next. */
const pings =
  'limits: { ping_seconds: 0.5, pong_seconds: 0.5, silence_seconds: 1, stall_seconds: 60, hold_bytes: 16384 }';

/** Runs what kills one side and resolves when the other side is closed; expects that to take less than a second. */
async function within<T>(kill: () => void, closed: Promise<T>): Promise<T> {
  const killed = performance.now();
  kill();
  const result = await closed;
  expect(performance.now() - killed).toBeLessThan(1000);
  return result;
}

const kills = {
  'is cut off': (client: TestClient) => client.ws.terminate(),
  'says goodbye': (client: TestClient) => client.ws.close(1000),
} as const;

/** The states of a session after the dial, and how to get there. */
const states: [state: string, fault: FaultName | null, reach: (client: TestClient) => Promise<unknown>][] = [
  ['configuring', 'ignore_update', async () => undefined],
  ['open', null, (client) => client.next('session.created')],
  [
    'in the middle of an answer',
    null,
    async (client) => {
      client.send({ type: 'response.create' });
      await client.next('response.output_audio.delta');
    },
  ],
];
const ways = (Object.keys(kills) as (keyof typeof kills)[]).flatMap((how) =>
  states.map(([state, fault, reach]) => ({ how, state, fault, reach })),
);

async function reachState({ fault, reach }: (typeof ways)[number]) {
  const emulator = await startTestEmulator({ speed: 8 });
  if (fault) emulator.control.faults.arm(fault);
  emulator.control.script({ speech: 'answer-story' });
  const server = await startTestRelay({ upstream: emulator.url });
  const client = await server.connect();
  await emulator.control.received.waitFor((received) => received.events('session.update')[0]);
  await reach(client);
  return { emulator, server, client };
}

/** Something that takes connections and says nothing. */
async function silentServer(): Promise<{ url: string; socket: () => Promise<Socket>; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined).resume();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    socket: async () => sockets[0] ?? ((await once(server, 'connection')) as [Socket])[0],
  };
}

describe('a client that goes', () => {
  it.each(ways)('takes the upstream with it: $how while $state', async (way) => {
    const { emulator, server, client } = await reachState(way);
    const gone = emulator.control.received.waitFor(({ connections }) => connections[0]?.closed);
    expect(await within(() => kills[way.how](client), gone)).toEqual({ code: 1000, reason: '' });
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client' });
    expect(server.relay.sessions.size).toBe(0);
  });

  it.each(Object.entries(kills))('ends the dial: %s', async (_, kill) => {
    const upstream = await silentServer();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    const dial = await upstream.socket();
    await within(() => kill(client), once(dial, 'close'));
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client' });
    expect(await server.logged('upstream.dialed')).toMatchObject({ outcome: 'aborted' });
    expect(upstream.sockets).toHaveLength(1);
  });
});

describe('an upstream that goes', () => {
  const strikes = { 'is cut off': 'die_mid_response', 'says goodbye': 'close_mid_response' } as const;

  it.each(ways)('takes the client with it: $how while $state', async (way) => {
    const { emulator, server, client } = await reachState(way);
    const gone = endOf(server, client);
    const ended = await within(() => void emulator.control.faults.strike(strikes[way.how]), gone);
    expect(ended).toEqual(end('upstream_lost', 1011, 'upstream', { retryable: true }));
  });

  it.each([
    ['is cut off', (socket: Socket) => socket.resetAndDestroy()],
    ['says goodbye', (socket: Socket) => socket.end()],
  ])('takes the client with it: %s while it is dialled', async (_, kill) => {
    const upstream = await silentServer();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    const dial = await upstream.socket();
    const again = new Promise<void>((resolve) => {
      const look = setInterval(() => {
        const second = upstream.sockets[1];
        if (!second) return;
        clearInterval(look);
        kill(second);
        resolve();
      }, 5);
      onTestFinished(() => clearInterval(look));
    });
    const ended = await within(() => kill(dial), endOf(server, client));
    await again;
    expect(ended).toEqual(end('upstream_failed', 1011, 'upstream', { retryable: true }));
    expect(upstream.sockets).toHaveLength(2);
  });
});

describe('pings', () => {
  async function open(server: TestRelay) {
    const client = await connectRaw(server.address, server.token());
    await client.event('session.created');
    return client;
  }

  it('client_lost: find the client and the upstream that do not answer, and leave those that do', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml: pings });
    const [dead, alive] = [await open(server), await open(server)];
    dead.answersPings = false;
    const silent = await startUpstream({ autoPong: false });
    const other = await startTestRelay({ upstream: silent.url, yaml: pings });
    const orphan = await other.connect();

    expect(await dead.closed).toEqual({ code: 1001, reason: 'client_lost' });
    expect(dead.events.map(({ type }) => type)).toEqual(['session.created']);
    const detail = 'The client was not heard, and does not answer pings.';
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'client_lost', initiator: 'client', detail });
    await alive.frame(({ opcode }) => opcode === 9);
    expect(server.relay.sessions.size).toBe(1);
    alive.send({ type: 'input_audio_buffer.clear' });
    await alive.event('input_audio_buffer.cleared');
    await emulator.control.received.waitFor(({ openCount }) => openCount === 1);

    expect(await endOf(other, orphan)).toEqual(end('upstream_lost', 1011, 'upstream', { retryable: true }));
    expect(await other.logged('session.ended')).toMatchObject({ detail: 'The upstream does not answer pings.' });
  });

  it('do not take a client for dead that is held, and none of what it sent is lost', async () => {
    let answer = () => {};
    const until = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const upstream = await startUpstream({ until });
    const server = await startTestRelay({ upstream: upstream.url, yaml: pings });
    const held = await connectRaw(server.address, server.token());
    const audio = Buffer.alloc(9600).toString('base64');
    for (let i = 0; i < 20; i++) held.send({ type: 'input_audio_buffer.append', audio, event_id: `a${i}` });
    const dead = await connectRaw(server.address, server.token());
    dead.answersPings = false;
    // By the time one that is not held was found dead, the held one would have been, too.
    await dead.closed;
    expect(server.relay.sessions.size).toBe(1);
    answer();
    const texts = await upstream.received(20);
    expect(texts.map((text) => JSON.parse(text).event_id)).toEqual(Array.from({ length: 20 }, (_, i) => `a${i}`));
    await held.event('session.created');
  });
});

describe('a dial that takes too long', () => {
  it('upstream_timeout: is given up with its connection', async () => {
    const upstream = await silentServer();
    const server = await startTestRelay({ upstream: upstream.url, yaml: 'limits: { dial_seconds: 0.3 }' });
    const client = await server.connect();
    const dial = await upstream.socket();
    expect(await endOf(server, client)).toEqual(end('upstream_timeout', 1011, 'upstream', { retryable: true }));
    if (!dial.closed) await once(dial, 'close');
    expect(upstream.sockets).toHaveLength(1);
  });
});

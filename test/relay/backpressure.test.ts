import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { connect, type TestClient } from '../support/client.js';
import { type MeasuredRelay, startMeasuredRelay } from '../support/memory.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const megabyte = 1024 * 1024;
const generous =
  '{ events_per_second: 100000, events_burst: 1000000, audio_realtime_factor: 100000, audio_burst_seconds: 1000000 }';
const profiles = `profiles: { default: { limits: ${generous} } }`;
const patience = { timeout: 12_000, interval: 50 };

const ask = { type: 'response.create', response: { output_modalities: ['audio'] } };

async function measured(upstream: string, limits: string): Promise<MeasuredRelay> {
  const relay = await startMeasuredRelay({ upstream, yaml: `${profiles}\nlimits: ${limits}` });
  onTestFinished(() => relay.close());
  return relay;
}

function join(relay: MeasuredRelay, subject: string): Promise<TestClient> {
  const headers = { Authorization: `Bearer ${relay.token(subject)}` };
  return connect(`${relay.address}/openai/v1/realtime?model=x`, { headers });
}

/** Speech that nobody can mistake for other speech; gives the digest of all of it. */
function speak(client: TestClient, messages: number, bytes: number): string {
  const digest = createHash('sha256');
  for (let i = 0; i < messages; i++) {
    const audio = randomBytes(bytes);
    digest.update(audio);
    client.send({ type: 'input_audio_buffer.append', audio: audio.toString('base64') });
  }
  return digest.digest('hex');
}

/** An upstream that accepts, pauses and resumes when it is told to, and keeps a digest of the speech it hears. */
async function startObedientUpstream() {
  const server = createServer();
  const websockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  const digest = createHash('sha256');
  let waiting: [IncomingMessage, Duplex, Buffer] | null = null;
  let peer: WebSocket | null = null;
  let heard = 0;
  const session = { type: 'realtime', id: 'sess_1', object: 'realtime.session', model: 'gpt-realtime' };
  const listen = (socket: WebSocket) => {
    peer = socket;
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => {
      const event = JSON.parse(data.toString());
      if (event.type === 'session.update') {
        socket.send(JSON.stringify({ type: 'session.updated', event_id: 'event_2', session }));
      } else if (event.type === 'input_audio_buffer.append') {
        heard++;
        digest.update(Buffer.from(event.audio, 'base64'));
      }
    });
    socket.send(JSON.stringify({ type: 'session.created', event_id: 'event_1', session }));
  };
  const arrived = new Promise<void>((resolve) => {
    server.on('upgrade', (request, socket, head) => {
      waiting = [request, socket, head];
      resolve();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    peer?.terminate();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Resolves when the relay has dialled. */
    arrived,
    accept() {
      if (waiting) websockets.handleUpgrade(...waiting, listen);
    },
    pause: () => peer?.pause(),
    resume: () => peer?.resume(),
    heard: () => heard,
    digest: () => digest.copy().digest('hex'),
  };
}

/** Resolves once both what is unsent and what waits behind it are full: the side that fills them is not read. */
async function isHeldAt(relay: TestRelay, direction: 'up' | 'down', bytes: number): Promise<void> {
  const [session] = [...relay.relay.sessions];
  await steady(() => session?.buffered[direction] ?? 0, 2 * bytes);
  expect(session?.buffered[direction]).toBeLessThan(2 * bytes + 512 * 1024);
}

/** Resolves once a value over `floor` has stopped changing. */
async function steady(value: () => number, floor: number): Promise<void> {
  let last = -1;
  let looks = 0;
  await vi.waitFor(() => {
    const now = value();
    looks = now === last ? looks + 1 : 0;
    last = now;
    expect(now).toBeGreaterThan(floor);
    expect(looks).toBeGreaterThan(4);
  }, patience);
}

function digestOf(client: TestClient): string {
  const digest = createHash('sha256');
  for (const { type, delta } of client.events) if (type === 'response.output_audio.delta') digest.update(String(delta));
  return digest.digest('hex');
}

describe('a reader that reads nothing', () => {
  it('costs at most 10 MB under a flood, ends as slow_consumer, and nobody else notices', {
    timeout: 30_000,
  }, async () => {
    const emulator = await startTestEmulator();
    const relay = await measured(emulator.url, '{ stall_seconds: 3, hold_bytes: 1048576 }');
    const other = await join(relay, 'other');
    await other.next('session.created');
    await other.ask('warm up');
    const client = await join(relay, 'stalled');
    await client.next('session.created');

    const before = await relay.watch();
    emulator.control.faults.arm({ fault: 'flood', bytes: 64 * megabyte });
    client.ws.pause();
    client.send(ask);
    await vi.waitFor(async () => {
      expect(await relay.metric('relay_buffered_bytes', { direction: 'down' })).toBeGreaterThan(megabyte);
    }, patience);
    expect(await other.ask('do you notice?')).toMatchObject({ status: 'completed' });
    await vi.waitFor(async () => {
      const labels = { reason: 'slow_consumer', initiator: 'client' };
      expect(await relay.metric('relay_session_ends_total', labels)).toBe(1);
    }, patience);
    const peak = await relay.peak();
    expect(await other.ask('and now?')).toMatchObject({ status: 'completed' });

    expect(peak.buffered.down).toBeLessThan(2.5 * megabyte);
    expect(peak.heap + peak.external - before.heap - before.external).toBeLessThan(10 * megabyte);
    expect(peak.rss - before.rss).toBeLessThan(10 * megabyte);
    expect(await relay.metric('relay_sessions_active')).toBe(1);

    client.ws.resume();
    expect(await client.closed).toEqual({ code: 1013, reason: 'slow_consumer' });
    expect(client.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'slow_consumer', retryable: true } });
  });

  it('costs as little upstream under a flood of the client, and ends as slow_consumer', {
    timeout: 30_000,
  }, async () => {
    const emulator = await startTestEmulator({ recordEvents: 0 });
    const relay = await measured(emulator.url, '{ stall_seconds: 1, hold_bytes: 1048576 }');
    const other = await join(relay, 'other');
    await other.next('session.created');
    await other.ask('warm up');
    emulator.control.faults.arm('stop_reading');
    const client = await join(relay, 'flooding');
    await client.next('session.created');
    const alone = await relay.sample();

    const before = await relay.watch();
    speak(client, 256, 192 * 1024);
    await vi.waitFor(async () => {
      const labels = { reason: 'slow_consumer', initiator: 'upstream' };
      expect(await relay.metric('relay_session_ends_total', labels)).toBe(1);
      expect(await other.ask('do you notice?')).toMatchObject({ status: 'completed' });
    }, patience);
    expect(await client.closed).toEqual({ code: 1013, reason: 'slow_consumer' });
    const peak = await relay.peak();
    expect(peak.buffered.up).toBeGreaterThan(megabyte);
    expect(peak.buffered.up).toBeLessThan(2.5 * megabyte);
    expect(peak.heap + peak.external - before.heap - before.external).toBeLessThan(10 * megabyte);
    expect(await other.ask('and now?')).toMatchObject({ status: 'completed' });
    // Both sockets of the session are gone, also the one whose peer reads no goodbye.
    await vi.waitFor(async () => {
      const { resources } = await relay.sample();
      expect(resources.TCPSocketWrap).toBe((alone.resources.TCPSocketWrap ?? 0) - 2);
    }, patience);
  });
});

describe('a reader that is slow', () => {
  it('gets everything, complete and in order, and the time is counted', async () => {
    const bytes = 32 * megabyte;
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { hold_bytes: 262144 }' });
    const client = await relay.connect();
    await client.next('session.created');

    const flood = () => emulator.control.faults.arm({ fault: 'flood', bytes });
    flood();
    client.send(ask);
    for (let stop = 0; stop < 3; stop++) {
      for (let heard = 0; heard < 300; heard++) await client.next('response.output_audio.delta');
      client.ws.pause();
      await isHeldAt(relay, 'down', 262_144);
      client.ws.resume();
    }
    await client.next('response.done');

    const direct = await connect(`${emulator.url.replace('http', 'ws')}/openai/v1/realtime?model=gpt-realtime`, {
      headers: { 'api-key': 'emulator-key' },
    });
    await direct.next('session.created');
    flood();
    direct.send(ask);
    await direct.next('response.done');
    expect(digestOf(client)).toBe(digestOf(direct));
    const [session] = [...relay.relay.sessions];
    expect(session?.buffered).toEqual({ up: 0, down: 0 });
    expect(await relay.metric('relay_backpressure_seconds_total', { direction: 'down' })).toBeGreaterThan(0);
    expect(await relay.metric('relay_backpressure_seconds_total', { direction: 'up' })).toBe(0);
  });

  it('gets everything the client says, complete and in order, when it is upstream', async () => {
    const upstream = await startObedientUpstream();
    const yaml = `${profiles}\nlimits: { hold_bytes: 262144 }`;
    const relay = await startTestRelay({ upstream: upstream.url, yaml });
    const client = await relay.connect();
    await upstream.arrived;
    upstream.accept();
    await client.next('session.created');
    upstream.pause();
    const said = speak(client, 200, 96 * 1024);
    await isHeldAt(relay, 'up', 262_144);
    expect(client.ws.bufferedAmount).toBeGreaterThan(0);
    upstream.resume();
    await vi.waitFor(() => expect(upstream.heard()).toBe(200), patience);
    expect(upstream.digest()).toBe(said);
    expect(await relay.metric('relay_backpressure_seconds_total', { direction: 'up' })).toBeGreaterThan(0);
  });

  it('goes on after a message of the client that is larger than the whole buffer', async () => {
    const upstream = await startObedientUpstream();
    const yaml = `${profiles}\nlimits: { hold_bytes: 16384 }`;
    const relay = await startTestRelay({ upstream: upstream.url, yaml });
    const client = await relay.connect();
    await upstream.arrived;
    upstream.accept();
    await client.next('session.created');
    const said = speak(client, 5, 512 * 1024);
    await vi.waitFor(() => expect(upstream.heard()).toBe(5), patience);
    expect(upstream.digest()).toBe(said);
  });
});

describe('an answer that is larger than the whole buffer', () => {
  it('arrives, and so does the next one', async () => {
    const emulator = await startTestEmulator();
    const { connect: join } = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { hold_bytes: 16384 }' });
    const client = await join();
    for (const letter of 'abc') {
      const text = letter.repeat(60_000);
      emulator.control.script({ text });
      expect(await client.ask('go on')).toMatchObject({ output: [{ content: [{ text }] }] });
    }
  });
});

describe('a client whose session is still being opened', () => {
  it('is held once it has said more than the buffer takes, and loses nothing', async () => {
    const upstream = await startObedientUpstream();
    const yaml = `${profiles}\nlimits: { hold_bytes: 65536 }`;
    const relay = await startTestRelay({ upstream: upstream.url, yaml });
    const client = await relay.connect();
    await upstream.arrived;
    // Nothing of these goes upstream, so that it is not upstream's reading that lets the client go on.
    for (let i = 0; i < 4; i++) client.send({ type: 'made.up', text: 'x'.repeat(100_000) });
    const said = speak(client, 400, 48 * 1024);
    await steady(() => client.ws.bufferedAmount, 0);
    expect(client.types()).toEqual([]);
    upstream.accept();
    await client.next('session.created');
    await vi.waitFor(() => expect(upstream.heard()).toBe(400), patience);
    expect(upstream.digest()).toBe(said);
  });
});

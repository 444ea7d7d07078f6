import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openCall } from '../../src/client/relay-client.js';
import { fakeBrowser } from './media.js';
import { clientOf, soon } from './opened.js';

class FakeChannel extends EventTarget {
  readyState = 'connecting';
  bufferedAmount = 0;
  refusal: Error | null = null;
  readonly sent: string[] = [];

  send(text: string): void {
    if (this.refusal) throw this.refusal;
    this.sent.push(text);
  }

  close(): void {
    this.readyState = 'closed';
  }
}

class FakePeer extends EventTarget {
  static last: FakePeer;
  readonly channel = new FakeChannel();
  readonly localDescription = { sdp: 'v=0' };
  readonly iceGatheringState = 'complete';
  connectionState: string | undefined = 'new';
  iceConnectionState = 'new';

  constructor() {
    super();
    FakePeer.last = this;
  }

  addTransceiver() {
    return { sender: { replaceTrack: async () => undefined } };
  }

  createDataChannel() {
    return this.channel;
  }

  async setLocalDescription(): Promise<void> {}
  async setRemoteDescription(): Promise<void> {}
  close(): void {}

  become(state: string): void {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  hear(track: EventTarget): void {
    this.dispatchEvent(Object.assign(new Event('track'), { track, streams: [{}] }));
  }
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function call(url = 'https://relay.test') {
  fakeBrowser();
  const asked: string[] = [];
  vi.stubGlobal('RTCPeerConnection', FakePeer);
  vi.stubGlobal('fetch', async (at: URL) => {
    asked.push(at.href);
    return new Response('v=0', { status: 201 });
  });
  const made = clientOf({ url, transport: openCall });
  made.client.connect();
  await soon();
  const peer = FakePeer.last;
  peer.channel.readyState = 'open';
  peer.channel.dispatchEvent(new Event('open'));
  return { peer, asked, ...made };
}

it.each([
  ['wss://relay.test', 'https://relay.test/v1/realtime/calls'],
  ['ws://localhost:8080/', 'http://localhost:8080/v1/realtime/calls'],
  ['https://relay.test/openai/v1', 'https://relay.test/openai/v1/realtime/calls'],
])('is made at %s', async (url, expected) => {
  const { asked, problems, client } = await call(url);
  expect(asked).toEqual([expected]);
  expect(problems).toEqual([]);
  expect(client.state).toBe('open');
});

it('says that nothing comes through, and goes on when it does again', async () => {
  const { peer, client, codes } = await call();
  peer.become('connected');
  peer.become('disconnected');
  expect(codes()).toEqual(['call_interrupted']);
  peer.become('connected');
  expect(client.state).toBe('open');
  peer.become('disconnected');
  expect(codes()).toEqual(['call_interrupted', 'call_interrupted']);
});

it('ends with a reason when there is no path, also where only the state of ICE is known', async () => {
  const { peer, problems } = await call();
  peer.connectionState = undefined;
  peer.iceConnectionState = 'failed';
  peer.dispatchEvent(new Event('iceconnectionstatechange'));
  expect(problems).toMatchObject([{ isFinal: true, message: expect.stringContaining('No network path') }]);
});

it.each(['close', 'error'])('ends once when its channel says %s', async (event) => {
  const { peer, client, problems } = await call();
  peer.channel.dispatchEvent(new Event(event));
  peer.channel.dispatchEvent(new Event('close'));
  expect(problems).toMatchObject([{ code: 'unreachable', isFinal: true }]);
  expect(client.state).toBe('waiting');
});

it('says that the voice of the model has ended, but not after its own end', async () => {
  const { peer, client, codes } = await call();
  const [first, second] = [new EventTarget(), new EventTarget()];
  peer.hear(first);
  peer.hear(second);
  await soon();
  first.dispatchEvent(new Event('ended'));
  expect(codes()).toEqual(['no_sound']);
  client.disconnect();
  second.dispatchEvent(new Event('ended'));
  expect(codes()).toEqual(['no_sound']);
});

it('says what could not be sent', async () => {
  const { peer, client, codes } = await call();
  peer.channel.refusal = new TypeError('too long');
  client.sendText('Hello');
  expect(new Set(codes())).toEqual(new Set(['not_sent']));
  expect(client.state).toBe('open');
});

it('ends when what answers is no relay', async () => {
  const { peer, client, problems } = await call();
  peer.channel.dispatchEvent(new MessageEvent('message', { data: 'hello' }));
  expect(problems).toMatchObject([{ isFinal: true, message: expect.stringContaining('no relay sends') }]);
  expect(client.state).toBe('idle');
});

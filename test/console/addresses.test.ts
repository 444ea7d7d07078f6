import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openCall, openWebSocket } from '../../src/client/relay-client.js';
import { fakeBrowser } from './media.js';
import { clientOf, soon } from './opened.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('an address', () => {
  const refused = async (url: string, transport = openWebSocket, from = 'https:') => {
    fakeBrowser();
    vi.stubGlobal('location', { protocol: from });
    const { client, problems } = clientOf({ url, transport });
    client.connect();
    await soon();
    return { client, problems };
  };

  it.each([
    ['relay.example', 'give it like https://relay.example'],
    ['', 'give it like https://relay.example'],
    ['localhost:8080', 'give it like https://relay.example'],
    ['ftp://relay.example', 'give it like https://relay.example'],
    ['https://ada:secret@relay.example', 'user name or password'],
    ['ws://relay.example', 'cannot connect to ws://relay.example'],
    ['http://relay.example', 'cannot connect to http://relay.example'],
  ])('%j is told to be no use, and the client can connect again', async (url, words) => {
    for (const transport of [openWebSocket, openCall]) {
      const { client, problems } = await refused(url, transport);
      expect(problems).toEqual([{ code: 'unusable_address', message: expect.stringContaining(words), isFinal: true }]);
      expect(client.state).toBe('idle');
      client.connect();
      await soon();
      expect(problems).toHaveLength(2);
      expect(client.state).toBe('idle');
    }
  });

  it('of a relay on this machine is taken from a page of https', async () => {
    const dialed: string[] = [];
    vi.stubGlobal(
      'WebSocket',
      class extends EventTarget {
        constructor(url: URL) {
          super();
          dialed.push(url.href);
        }
      },
    );
    for (const url of ['http://localhost:8080', 'ws://127.0.0.1:8080', 'http://[::1]:8080']) await refused(url);
    expect(dialed).toHaveLength(3);
  });

  it.each([
    ['https://relay.example', 'wss://relay.example/v1/realtime?relay_events=on&resume=on'],
    ['wss://relay.example/', 'wss://relay.example/v1/realtime?relay_events=on&resume=on'],
    ['https://relay.example/prefix', 'wss://relay.example/prefix/v1/realtime?relay_events=on&resume=on'],
    ['https://relay.example/openai/v1/', 'wss://relay.example/openai/v1/realtime?relay_events=on&resume=on'],
    [
      'wss://relay.example/v1/realtime?model=mini#top',
      'wss://relay.example/v1/realtime?model=mini&relay_events=on&resume=on',
    ],
  ])('may be %s', async (url, expected) => {
    const dialed: string[] = [];
    vi.stubGlobal(
      'WebSocket',
      class extends EventTarget {
        constructor(at: URL) {
          super();
          dialed.push(at.href);
        }
      },
    );
    expect((await refused(url)).problems).toEqual([]);
    expect(dialed).toEqual([expected]);
  });
});

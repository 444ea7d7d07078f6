import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openCall } from '../../src/client/relay-client.js';
import { fakeTransport } from './fake-transport.js';
import { fakeBrowser } from './media.js';
import { clientOf, open, session, soon } from './opened.js';
import { FakeAudio } from './sound.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  FakeAudio.refusal = null;
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('the loudspeaker', () => {
  it('of a page without a gesture is told to be silent, and plays from the next gesture on', async () => {
    const browser = fakeBrowser({ isClicked: false });
    const { client, problems, codes } = clientOf({ transport: fakeTransport().open });
    client.connect();
    await vi.advanceTimersByTimeAsync(900);
    expect(codes()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1100);
    expect(problems).toMatchObject([{ code: 'no_sound', isFinal: false }]);
    browser.click();
    expect(browser.contexts[0]?.state).toBe('running');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(codes()).toEqual(['no_sound']);
  });

  it('that the system takes away for a call is told, and comes back with a gesture', async () => {
    const { browser, codes } = await open();
    const [context] = browser.contexts;
    if (context) context.mayRun = false;
    context?.become('interrupted');
    await vi.advanceTimersByTimeAsync(2000);
    expect(codes()).toEqual(['no_sound']);
    browser.click();
    expect(context?.state).toBe('running');
  });

  it('that cannot be had does not keep the session from being', async () => {
    fakeBrowser();
    vi.stubGlobal(
      'AudioContext',
      class {
        constructor() {
          throw new DOMException('Too many contexts.', 'NotSupportedError');
        }
      },
    );
    const transport = fakeTransport();
    const { client, codes } = clientOf({ transport: transport.open });
    client.connect();
    await soon();
    transport.last().handlers.received(session());
    expect(codes()).toEqual(['no_sound']);
    expect(client.state).toBe('open');
  });

  it('rests after the session, and is the same one for the next', async () => {
    const { browser, client, codes } = await open();
    client.disconnect();
    expect(browser.contexts[0]?.state).toBe('suspended');
    await vi.advanceTimersByTimeAsync(5000);
    expect(codes()).toEqual([]);
    client.connect();
    expect(browser.contexts).toHaveLength(1);
    expect(browser.contexts[0]?.state).toBe('running');
  });

  it('of a call that may not play is told, and plays from the next gesture on', async () => {
    FakeAudio.refusal = new DOMException('play() can only be initiated by a user gesture.', 'NotAllowedError');
    const { browser, handlers, codes } = await open({ carriesAudio: true });
    handlers.heard?.({} as MediaStream);
    await soon();
    expect(codes()).toEqual(['no_sound']);
    FakeAudio.refusal = null;
    browser.click();
    await soon();
    expect(FakeAudio.last?.plays).toBe(1);
    FakeAudio.last?.onpause?.();
    expect(codes()).toEqual(['no_sound', 'no_sound']);
    browser.click();
    await soon();
    expect(FakeAudio.last?.plays).toBe(2);
    browser.click();
    expect(FakeAudio.last?.plays, 'once it plays, clicks are the page’s').toBe(2);
  });
});

describe('a connection', () => {
  it('that a transport cannot even begin is told, and another can be tried', async () => {
    fakeBrowser();
    let isBroken = true;
    const working = fakeTransport();
    const { client, codes } = clientOf({
      transport: (...given) => {
        if (isBroken) throw new DOMException('refused by the browser', 'SecurityError');
        return working.open(...given);
      },
    });
    client.connect();
    await soon();
    expect(client.state).toBe('idle');
    expect(codes()).toEqual(['unusable_address']);
    isBroken = false;
    client.connect();
    await soon();
    working.last().handlers.received(session());
    expect(client.state).toBe('open');
  });

  it('by WebRTC is told to be impossible where the browser has none', async () => {
    fakeBrowser();
    const { client, codes } = clientOf({ transport: openCall });
    client.connect();
    await soon();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(codes()).toEqual(['webrtc_not_offered']);
    expect(client.state).toBe('idle');
  });

  it('in which no session begins is given up and told', async () => {
    fakeBrowser();
    const transport = fakeTransport();
    const { client, problems } = clientOf({ transport: transport.open });
    client.connect();
    await vi.advanceTimersByTimeAsync(61_000);
    expect(problems).toMatchObject([{ code: 'unreachable', isFinal: true }]);
    expect(transport.last().isClosed).toBe(true);
    expect(client.state).toBe('idle');
  });

  it('survives a listener of the page that throws', async () => {
    fakeBrowser();
    const thrown: unknown[] = [];
    vi.stubGlobal('queueMicrotask', (act: () => void) => {
      try {
        act();
      } catch (error) {
        thrown.push(error);
      }
    });
    const transport = fakeTransport();
    const { client } = clientOf({ transport: transport.open });
    const states: string[] = [];
    client.on('state', () => {
      throw new Error('a fault of the page');
    });
    client.on('state', ({ state }) => states.push(state));
    client.connect();
    await soon();
    transport.last().handlers.received(session());
    expect(states).toEqual(['connecting', 'open']);
    expect(thrown.map(String)).toEqual(['Error: a fault of the page', 'Error: a fault of the page']);
  });

  it('comes back when the page cannot ask for a token, being off the network', async () => {
    fakeBrowser();
    const transport = fakeTransport();
    let isOffline = false;
    const token = async () => {
      if (isOffline) throw new TypeError('Failed to fetch');
      return 'a';
    };
    const { client, problems } = clientOf({ transport: transport.open, token });
    client.connect();
    await soon();
    transport.last().handlers.received(session());
    isOffline = true;
    transport.endWith('upstream_lost');
    await vi.advanceTimersByTimeAsync(500);
    expect(problems.at(-1)).toMatchObject({ code: 'no_token', isFinal: true });
    isOffline = false;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(transport.opened).toHaveLength(2);
    expect(client.state).toBe('connecting');
  });

  it.each([undefined, null, 7])('without a token (%j) is told as such', async (token) => {
    fakeBrowser();
    const { client, problems } = clientOf({ transport: fakeTransport().open, token: () => token as unknown as string });
    client.connect();
    await soon();
    expect(problems).toMatchObject([{ code: 'unusable_token', message: 'There is no token.' }]);
    expect(client.state).toBe('idle');
  });

  it('to something that is no relay ends, and says so', async () => {
    fakeBrowser();
    let socket = new EventTarget();
    vi.stubGlobal(
      'WebSocket',
      class extends EventTarget {
        constructor() {
          super();
          socket = this;
        }
        close() {}
      },
    );
    for (const data of ['hello', '[1]', 'null', new Blob(['{}'])]) {
      const { client, problems } = clientOf();
      client.connect();
      await soon();
      socket.dispatchEvent(new MessageEvent('message', { data }));
      expect(problems).toMatchObject([{ isFinal: true, message: expect.stringContaining('no relay sends') }]);
      expect(client.state).toBe('idle');
    }
  });
});

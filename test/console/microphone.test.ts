import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeTrack, fakeBrowser } from './media.js';
import { clientOf, never, open, soon } from './opened.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a microphone', () => {
  it('that is unplugged is told, and the next start opens another', async () => {
    const { browser, client, problems, microphone, sent } = await open();
    await client.startMicrophone();
    browser.hear();
    expect(client.isListening).toBe(true);
    browser.tracks[0]?.end();
    expect(client.isListening).toBe(false);
    const message = expect.stringContaining('unplugged');
    expect(problems).toEqual([{ code: 'no_microphone', message, isFinal: false }]);
    await client.startMicrophone();
    browser.hear();
    expect(browser.tracks).toHaveLength(2);
    expect(microphone).toEqual([true, false, true]);
    expect(sent.map(({ type }) => type)).toEqual(['input_audio_buffer.append', 'input_audio_buffer.append']);
  });

  it('that is unplugged is taken away from a call', async () => {
    const given: unknown[] = [];
    const { browser, client } = await open({ carriesAudio: true, setMicrophone: (track) => given.push(track) });
    await client.startMicrophone();
    browser.tracks[0]?.end();
    expect(given).toEqual([null, browser.tracks[0], null]);
  });

  it('that is unplugged while it is being opened is told, too', async () => {
    const { browser, client, codes } = await open();
    browser.addModule = never;
    const started = client.startMicrophone();
    await soon();
    browser.tracks[0]?.end();
    await started;
    expect(codes()).toEqual(['no_microphone']);
    expect(browser.tracks[0]?.isStopped).toBe(true);
  });

  it('that the system mutes is told after a moment, and only if it stays muted', async () => {
    const { browser, client, codes } = await open();
    await client.startMicrophone();
    browser.tracks[0]?.mute(true);
    browser.tracks[0]?.mute(false);
    await vi.advanceTimersByTimeAsync(3000);
    expect(codes()).toEqual([]);
    browser.tracks[0]?.mute(true);
    await vi.advanceTimersByTimeAsync(1500);
    expect(codes()).toEqual(['no_microphone']);
    expect(client.isListening).toBe(true);
  });

  it('whose worklet breaks is told and ended', async () => {
    const { browser, client, codes } = await open();
    await client.startMicrophone();
    browser.breakWorklet();
    expect(codes()).toEqual(['no_microphone']);
    expect(browser.tracks[0]?.isStopped).toBe(true);
    expect(client.isListening).toBe(false);
  });

  it.each([
    ['NotAllowedError', 'not allowed'],
    ['NotFoundError', 'There is no microphone'],
    ['NotReadableError', 'another program'],
    ['OverconstrainedError', 'no microphone that can'],
  ])('that is refused with %s is explained', async (name, words) => {
    const { browser, client, problems } = await open();
    browser.ask = async () => {
      throw new DOMException('said by the browser', name);
    };
    await client.startMicrophone();
    expect(problems).toMatchObject([{ code: 'no_microphone', message: expect.stringContaining(words) }]);
    expect(client.isListening).toBe(false);
  });

  it('is not there on a page that is not https, which is said', async () => {
    const { client, problems } = await open();
    vi.stubGlobal('navigator', {});
    await client.startMicrophone();
    expect(problems).toMatchObject([{ code: 'no_microphone', message: expect.stringContaining('must be https') }]);
  });

  it('whose worklet file is not served is explained', async () => {
    const { browser, client, problems } = await open();
    browser.addModule = async () => {
      throw new DOMException('Unable to load a worklet.', 'AbortError');
    };
    await client.startMicrophone();
    expect(problems).toMatchObject([{ message: expect.stringContaining('microphone-worklet.js') }]);
    expect(browser.tracks[0]?.isStopped).toBe(true);
  });

  it('is asked for once, however often it is started', async () => {
    const { browser, client } = await open();
    await Promise.all([client.startMicrophone(), client.startMicrophone()]);
    expect(browser.tracks).toHaveLength(1);
  });

  describe.each(['disconnect', 'stopMicrophone'] as const)('ended by %s', (end) => {
    it('before the user has decided settles at once, and lets go of what comes late', async () => {
      const { browser, client, problems } = await open();
      let allow = (_track: FakeTrack) => undefined as unknown;
      browser.ask = () => new Promise((resolve) => (allow = resolve));
      const started = client.startMicrophone();
      client[end]();
      await started;
      const track = new FakeTrack();
      allow(track);
      await soon();
      expect(track.isStopped).toBe(true);
      expect(client.isListening).toBe(false);
      expect(problems).toEqual([]);
    });

    it('while its worklet is loaded lets go of the device at once', async () => {
      const { browser, client, microphone } = await open();
      browser.addModule = never;
      const started = client.startMicrophone();
      await soon();
      client[end]();
      expect(browser.tracks[0]?.isStopped).toBe(true);
      await started;
      expect(microphone).toEqual([]);
    });
  });

  it('is ended by disconnect also where nothing is connected', async () => {
    const browser = fakeBrowser();
    const { client } = clientOf();
    await client.startMicrophone();
    client.disconnect();
    expect(browser.tracks[0]?.isStopped).toBe(true);
    expect(client.isListening).toBe(false);
  });

  it('is open on a page without a gesture, says that it hears nothing, and hears from the gesture on', async () => {
    const browser = fakeBrowser({ isClicked: false });
    const { client, codes } = clientOf();
    await client.startMicrophone();
    expect(client.isListening).toBe(true);
    await vi.advanceTimersByTimeAsync(2500);
    expect(codes()).toEqual(['no_microphone']);
    browser.click();
    expect(browser.contexts.at(-1)?.state).toBe('running');
  });

  it('says once that the network takes its sound too slowly', async () => {
    let bufferedBytes = 0;
    const { browser, client, codes, sent } = await open({
      get bufferedBytes() {
        return bufferedBytes;
      },
    });
    await client.startMicrophone();
    bufferedBytes = 1e6;
    browser.hear();
    browser.hear();
    expect(codes()).toEqual(['not_sent']);
    bufferedBytes = 0;
    browser.hear();
    expect(sent).toHaveLength(1);
  });
});

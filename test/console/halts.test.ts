import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RelayClient } from '../../src/client/relay-client.js';
import { startEmulator } from '../../src/emulator/emulator.js';
import { artefact, noBrowser, paddedSpeech, startBrowser, type TestBrowser } from '../support/browser.js';
import { startTestRelay } from '../support/relay.js';

interface Noted {
  relay: RelayClient;
  noted: string[];
  loudest: number;
  pieces: number[];
  tracks: MediaStreamTrack[];
}

const yaml = `
profiles:
  default: {}
  telephone:
    session:
      audio:
        input: { format: { type: audio/pcmu }, turn_detection: null, transcription: { model: gpt-4o-transcribe } }
        output: { format: { type: audio/pcma } }
`;

/** Runs in the page before it: keeps every microphone that is opened. */
function keepTracks(): void {
  const page = window as unknown as Noted;
  page.tracks = [];
  const devices = navigator.mediaDevices;
  const open = devices?.getUserMedia.bind(devices);
  if (!devices || !open) return;
  devices.getUserMedia = async (wanted) => {
    const stream = await open(wanted);
    page.tracks.push(...stream.getAudioTracks());
    return stream;
  };
}

/** Runs in the page: notes problems and the loudest sound that it plays, and how many bytes each piece of sound has that it sends. */
function note(): void {
  const page = window as unknown as Noted;
  page.noted = [];
  page.loudest = 0;
  page.pieces = [];
  page.relay.on('problem', ({ code, isFinal }) => page.noted.push(`${code} ${isFinal}`));
  page.relay.on('event', ({ event }) => {
    if (event.type === 'input_audio_buffer.append') page.pieces.push(atob(String(event.audio)).length);
  });
  setInterval(() => {
    page.loudest = Math.max(page.loudest, page.relay.levels.model);
  }, 10);
}

/** Runs in a page that nobody has clicked: what comes of a client of its own is told by the page's console. */
function connectUnasked(): void {
  addEventListener('load', async () => {
    while (!(window as unknown as Partial<Noted>).relay) await new Promise((resolve) => setTimeout(resolve, 10));
    const { relay } = window as unknown as Noted;
    const token = decodeURIComponent(location.hash.slice(1));
    const Client = relay.constructor as new (options: object) => RelayClient;
    const client = new Client({ url: new URL('/', location.href).href, token: () => token });
    client.on('problem', ({ code }) => console.info(`problem ${code}`));
    client.on('state', ({ state }) => state === 'open' && client.sendText('Tell me a story'));
    client.on('event', ({ event }) => event.type === 'response.done' && console.info('answered'));
    setInterval(() => client.levels.model > 0.02 && console.info('heard'), 20);
    client.connect();
  });
}

/** Runs in a page that nobody has clicked: opens the microphone, and lets go of it while it is opened again. */
function listenUnasked(): void {
  addEventListener('load', async () => {
    while (!(window as unknown as Partial<Noted>).relay) await new Promise((resolve) => setTimeout(resolve, 10));
    const { relay, tracks } = window as unknown as Noted;
    await relay.startMicrophone();
    console.info(`listening ${relay.isListening}`);
    relay.stopMicrophone();
    const started = relay.startMicrophone();
    relay.disconnect();
    await started;
    console.info(`listening ${relay.isListening}`);
    while (tracks.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 50));
    console.info(`all ended ${tracks.every(({ readyState }) => readyState === 'ended')}`);
  });
}

describe.skipIf(noBrowser)('in Chromium', { timeout: 30_000 }, () => {
  let browser: TestBrowser;
  let page: Page;
  let microphone: ReturnType<typeof paddedSpeech>;

  beforeAll(async () => {
    microphone = paddedSpeech('question-order', 1.5);
    browser = await startBrowser(microphone.path, { viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
    await browser.context.addInitScript(keepTracks);
  }, 30_000);
  afterAll(async () => {
    await browser?.close();
    microphone?.remove();
  }, 30_000);
  beforeEach(() => {
    browser.complaints.length = 0;
  });

  async function start(profile = 'default') {
    const emulator = await startEmulator({ port: 0 });
    const test = await startTestRelay({
      upstream: emulator.url,
      yaml,
      env: { RELAY_CONSOLE: 'on', RELAY_ALLOWED_ORIGINS: '*' },
    });
    const token = test.token({ profile });
    return { url: `${test.relay.url}/console/`, token, close: () => emulator.close() };
  }

  async function connect(url: string, token: string) {
    page = await browser.open(url);
    await page.waitForFunction(() => 'relay' in window);
    await page.evaluate(note);
    await page.getByLabel('App token').fill(token);
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await page.locator('#state').getByText('Connected', { exact: true }).waitFor();
  }

  const noted = () => page.evaluate(() => (window as unknown as Noted).noted);
  const lines = (who: string) =>
    page.locator('#transcript li').filter({ has: page.locator('strong', { hasText: who }) });

  it('a session of μ-law and A-law whose turns the user ends is heard and answered aloud', async () => {
    const { url, token, close } = await start('telephone');
    await connect(url, token);
    await page.getByText('press the microphone again').waitFor();
    await page.getByRole('button', { name: 'Microphone off' }).click();
    const button = page.getByRole('button', { name: 'End my turn' });
    await button.waitFor();
    await page.screenshot({ path: artefact('console-phone-turn.png'), fullPage: true });
    await page.waitForFunction(() => (window as unknown as Noted).pieces.length > 25);
    await button.click();
    await lines('You').locator('.words:not(.wordless)').waitFor();
    await lines('Model').getByText('Your order arrives tomorrow').waitFor();
    const pieces = await page.evaluate(() => (window as unknown as Noted).pieces);
    expect(new Set(pieces.slice(1)), 'bytes of 40 ms').toEqual(new Set([320]));
    await page.waitForFunction(() => (window as unknown as Noted).loudest > 0.02);
    expect(await page.evaluate(() => (window as unknown as Noted).loudest), 'no noise').toBeLessThan(0.4);
    expect(await noted()).toEqual([]);
    expect(browser.complaints).toEqual([]);
    await close();
  });

  it('a microphone that is taken away is told, and opened again by the same button', async () => {
    const { url, token, close } = await start();
    await connect(url, token);
    await page.getByRole('button', { name: 'Microphone off' }).click();
    await page.getByRole('button', { name: 'Microphone on' }).waitFor();
    // A track that the browser ends itself; one that the page stops says nothing.
    await page.evaluate(() => (window as unknown as Noted).tracks[0]?.dispatchEvent(new Event('ended')));
    await page.getByRole('alert').getByText('unplugged').waitFor();
    await page.screenshot({ path: artefact('console-phone-unplugged.png'), fullPage: true });
    expect(await page.evaluate(() => (window as unknown as Noted).tracks[0]?.readyState)).toBe('ended');
    await page.getByRole('button', { name: 'Microphone off' }).click();
    await page.getByRole('button', { name: 'Microphone on' }).waitFor();
    await page.waitForFunction(() => (window as unknown as Noted).relay.levels.microphone > 0.05);
    await page.getByRole('button', { name: 'Disconnect' }).click();
    await page.waitForFunction(() =>
      (window as unknown as Noted).tracks.every((track) => track.readyState === 'ended'),
    );
    await close();
  });

  it('a page that nobody clicked says that it is silent, and is heard from the first click on', async () => {
    const { url, token, close } = await start();
    const fresh = await browser.context.newPage();
    const told: string[] = [];
    fresh.on('console', (message) => told.push(message.text()));
    await fresh.addInitScript(connectUnasked);
    await fresh.goto(`${url}#${encodeURIComponent(token)}`);
    await expect.poll(() => told, { timeout: 10_000 }).toContain('problem no_sound');
    await expect.poll(() => told, { timeout: 10_000 }).toContain('answered');
    expect(told).not.toContain('heard');
    await fresh.mouse.click(5, 5);
    await expect.poll(() => told, { timeout: 10_000 }).toContain('heard');
    await fresh.close();
    await close();
  });

  it('a microphone is opened and let go without a gesture', async () => {
    const { url, close } = await start();
    const fresh = await browser.context.newPage();
    const told: string[] = [];
    fresh.on('console', (message) => told.push(message.text()));
    await fresh.addInitScript(listenUnasked);
    await fresh.goto(url);
    await expect.poll(() => told, { timeout: 10_000 }).toEqual(['listening true', 'listening false', 'all ended true']);
    await fresh.close();
    await close();
  });

  it('an answer that failed is shown, and the session goes on', async () => {
    const { url, token, close } = await start();
    page = await browser.open('about:blank');
    await page.routeWebSocket(/v1\/realtime/, (socket) => {
      const server = socket.connectToServer();
      server.onMessage((message) => {
        const event = JSON.parse(String(message)) as {
          type: string;
          response?: { status: string; status_details?: object };
        };
        if (event.type === 'response.done' && event.response) {
          event.response.status = 'failed';
          const error = { type: 'server_error', code: 'rate_limit_exceeded', message: 'No tokens are left.' };
          event.response.status_details = { type: 'failed', error };
        }
        socket.send(JSON.stringify(event));
      });
    });
    await connect(url, token);
    await page.getByLabel('Message').fill('שלום, where is my order?');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByRole('alert').getByText('rate_limit_exceeded').waitFor();
    expect(await page.getByRole('alert').textContent()).toContain('No tokens are left');
    expect(await noted()).toEqual(['rate_limit_exceeded false']);
    expect(await page.locator('#state').textContent()).toBe('Connected');
    const direction = (element: Element) => getComputedStyle(element).direction;
    expect(await lines('You').locator('.words').evaluate(direction), 'Hebrew runs from right to left').toBe('rtl');
    await page.screenshot({ path: artefact('console-phone-failed.png'), fullPage: true });
    await page.unrouteAll();
    await page.close();
    await close();
  });

  it('addresses that cannot be are told, and a page that is not https says why it has no microphone', async () => {
    const { url, close } = await start();
    const served = async (origin: string) => {
      await page.route(`${origin}/console/**`, async (route) => {
        const path = new URL(route.request().url()).pathname;
        await route.fulfill({ response: await route.fetch({ url: new URL(path, url).href }) });
      });
      await page.goto(`${origin}/console/`);
      await page.waitForFunction(() => 'relay' in window);
      await page.evaluate(note);
    };
    page = await browser.context.newPage();
    await served('https://secure.test');
    for (const address of ['relay.example', 'ws://relay.example']) {
      const states = await page.evaluate(async (at) => {
        const { relay, noted } = window as unknown as Noted;
        const client = new (relay.constructor as new (options: object) => RelayClient)({ url: at, token: () => 'a' });
        client.on('problem', ({ code, isFinal }) => noted.push(`${code} ${isFinal}`));
        const seen: string[] = [];
        for (let times = 0; times < 2; times++) {
          client.connect();
          await new Promise((resolve) => setTimeout(resolve, 20));
          seen.push(client.state);
        }
        return seen;
      }, address);
      expect(states).toEqual(['idle', 'idle']);
    }
    expect(await noted()).toEqual(Array(4).fill('unusable_address true'));
    await served('http://plain.test');
    await page.evaluate(() => (window as unknown as Noted).relay.startMicrophone());
    await page.getByRole('alert').getByText('must be https').waitFor();
    expect(browser.complaints.filter((text) => /Uncaught|unhandled/i.test(text))).toEqual([]);
    await page.close();
    await close();
  });
});

import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Page } from 'playwright-core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { noBrowser, shareBrowser } from '../support/browser.js';
import { makeCertificate } from '../support/certificate.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** In CI they are always tried, so that a package that is missing there is a failure. */
const isInstalled = Boolean(process.env.CI) || existsSync(pathOf('node_modules/.package-lock.json'));
const speech = readFileSync(pathOf('../../assets/speech/question-order.wav'));

interface Spoken {
  url: string;
  opened: boolean;
  types: string[];
  transcript: string;
  audioBytes: number;
  error: { message: string; code: string | null } | null;
  close: { code: number; reason: string } | null;
}

interface Told {
  events: string[];
  transcripts: string[];
  loudest: number;
  errors: string[];
  states: string[];
}

declare const window: {
  told: Told;
  session: {
    sendMessage(text: string): void;
    close(): void;
    transport: { connectionState: { dataChannel: { send(text: string): void } } };
  };
  mint(relay: string, token: string): Promise<string>;
  speak(relay: string, key: string): Promise<Spoken>;
  start(relay: string, token: string): Promise<string>;
};

/** The site of an app: one page with one script. It has two names, and so two origins. */
async function startSite(script: string, alias: Record<string, string> = {}) {
  const { outputFiles } = await build({
    entryPoints: [pathOf(script)],
    absWorkingDir: pathOf('.'),
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    alias,
    logLevel: 'error',
  });
  const files: Record<string, readonly [string, string | Uint8Array]> = {
    '/': ['text/html', '<!doctype html><title>app</title><script src="app.js"></script>'],
    '/app.js': ['text/javascript', outputFiles[0]?.contents ?? ''],
    '/speech.wav': ['audio/wav', speech],
  };
  const server = createServer(({ url = '' }, response) => {
    const [type, content] = files[url] ?? ['text/plain', ''];
    response.setHeader('content-type', type).end(content);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { allowed: `http://localhost:${port}`, foreign: `http://127.0.0.1:${port}` };
}

/** One question, and then silence for as long as a test takes. */
const shared = shareBrowser('question-order', 30, { ignoreHTTPSErrors: true });

async function opened(script: string, alias: Record<string, string> = {}) {
  const site = await startSite(script, alias);
  const emulator = await startTestEmulator();
  const { cert, key } = makeCertificate();
  // The official class dials wss:// only.
  const env = { RELAY_ALLOWED_ORIGINS: site.allowed, RELAY_TLS_CERT: cert, RELAY_TLS_KEY: key };
  const yaml = `profiles: { default: { session: { instructions: Keep this to yourself. } } }`;
  const relay = await startTestRelay({ upstream: emulator.url, env, yaml });
  return { site, emulator, relay, browser: shared() };
}

const speak = (tab: Page, relay: string, key: string) =>
  tab.evaluate(([to, credential]) => window.speak(to as string, credential as string), [relay, key]);

describe.skipIf(noBrowser)('the official openai class for browsers', { timeout: 60_000 }, () => {
  it.for(['openai', 'openai-v7'])('%s speaks from a page on an allowed origin', async (openai, { skip }) => {
    if (openai !== 'openai' && !isInstalled) skip('not installed: npm ci --prefix test/clients --ignore-scripts');
    const { site, relay, browser } = await opened('page-openai.mjs', { openai });
    const tab = await browser.open(site.allowed);
    const secret = await tab.evaluate(
      ([to, token]) => window.mint(to as string, token as string),
      [relay.relay.url, relay.token()],
    );
    expect(secret).toMatch(/^ek_rly_/);
    for (const key of [secret, relay.token()]) {
      const told = await speak(tab, relay.relay.url, key);
      expect(told).toMatchObject({ error: null, transcript: expect.stringContaining('order') });
      expect(told.url).toMatch(/^wss:/);
      expect(told.types[0]).toBe('session.created');
      expect(told.types).toContain('input_audio_buffer.speech_started');
      expect(told.audioBytes).toBeGreaterThan(48_000);
    }
    // A secret is good once, and the page can read why it is refused.
    expect(await speak(tab, relay.relay.url, secret)).toMatchObject({
      opened: true,
      error: { code: 'unauthorized' },
      close: { code: 1008, reason: 'unauthorized' },
    });
    expect(await relay.logged('session.ended', 2)).toMatchObject({ reason: 'normal', initiator: 'client' });
    expect(await relay.metric('relay_clients_total', { dialect: 'ga', sdk: 'browser' })).toBe(2);
    expect(browser.complaints.filter((text) => !text.includes('favicon'))).toEqual([]);
  });

  it('gets nowhere from any other origin', async () => {
    const { site, emulator, relay, browser } = await opened('page-openai.mjs');
    const tab = await browser.open(site.foreign);
    const told = await speak(tab, relay.relay.url, relay.token());
    expect(told).toMatchObject({ opened: false, types: [] });
    const minted = tab.evaluate(
      ([to, token]) => window.mint(to as string, token as string),
      [relay.relay.url, relay.token()],
    );
    await expect(minted).rejects.toThrow('Failed to fetch');
    expect(await relay.logged('session.refused')).toMatchObject({ reason: 'forbidden' });
    expect(await relay.logged('request.refused')).toMatchObject({ reason: 'forbidden' });
    expect(emulator.control.received.connections).toEqual([]);
    expect(browser.complaints.join('\n')).toContain('403');
  });
});

describe.skipIf(noBrowser || !isInstalled)('@openai/agents-realtime over WebRTC', { timeout: 60_000 }, () => {
  it('talks from a page on an allowed origin', async () => {
    const { site, emulator, relay, browser } = await opened('page-agents.mjs');
    const tab = await browser.open(site.allowed);
    const since = Date.now();
    const call = await tab.evaluate(
      ([to, token]) => window.start(to as string, token as string),
      [relay.relay.url, relay.token()],
    );
    // It waits for a session.updated that upstream's filter keeps from it.
    expect(Date.now() - since).toBeLessThan(10_000);
    expect(call).toMatch(/^call_[0-9a-f]{32}$/);
    expect(await relay.logged('session.opened')).toMatchObject({ transport: 'webrtc' });
    await tab.waitForFunction(() => window.told.events.includes('output_audio_buffer.started'));
    await tab.waitForFunction(() => window.told.transcripts.some((text) => text.includes('order arrives')));
    await tab.waitForFunction(() => window.told.loudest > 0.01);
    const told = await tab.evaluate(() => window.told);
    expect(told.states).toEqual(['connecting', 'connected']);
    expect(told.errors).toEqual([]);
    expect(told.events).toContain('input_audio_buffer.speech_started');
    expect(JSON.stringify(told)).not.toContain('Keep this to yourself');

    // The instructions it came with are put back, whether they were there before the relay or after.
    const updates = emulator.control.received.events('session.update').map(({ body }) => JSON.stringify(body));
    expect(updates.at(-1)).toContain('Keep this to yourself');
    expect(updates.at(-1)).not.toContain('pirate');

    const stopped = (times: number) =>
      tab.waitForFunction(
        (count) => window.told.events.filter((type) => type === 'output_audio_buffer.stopped').length === count,
        times,
      );
    await stopped(1);
    await tab.evaluate(() => window.session.sendMessage('Good morning'));
    await tab.waitForFunction(() => window.told.transcripts.includes('You said: Good morning'));
    await stopped(2);
    // It waits for a response.done, which is kept from it too, before it asks for another answer; the channel does not.
    await tab.evaluate(() => {
      window.session.sendMessage('And good night');
      window.session.transport.connectionState.dataChannel.send('{"type":"response.create"}');
    });
    await tab.waitForFunction(() => window.told.transcripts.includes('You said: And good night'));

    await tab.evaluate(() => window.session.close());
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'upstream' });
    expect(browser.requests.filter((asked) => asked.startsWith(emulator.url))).toEqual([]);
  });

  it('gets nowhere from any other origin', async () => {
    const { site, emulator, relay, browser } = await opened('page-agents.mjs');
    const tab = await browser.open(site.foreign);
    const started = tab.evaluate(
      ([to, token]) => window.start(to as string, token as string),
      [relay.relay.url, relay.token()],
    );
    await expect(started).rejects.toThrow('Failed to fetch');
    expect(await relay.logged('request.refused')).toMatchObject({ reason: 'forbidden' });
    expect(emulator.control.calls.records.minted).toEqual([]);
  });
});

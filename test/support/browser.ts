/** A real browser for tests of pages: headless Chromium with a microphone that plays a recording. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { readWav, writeWav } from '../../src/audio/wav.js';
import { lacking } from './lacking.js';

const executablePath = '/usr/bin/chromium';

/**
 * Whether tests in a browser cannot run here, which is said once. In CI they always run, so that a browser that is
 * missing there is a failure.
 */
export const noBrowser =
  !process.env.CI && lacking(existsSync(executablePath), executablePath, 'apt-get install chromium');

const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A browser with a profile of its own, and what must not happen in it. */
export interface TestBrowser {
  readonly context: BrowserContext;
  /** Errors and warnings of the browser's console, and exceptions nobody caught. */
  readonly complaints: string[];
  /** Every address that was asked for. */
  readonly requests: string[];
  open(url: string): Promise<Page>;
  close(): Promise<void>;
}

/** Starts a browser whose microphone plays this file, over and over. */
export async function startBrowser(microphone: string, options: BrowserContextOptions = {}): Promise<TestBrowser> {
  const folder = mkdtempSync(join(tmpdir(), 'relay-browser-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath,
    args: [
      ...quiet,
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-audio-capture=${microphone}`,
    ],
    ...options,
  });
  context.setDefaultTimeout(10_000);
  const complaints: string[] = [];
  const requests: string[] = [];
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  context.on('request', (request) => requests.push(request.url()));
  return {
    context,
    complaints,
    requests,
    async open(url) {
      const page = context.pages()[0] ?? (await context.newPage());
      page.on('websocket', (socket) => requests.push(socket.url()));
      await page.goto(url);
      return page;
    },
    async close() {
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** One browser for all tests of a file, which hears this recording and then silence; what it tells begins anew with each test. */
export function shareBrowser(recording: string, silenceSeconds: number, options?: BrowserContextOptions) {
  let browser: TestBrowser | null = null;
  let microphone: ReturnType<typeof paddedSpeech> | null = null;
  beforeAll(async () => {
    if (noBrowser) return;
    microphone = paddedSpeech(recording, silenceSeconds);
    browser = await startBrowser(microphone.path, options);
  }, 30_000);
  beforeEach(async () => {
    if (browser === null) return;
    // The page of the test before ends its calls and gives its microphone back.
    await browser.open('about:blank');
    browser.complaints.length = 0;
    browser.requests.length = 0;
  });
  afterAll(async () => {
    await browser?.close();
    microphone?.remove();
  }, 30_000);
  return (): TestBrowser => {
    if (browser === null) throw new Error('there is no browser');
    return browser;
  };
}

/** A WAV file of a recording of assets/speech with silence after it, so that a looped microphone pauses. */
export function paddedSpeech(name: string, silenceSeconds: number): { path: string; remove(): void } {
  const recording = new URL(`../../assets/speech/${name}.wav`, import.meta.url);
  const { samples, sampleRate } = readWav(readFileSync(recording));
  const padded = new Int16Array(samples.length + Math.round(silenceSeconds * sampleRate));
  padded.set(samples);
  const folder = mkdtempSync(join(tmpdir(), 'relay-microphone-'));
  const path = join(folder, 'microphone.wav');
  writeFileSync(path, writeWav(padded, sampleRate));
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Where tests leave pictures for people to look at; not kept in the repository. */
export function artefact(name: string): string {
  const folder = fileURLToPath(new URL('../../.artifacts/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  return join(folder, name);
}

import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runDemo } from '../../src/commands/demo.js';
import { artefact, noBrowser, paddedSpeech, startBrowser, type TestBrowser } from '../support/browser.js';
import { contrastFaults } from './contrast.js';
import { type Recording, record, recording } from './recorder.js';

/** Long enough for the answer to begin, short enough for the next question to fall into it. */
const pauseSeconds = 1.6;

describe.skipIf(noBrowser)('the console of the demo', { timeout: 30_000 }, () => {
  let url: string;
  let stop: () => Promise<unknown>;
  let browser: TestBrowser;
  let page: Page;
  let microphone: ReturnType<typeof paddedSpeech>;

  beforeAll(async () => {
    microphone = paddedSpeech('question-order', pauseSeconds);
    let end = () => undefined as unknown;
    const until = new Promise<void>((resolve) => (end = resolve));
    url = await new Promise((resolve, reject) => {
      const print = (line: string) => {
        const address = /https?:\S+\/console\//.exec(line)?.[0];
        if (address) resolve(address);
      };
      const ended = runDemo({ print, until, ports: { relay: 0, ops: 0 } });
      ended.then((code) => reject(new Error(`The demo ended with ${code}.`)), reject);
      stop = () => {
        end();
        return ended;
      };
    });
    browser = await startBrowser(microphone.path, { viewport: { width: 1440, height: 900 } });
  }, 30_000);

  afterAll(async () => {
    await browser?.close();
    await stop?.();
    microphone?.remove();
  }, 30_000);

  beforeEach(async () => {
    browser.complaints.length = 0;
    browser.requests.length = 0;
    page = await browser.open(url);
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'no-preference' });
    await page.setViewportSize({ width: 1440, height: 900 });
  });

  const state = () => page.locator('#state');
  const connect = async () => {
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await state().getByText('Connected', { exact: true }).waitFor();
  };
  const lines = (who: 'You' | 'Model') =>
    page.locator('#transcript li').filter({ has: page.locator('strong', { hasText: who }) });

  it('listens to the microphone, answers aloud, and is interrupted by the next question', async () => {
    await page.waitForFunction(() => 'relay' in window);
    await page.evaluate(record);
    await connect();
    await page.getByRole('button', { name: 'Microphone off' }).click();
    await page.getByText('Interrupted after').waitFor();
    await page.screenshot({ path: artefact('console-light.png') });
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.screenshot({ path: artefact('console-dark.png') });
    await page.waitForFunction(() => (window as unknown as Recording).recording.isSettled);
    const { loudest, loudFrom, loudUntil, speechStartedAt, truncated } = await page.evaluate(recording);

    expect(loudest, 'the answer is heard').toBeGreaterThan(0.02);
    expect(loudUntil - speechStartedAt, 'ms of sound after the interruption').toBeLessThan(150);
    expect(truncated.audio_end_ms).toBeGreaterThan(500);
    expect(truncated.audio_end_ms, 'less than the whole recording').toBeLessThan(2900);
    expect(Math.abs(truncated.audio_end_ms - (speechStartedAt - loudFrom)), 'ms off what was heard').toBeLessThan(300);

    await expect.poll(() => lines('You').first().textContent()).toContain('When will my order');
    await expect.poll(() => lines('Model').first().textContent()).toContain('Your order arrives tomorrow');
    await expect.poll(() => page.locator('#answered').textContent()).toMatch(/^\d+ ms$/);
    await expect.poll(() => page.locator('#tokens-out').textContent()).toMatch(/^\d+$/);
    expect(browser.complaints).toEqual([]);
    const host = new URL(url).host;
    expect(browser.requests.filter((address) => new URL(address).host !== host)).toEqual([]);
  });

  it('takes a written turn, and shows every event of it', async () => {
    await connect();
    await page.getByLabel('Message').fill('Tell me a story');
    await page.getByRole('button', { name: 'Send' }).click();
    await lines('Model').getByText('You said: Tell me a story').waitFor();
    expect(await lines('You').textContent()).toContain('Tell me a story');
    const events = page.getByRole('list', { name: 'Events' });
    await events.getByText('response.done').waitFor();
    // Many pieces are one row.
    expect(await events.locator('li', { hasText: 'response.output_audio.delta' }).count()).toBe(1);
    await page.getByLabel('Filter events').fill('Tell me');
    await events.locator('li:visible', { hasText: 'conversation.item.create' }).first().click();
    expect(await events.locator('pre').first().textContent()).toContain('"text": "Tell me a story"');
    expect(await events.locator('li:visible', { hasText: 'session.created' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Interrupt' }).click();
    await page.getByText('Interrupted after').waitFor();
    expect(browser.complaints).toEqual([]);
  });

  it('tells which tool of the server ran and what it is based on, when the relay says so and only then', async () => {
    const sources = [
      { chunk_id: 'c_1', title: 'Orders.pdf', chunk: 'Orders of last week <b>arrive</b> on Monday.' },
      { chunk_id: 'c_2', title: 'Faq.pdf', chunk: 'More.' },
    ];
    const results = [
      { tool: 'report_grounding', result: { sources } },
      { tool: 'weather', result: { celsius: 4 } },
      { tool: 'clock', result: 'noon' },
    ];
    await page.routeWebSocket(/realtime/, (ws) => {
      const server = ws.connectToServer();
      server.onMessage((message) => {
        ws.send(message);
        if (!String(message).includes('"session.created"')) return;
        for (const fields of results) ws.send(JSON.stringify({ type: 'relay.tool_result', event_id: 'e', ...fields }));
      });
    });
    await connect();
    const tools = page.locator('#transcript > li.tool');
    await expect.poll(() => tools.count()).toBe(3);
    const [grounding, weather, clock] = [tools.nth(0), tools.nth(1), tools.nth(2)];
    expect(await grounding.textContent()).toContain('report_grounding brought these sources');
    expect(await grounding.locator('summary').allTextContents()).toEqual(['Orders.pdf c_1', 'Faq.pdf c_2']);
    const text = grounding.locator('p').first();
    expect(await text.isVisible()).toBe(false);
    await grounding.getByText('Orders.pdf').click();
    expect(await text.textContent()).toBe('Orders of last week <b>arrive</b> on Monday.');
    await page.screenshot({ path: artefact('console-sources.png') });
    expect(await weather.textContent()).toContain('weather has run');
    await weather.getByText('Result').click();
    expect(await weather.locator('p').textContent()).toContain('"celsius": 4');
    expect(await clock.locator('p').textContent()).toBe('noon');
    expect((await page.evaluate(contrastFaults)).wrong).toEqual([]);
    await page.getByLabel('Message').fill('weather');
    await page.getByRole('button', { name: 'Send' }).click();
    await lines('Model').getByText('You said: weather').waitFor();
    expect(await tools.count()).toBe(3);
    expect(browser.complaints).toEqual([]);
  });

  it('says what to do when a token is not accepted', async () => {
    await page.getByLabel('My own').check();
    await page.getByLabel('App token').fill('eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl');
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await page.getByRole('alert').getByText('unauthorized').waitFor();
    await state().getByText('Not connected').waitFor();
    expect(await page.locator('#problems li').count(), 'it is tried once').toBe(1);
    expect(await page.getByRole('alert').textContent()).toContain('Get a new token');
    await page.getByLabel('App token').fill('not a token');
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await page.getByRole('alert').getByText('Paste the whole token').waitFor();
    expect(await state().textContent()).toBe('Not connected');
    await page.screenshot({ path: artefact('console-problem.png') });
    expect(browser.complaints).toEqual([]);
  });

  it('can be used with the keyboard alone', async () => {
    const reach = async (name: RegExp) => {
      for (let presses = 0; presses < 30; presses++) {
        await page.keyboard.press('Tab');
        const focused = await page.evaluate(() => {
          const at = document.activeElement as HTMLInputElement | null;
          const outline = at ? getComputedStyle(at).outlineStyle : 'none';
          return {
            name: (at?.labels?.[0] ?? at)?.textContent?.trim().slice(0, 40) ?? '',
            outline,
            isPage: at === document.body,
          };
        });
        // At the end of the page the focus leaves it, and comes back.
        if (focused.isPage) continue;
        expect(focused.outline, `focus is visible on ${focused.name}`).not.toBe('none');
        if (name.test(focused.name)) return;
      }
      throw new Error(`${name} cannot be reached by Tab`);
    };
    await reach(/^Profile/);
    await page.keyboard.press('ArrowDown');
    await reach(/^Connect$/);
    await page.keyboard.press('Enter');
    await state().getByText('Connected', { exact: true }).waitFor();
    await reach(/^Message$/);
    await page.keyboard.type('Good morning');
    await page.keyboard.press('Enter');
    await lines('Model').getByText('You said: Good morning').waitFor();
    expect(await page.locator('#profile').inputValue()).toBe('written');
    await reach(/^Direction/);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('#events pre').waitFor();
    expect(browser.complaints).toEqual([]);
  });

  it('names every control and region, for those who hear the page', async () => {
    await connect();
    await page.getByLabel('Message').fill('Hello');
    await page.getByRole('button', { name: 'Send' }).click();
    await lines('Model').getByText('You said: Hello').waitFor();
    const devtools = await browser.context.newCDPSession(page);
    const { nodes } = await devtools.send('Accessibility.getFullAXTree');
    const shown = nodes.filter(({ ignored }) => !ignored);
    const controls = [
      'button',
      'textbox',
      'searchbox',
      'combobox',
      'radio',
      'checkbox',
      'meter',
      'region',
      'DisclosureTriangle',
    ];
    const named = shown.filter(({ role }) => controls.includes(String(role?.value)));
    expect(named.length).toBeGreaterThan(15);
    expect(
      named.filter(({ name }) => !name?.value).map(({ role, backendDOMNodeId }) => [role?.value, backendDOMNodeId]),
    ).toEqual([]);
    expect(await page.locator('html').getAttribute('lang')).toBe('en');
    expect(await page.locator('h1').count()).toBe(1);
    expect(await page.locator('img:not([alt])').count()).toBe(0);
    await devtools.detach();
  });

  it.each(['light', 'dark'] as const)('has enough contrast for WCAG AA when it is %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await connect();
    await page.getByLabel('Message').fill('Hello');
    await page.getByRole('button', { name: 'Send' }).click();
    await lines('Model').getByText('You said: Hello').waitFor();
    // Not allowed to end users, which makes the page show a problem.
    await page.evaluate(() => (window as unknown as Recording).relay.send({ type: 'output_audio_buffer.clear' }));
    await page.locator('#problems').getByText('event_not_allowed').waitFor();
    const update = { type: 'session.update', session: { type: 'realtime', instructions: 'mine' } };
    await page.evaluate((event) => (window as unknown as Recording).relay.send(event), update);
    await page.locator('#problems').getByText('session.instructions').waitFor();
    const faults = await page.evaluate(contrastFaults);
    expect(faults.texts).toBeGreaterThan(20);
    expect(faults.wrong).toEqual([]);
  });

  it('fits a phone', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(await overflow()).toBe(0);
    await page.screenshot({ path: artefact('console-phone-idle.png') });
    await connect();
    await page
      .getByLabel('Message')
      .fill('Tell me a story, Donaudampfschifffahrtselektrizitätenhauptbetriebswerk'.repeat(2));
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByRole('list', { name: 'Events' }).getByText('response.done').waitFor();
    expect(await overflow()).toBe(0);
    await page.screenshot({ path: artefact('console-phone.png'), fullPage: true });
  });

  it('does not move for people who want less motion', async () => {
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await connect();
    await page.getByRole('button', { name: 'Microphone off' }).click();
    await page.waitForFunction(() => (document.getElementById('level-you') as HTMLMeterElement).value > 0.3);
    expect(await page.locator('#waves').isVisible()).toBe(false);
  });

  it('talks over WebRTC, is heard and answered aloud, and is interrupted by the next question', async () => {
    await page.getByLabel('WebRTC').check();
    await page.waitForFunction(() => 'relay' in window);
    await page.evaluate(record);
    await connect();
    await page.getByRole('button', { name: 'Microphone off' }).click();
    await lines('Model').first().getByText('Your order arrives tomorrow').waitFor();
    await expect.poll(() => lines('You').first().textContent()).toContain('When will my order');
    await page.waitForFunction(() => (window as unknown as Recording).recording.isSettled);
    await page.screenshot({ path: artefact('console-webrtc.png') });
    const { loudest, loudFrom, loudUntil, speechStartedAt } = await page.evaluate(recording);
    expect(loudest, 'the answer is heard').toBeGreaterThan(0.02);
    expect(speechStartedAt - loudFrom, 'ms of the answer that were heard').toBeGreaterThan(300);
    expect(loudUntil - speechStartedAt, 'ms of sound after the interruption').toBeLessThan(150);
    await page.getByRole('button', { name: 'Disconnect' }).click();
    await state().getByText('Not connected').waitFor();
    expect(browser.complaints).toEqual([]);
    const host = new URL(url).host;
    expect(browser.requests.filter((address) => new URL(address).host !== host)).toEqual([]);
  });

  it('says so kindly when the relay does not offer WebRTC', async () => {
    await page.route('**/v1/realtime/calls', (route) => route.fulfill({ status: 404, json: { error: {} } }));
    await page.getByLabel('WebRTC').check();
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await page.getByRole('alert').getByText('This relay does not offer WebRTC').waitFor();
    expect(await page.getByRole('alert').textContent()).toContain('Choose WebSocket');
    await page.unroute('**/v1/realtime/calls');
  });

  it('is pictured in the README as it is', () => {
    const picture = readFileSync(new URL('../../docs/console.png', import.meta.url));
    expect(picture.length).toBeLessThanOrEqual(200 * 1024);
    expect(picture.readUInt32BE(16), 'width').toBeGreaterThanOrEqual(1200);
  });
});

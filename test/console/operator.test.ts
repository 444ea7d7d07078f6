import type { Page } from 'playwright-core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { runDemo } from '../../src/commands/demo.js';
import { artefact, noBrowser, paddedSpeech, startBrowser } from '../support/browser.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { contrastFaults } from './contrast.js';

const both = 'relay.sessions.read relay.sessions.write';

/** The view of a relay with a console, in a browser of its own. */
async function opened() {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({
    upstream: emulator.url,
    env: { RELAY_CONSOLE: 'on', RELAY_ALLOWED_ORIGINS: '*' },
  });
  const url = `${relay.relay.url}/console/`;
  const { page, browser } = await browsing(`${url}#sessions`);
  return { emulator, relay, page, browser, url };
}

async function browsing(url: string) {
  const silence = paddedSpeech('question-order', 1);
  const browser = await startBrowser(silence.path, { viewport: { width: 1280, height: 860 } });
  onTestFinished(async () => {
    await browser.close();
    silence.remove();
  });
  return { browser, page: await browser.open(url) };
}

async function use(page: Page, relay: TestRelay, scope = both) {
  const token = relay.token({ subject: 'desk', claims: { scope } });
  await page.getByLabel('Token with').fill(token);
  await page.getByLabel('Token with').press('Enter');
  return token;
}

async function talking(relay: TestRelay, subject: string) {
  const client = await relay.connect({ token: relay.token({ subject, tenant: 'acme' }) });
  const { session } = await client.next('session.created');
  return { client, id: (session as { id: string }).id };
}

describe.skipIf(noBrowser)('the operator’s view', { timeout: 60_000 }, () => {
  it('lists live sessions, shows one, has something said in it and ends it, by keyboard', async () => {
    const { relay, emulator, page, browser, url } = await opened();
    const { client: alice, id } = await talking(relay, 'alice <b>');
    await talking(relay, 'bob');
    await page.getByLabel('Token with').waitFor();
    expect(await page.locator('#operator-lists').isVisible()).toBe(false);
    expect(await page.getByText('Not connected').isVisible()).toBe(false);
    const token = await use(page, relay);
    await page.getByText('2 live sessions').waitFor();
    // What a token names is text, never markup.
    expect(await page.locator('#live b').count()).toBe(0);

    await page.getByRole('button', { name: /alice/ }).focus();
    await page.keyboard.press('Enter');
    await page.locator('#live-fields').getByText(id).waitFor();
    await page.screenshot({ path: artefact('console-sessions-light.png') });

    await page.getByLabel('Have the model say').fill('We close at noon.');
    await page.keyboard.press('Enter');
    await alice.next('response.done');
    const [item] = emulator.control.received.events('conversation.item.create');
    expect(JSON.stringify(item?.body)).toContain('Say to the user now: We close at noon.');
    await page.locator('#live-fields').getByText('1', { exact: true }).waitFor();
    // What is polled does not take the focus away.
    await page.getByRole('button', { name: /alice/ }).focus();
    await page.getByRole('button', { name: /alice.*1 answer/ }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.textContent)).toContain('alice');

    await page.getByRole('button', { name: 'End session' }).focus();
    await page.keyboard.press('Enter');
    expect(alice.types()).not.toContain('error');
    await page.keyboard.press('Enter');
    expect(await alice.closed).toEqual({ code: 1008, reason: 'ended_by_backend' });
    await page.getByText('1 live session', { exact: true }).waitFor();

    // It is there after the page is loaded again, in this tab only, and never in the address.
    expect(page.url()).not.toContain(token);
    await page.reload();
    await page.getByText('1 live session', { exact: true }).waitFor();
    const other = await browser.context.newPage();
    await other.goto(`${url}#sessions`);
    expect(await other.locator('#operator-lists').isVisible()).toBe(false);
    await other.close();
    await page.getByRole('button', { name: 'Forget the token' }).click();
    expect(await page.locator('#operator-lists').isVisible()).toBe(false);
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
    expect(browser.complaints).toEqual([]);
    expect(browser.requests.filter((address) => !address.replace(/^ws/, 'http').startsWith(relay.relay.url))).toEqual(
      [],
    );
  });

  it('shows one as it goes on: what is said, and every event, of the one that is chosen', async () => {
    const { relay, page, browser } = await opened();
    const { client: alice } = await talking(relay, 'alice');
    const { client: bob, id } = await talking(relay, 'bob');
    const sockets: string[] = [];
    page.on('websocket', (socket) => sockets.push(socket.url()));
    const token = await use(page, relay);
    await page.getByRole('button', { name: /alice/ }).click();
    await page.getByText('Followed as it goes on.').waitFor();
    await alice.ask('Where is <b>my</b> order?');
    const words = page.locator('#live-transcript');
    await words.getByText('Where is <b>my</b> order?', { exact: true }).waitFor();
    await words.locator('.assistant:not(.growing)').waitFor();
    expect(await words.locator('b').count()).toBe(0);
    const rows = page.locator('#live-events');
    await rows.getByText('response.done').waitFor();
    expect(await rows.getByText('response.output_audio.delta').count()).toBe(0);
    // By keyboard: only what the user sent, and one of these in full.
    await page.getByLabel('Whose events').selectOption('of the user');
    expect(await rows.locator('li:visible').allTextContents()).toEqual([
      expect.stringContaining('conversation.item.create'),
      expect.stringContaining('response.create'),
    ]);
    await rows.locator('summary').first().press('Enter');
    await page.getByLabel('Whose events').selectOption('all');
    await page.screenshot({ path: artefact('console-sessions-events.png'), fullPage: true });

    // Another one is chosen: nothing of the first is left, and nothing of it comes any more.
    await page.getByRole('button', { name: /bob/ }).click();
    await page.getByText('Followed as it goes on.').waitFor();
    expect([await words.textContent(), await rows.textContent()].join()).not.toContain('order');
    await alice.ask('Alone?');
    await bob.ask('Hello from Bob');
    await words.getByText('Hello from Bob', { exact: true }).waitFor();
    expect(await words.textContent()).not.toContain('Alone?');
    // Who looks elsewhere follows nobody.
    await page.getByRole('link', { name: 'Talk' }).click();
    await expect.poll(() => relay.metric('relay_sidebands_active')).toBe(0);
    await page.getByRole('link', { name: 'Sessions' }).click();
    await page.getByText('Followed as it goes on.').waitFor();
    bob.ws.close();
    await page.getByText('It is over: normal.').waitFor();
    expect(sockets.filter((url) => url.includes('/sideband'))).toHaveLength(3);
    expect(sockets.join()).toContain(id);
    expect(sockets.join()).not.toContain(token);
    expect(browser.complaints).toEqual([]);
  });

  it('takes one over by keyboard, speaks in it, hands it back, and lets go of it with the view', async () => {
    const { relay, page } = await opened();
    const { client, id } = await talking(relay, 'alice');
    await use(page, relay);
    await page.getByRole('button', { name: /alice/ }).click();
    await page.getByRole('button', { name: 'Take over' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('Taken over by desk').waitFor();
    await page.screenshot({ path: artefact('console-sessions-takeover.png'), fullPage: true });
    client.send({ type: 'response.create' });
    expect((await client.next('error')).error).toMatchObject({ code: 'taken_over' });
    await page.getByLabel('Have the model say').fill('A person is here now.');
    await page.keyboard.press('Enter');
    await client.next('response.done');
    await page.getByRole('button', { name: 'Hand back' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Take over' }).waitFor();
    expect((await client.ask('And now?')).status).toBe('completed');
    // Whoever goes away has no session in hand any more.
    await page.getByRole('button', { name: 'Take over' }).press('Enter');
    await page.getByText('Taken over by desk').waitFor();
    await page.getByRole('link', { name: 'Talk' }).click();
    const shown = async () => {
      const token = relay.token({ subject: 'other', claims: { scope: both } });
      const answer = await fetch(`${relay.relay.url}/v1/relay/sessions/${id}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return ((await answer.json()) as { taken_over: boolean }).taken_over;
    };
    await expect.poll(shown).toBe(false);
    expect((await client.ask('Still there?')).status).toBe('completed');
  });

  it('attaches again when it is cut off, and not when it may not', async () => {
    const { relay, page } = await opened();
    const { client } = await talking(relay, 'alice');
    await use(page, relay, both);
    let refuse = true;
    await page.routeWebSocket(/sideband/, (socket) => {
      if (refuse) socket.close({ code: 1012, reason: 'draining' });
      else socket.connectToServer();
      refuse = false;
    });
    await page.getByRole('button', { name: /alice/ }).click();
    await page.getByText('it is tried again').waitFor();
    await page.getByText('Followed as it goes on.').waitFor();
    await client.ask('Hi');
    await page.locator('#live-transcript').getByText('Hi', { exact: true }).waitFor();
  });

  it('says why a token is not good for it, and asks no more', async () => {
    const { relay, page, browser } = await opened();
    await use(page, relay, 'other');
    await page.getByRole('alert').filter({ hasText: 'forbidden' }).waitFor();
    const asked = browser.requests.length;
    await page.waitForTimeout(100);
    expect(browser.requests.length).toBe(asked);
    await use(page, relay);
    await page.getByText('No live session.').waitFor();
    expect(await page.getByRole('alert').filter({ hasText: 'forbidden' }).isVisible()).toBe(false);
  });

  it('filters by user, and asks only while it is looked at', async () => {
    const { relay, page, browser } = await opened();
    await talking(relay, 'alice');
    await talking(relay, 'bob');
    await use(page, relay);
    await page.getByText('2 live sessions').waitFor();
    await page.getByLabel('Only this user').fill('bob');
    await page.keyboard.press('Enter');
    await page.getByText('1 live session', { exact: true }).waitFor();
    expect(await page.locator('#live').textContent()).toContain('bob');
    await page.getByRole('link', { name: 'Talk' }).click();
    await page.getByRole('button', { name: 'Connect', exact: true }).waitFor();
    expect(await page.locator('#sessions-view').isVisible()).toBe(false);
    const lists = () => browser.requests.filter((address) => address.includes('/v1/relay/sessions')).length;
    const before = lists();
    await page.getByRole('link', { name: 'Sessions' }).click();
    await expect.poll(lists).toBeGreaterThan(before);
  });

  it.each([
    ['light', 390],
    ['dark', 390],
    ['dark', 1280],
  ] as const)('can be read and used in %s at %i px', async (colorScheme, width) => {
    const { relay, page } = await opened();
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 860 });
    await talking(relay, 'somebody-with-a-very-long-name-that-does-not-break@department.example.com');
    await use(page, relay);
    await page.getByRole('button', { name: /somebody/ }).click();
    await page.locator('#live-fields').getByText('acme').waitFor();
    await page.screenshot({ path: artefact(`console-sessions-${colorScheme}-${width}.png`), fullPage: true });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    expect((await page.evaluate(contrastFaults)).wrong).toEqual([]);
  });

  it('of the demo gets its token from the demo', async () => {
    let end = () => undefined as unknown;
    const until = new Promise<void>((resolve) => (end = resolve));
    const url = await new Promise<string>((resolve, reject) => {
      const print = (line: string) => {
        const address = /https?:\S+\/console\//.exec(line)?.[0];
        if (address) resolve(address);
      };
      const ended = runDemo({ print, until, ports: { relay: 0, ops: 0 } });
      ended.then((code) => reject(new Error(`The demo ended with ${code}.`)), reject);
      onTestFinished(async () => {
        end();
        await ended;
      });
    });
    const { page } = await browsing(url);
    expect(await page.locator('#profile option').allTextContents()).not.toContain('operator');
    await page.getByRole('link', { name: 'Sessions' }).click();
    await page.getByRole('button', { name: 'Use a token of this demo' }).click();
    await page
      .locator('#live-count')
      .getByText(/live session/)
      .waitFor();
  });
});

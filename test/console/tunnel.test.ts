import { createHash } from 'node:crypto';
import type { Page } from 'playwright-core';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { RelayClient } from '../../src/client/relay-client.js';
import { noBrowser, shareBrowser } from '../support/browser.js';
import { layCable } from '../support/cable.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

interface Noted {
  relay: RelayClient;
  /** Every piece of sound that was sent, in order. */
  pieces: string[];
  states: string[];
  resumed: { continuity: string; received: number }[];
}

function note(): void {
  const page = window as unknown as Noted;
  page.pieces = [];
  page.states = [];
  page.resumed = [];
  page.relay.on('state', ({ state }) => page.states.push(state));
  page.relay.on('event', ({ event }) => {
    if (event.type === 'input_audio_buffer.append') page.pieces.push(String(event.audio));
    if (event.type === 'relay.resumed') page.resumed.push(event as unknown as Noted['resumed'][0]);
  });
}

describe.skipIf(noBrowser)('the console in a tunnel', { timeout: 60_000 }, () => {
  const browser = shareBrowser('question-order', 4);

  it('shows that it resumes, and its conversation goes on: every piece of sound has reached the model once', async () => {
    const emulator = await startTestEmulator({ speed: 1 });
    const relay = await startTestRelay({
      upstream: emulator.url,
      env: { RELAY_CONSOLE: 'on', RELAY_ALLOWED_ORIGINS: '*' },
    });
    const cable = await layCable(relay.address);
    const page: Page = await browser().open(`${cable.address.replace('ws', 'http')}/console/`);
    await page.waitForFunction(() => 'relay' in window);
    await page.evaluate(note);
    const noted = () =>
      page.evaluate(() => {
        const { pieces, states, resumed } = window as unknown as Noted;
        return { pieces, states, resumed };
      });
    onTestFinished(() => page.evaluate(() => (window as unknown as Noted).relay.disconnect()).catch(() => undefined));
    const state = page.locator('#state');
    await page.getByLabel('App token').fill(relay.token());
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await state.getByText('Connected', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Microphone off' }).click();
    const pieces = async () => (await noted()).pieces.length;
    for (const times of [1, 2]) {
      const before = await pieces();
      await expect.poll(pieces, { timeout: 8000 }).toBeGreaterThan(before + 20);
      cable.isUnplugged = true;
      cable.cut();
      await state.getByText('Resuming', { exact: true }).waitFor();
      const then = await pieces();
      // More than a second of speech, into a connection that is not there.
      await expect.poll(pieces, { timeout: 8000 }).toBeGreaterThan(then + 30);
      cable.isUnplugged = false;
      await state.getByText('Connected', { exact: true }).waitFor();
      await expect.poll(async () => (await noted()).resumed.length, { timeout: 8000 }).toBe(times);
    }
    await page.evaluate(() => (window as unknown as Noted).relay.stopMicrophone());
    await page.evaluate(() => (window as unknown as Noted).relay.sendText('still there?'));
    await page.locator('#transcript li').getByText('You said: still there?').waitFor();
    const { pieces: sent, states, resumed } = await noted();
    const heard = emulator.control.received.events('input_audio_buffer.append').map(({ audio }) => audio?.sha256);
    const said = sent.map((audio) => createHash('sha256').update(audio, 'base64').digest('hex'));
    expect(heard).toEqual(said);
    expect(states.filter((one) => one !== 'connecting')).toEqual(['open', 'resuming', 'open', 'resuming', 'open']);
    expect(resumed).toHaveLength(2);
    expect(relay.log.filter(({ msg }) => msg === 'session.opened')).toHaveLength(1);
    expect(emulator.control.received.connections).toHaveLength(1);
    await page.getByText('New session').first().waitFor();
    expect(await page.getByText('New session').count()).toBe(1);
  });
});

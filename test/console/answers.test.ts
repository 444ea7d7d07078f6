import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { open } from './opened.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('an answer', () => {
  const done = (status: string, status_details: object | null) => ({
    type: 'response.done',
    response: { id: 'resp_1', status, status_details },
  });

  it.each([
    [
      'failed',
      { type: 'failed', error: { type: 'server_error', code: 'rate_limit_exceeded', message: 'No tokens left.' } },
      'rate_limit_exceeded',
      'No tokens left.',
    ],
    ['failed', { type: 'failed', error: { type: 'server_error', code: null } }, 'server_error', 'The answer failed.'],
    ['failed', null, 'failed', 'The answer failed.'],
    ['incomplete', { type: 'incomplete', reason: 'content_filter' }, 'content_filter', 'The answer is incomplete.'],
    ['incomplete', { reason: 'max_output_tokens' }, 'max_output_tokens', 'The answer is incomplete.'],
  ])('that is %s with %j is a problem, and the session goes on', async (status, details, code, message) => {
    const { client, handlers, problems } = await open();
    handlers.received(done(status, details));
    expect(problems).toEqual([{ code, message, isFinal: false, responseId: 'resp_1' }]);
    expect(client.state).toBe('open');
  });

  it.each([
    ['completed', null],
    ['cancelled', { type: 'cancelled', reason: 'turn_detected' }],
  ])('that is %s is none', async (status, details) => {
    const { handlers, problems } = await open();
    handlers.received(done(status, details));
    expect(problems).toEqual([]);
  });

  it('to speech that was not transcribed comes with a problem that says so', async () => {
    const { handlers, problems } = await open();
    const type = 'conversation.item.input_audio_transcription.failed';
    handlers.received({
      type,
      item_id: 'item_1',
      error: { code: 'transcription_unavailable', message: 'Not deployed.' },
    });
    expect(problems).toEqual([{ code: 'transcription_unavailable', message: 'Not deployed.', isFinal: false }]);
  });
});

describe('a turn', () => {
  const byHand = { input: { turn_detection: null } };

  it('is ended by the page where nobody detects turns, and answered', async () => {
    const { browser, client, types } = await open({}, byHand);
    expect(client.detectsTurns).toBe(false);
    await client.startMicrophone();
    for (let piece = 0; piece < 5; piece++) browser.hear();
    client.stopMicrophone();
    client.endTurn();
    expect(types().slice(5)).toEqual(['input_audio_buffer.commit', 'response.create']);
    client.endTurn();
    expect(types(), 'nothing was said since').toHaveLength(7);
  });

  it('in which nothing was said is not sent', async () => {
    const { browser, client, types } = await open({}, byHand);
    client.endTurn();
    await client.startMicrophone();
    browser.hear();
    client.endTurn();
    expect(types()).toEqual(['input_audio_buffer.append']);
  });

  it('interrupts the answer that is running, and is answered when that is done', async () => {
    const { browser, client, handlers, types } = await open({}, byHand);
    await client.startMicrophone();
    handlers.received({ type: 'response.created', response: { id: 'resp_1' } });
    for (let piece = 0; piece < 3; piece++) browser.hear();
    client.endTurn();
    expect(types().slice(3)).toEqual(['response.cancel', 'input_audio_buffer.commit']);
    handlers.received({ type: 'response.done', response: { id: 'resp_1', status: 'cancelled' } });
    expect(types().at(-1)).toBe('response.create');
  });

  it('is not answered in a session that only transcribes', async () => {
    const { browser, client, types } = await open({}, byHand, 'transcription');
    await client.startMicrophone();
    for (let piece = 0; piece < 3; piece++) browser.hear();
    client.endTurn();
    expect(types().slice(3)).toEqual(['input_audio_buffer.commit']);
  });

  it('that nobody detects is known when the state says open', async () => {
    const { client, transport } = await open();
    const known: boolean[] = [];
    client.on('state', ({ state }) => state === 'open' && known.push(client.detectsTurns));
    transport.endWith('upstream_lost');
    await vi.advanceTimersByTimeAsync(1000);
    const { handlers } = transport.last();
    handlers.received({ type: 'session.created', session: { audio: byHand } });
    expect(known).toEqual([false]);
  });

  it('is detected where the session says nothing else', async () => {
    const { client } = await open({}, { input: { turn_detection: { type: 'server_vad' } } });
    expect(client.detectsTurns).toBe(true);
  });
});

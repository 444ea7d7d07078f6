import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { decodeAlaw, decodeUlaw, encodeAlaw, encodeUlaw } from '../../src/audio/g711.js';
import { encodePcm } from '../../src/audio/pcm.js';
import { open } from './opened.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** 400 Hz at 24 kHz, in pieces of 40 ms. */
const tone = (piece: number) =>
  Int16Array.from({ length: 960 }, (_, i) => 8000 * Math.sin((2 * Math.PI * 400 * (piece * 960 + i)) / 24_000));
const slow = (seconds: number) =>
  Int16Array.from({ length: 8000 * seconds }, (_, i) => 8000 * Math.sin((2 * Math.PI * 400 * i) / 8000));

/** How much of the loudness of `samples` is at 400 Hz, 0 to 1. */
function purity(samples: ArrayLike<number>, rate: number): number {
  let [sine, cosine, all] = [0, 0, 0];
  for (let i = 0; i < samples.length; i++) {
    const sample = samples[i] ?? 0;
    sine += sample * Math.sin((2 * Math.PI * 400 * i) / rate);
    cosine += sample * Math.cos((2 * Math.PI * 400 * i) / rate);
    all += sample * sample;
  }
  return (2 * (sine * sine + cosine * cosine)) / (samples.length * all);
}

const in_ = (type: string) => ({ input: { format: { type } } });
const bytesOf = (audio: unknown) => new Uint8Array(Buffer.from(String(audio), 'base64'));

describe('a session in a format of telephones', () => {
  it.each([
    ['audio/pcmu', decodeUlaw],
    ['audio/pcma', decodeAlaw],
  ])('hears the microphone in %s', async (type, decode) => {
    const { browser, client, sent } = await open({}, in_(type));
    await client.startMicrophone();
    for (let piece = 0; piece < 25; piece++) browser.hear(tone(piece));
    const heard = sent.flatMap(({ audio }) => [...decode(bytesOf(audio))]);
    expect(heard.length, 'a second, but for what the filter looks ahead').toBeGreaterThan(7900);
    expect(heard.length).toBeLessThanOrEqual(8000);
    expect(purity(heard.slice(200), 8000)).toBeGreaterThan(0.98);
    expect(Math.max(...heard)).toBeLessThan(9000);
  });

  it.each([
    ['audio/pcmu', encodeUlaw],
    ['audio/pcma', encodeAlaw],
  ])('plays what comes in %s', async (type, encode) => {
    const { browser, handlers } = await open({}, { output: { format: { type } } });
    const sound = slow(1);
    for (let at = 0; at < sound.length; at += 1000) {
      const delta = Buffer.from(encode(sound.slice(at, at + 1000))).toString('base64');
      handlers.received({ type: 'response.output_audio.delta', item_id: 'item_1', response_id: 'resp_1', delta });
    }
    const played = browser.contexts[0]?.played ?? [];
    expect(played.length).toBeGreaterThan(23_500);
    expect(purity(played.slice(600), 24_000)).toBeGreaterThan(0.98);
    expect(Math.max(...played)).toBeCloseTo(8000 / 32_768, 1);
  });

  it('ends a turn by its own measure of time', async () => {
    const { browser, client, types } = await open(
      {},
      { input: { format: { type: 'audio/pcmu' }, turn_detection: null } },
    );
    await client.startMicrophone();
    for (let piece = 0; piece < 4; piece++) browser.hear(tone(piece));
    client.endTurn();
    expect(types().slice(4)).toEqual(['input_audio_buffer.commit', 'response.create']);
  });
});

it('follows a session that changes its format', async () => {
  const { browser, client, handlers, sent } = await open();
  await client.startMicrophone();
  browser.hear(tone(0));
  handlers.received({ type: 'session.updated', session: { type: 'realtime', audio: in_('audio/pcmu') } });
  browser.hear(tone(1));
  const sizes = sent.map(({ audio }) => bytesOf(audio).length);
  expect(sizes[0]).toBe(1920);
  expect(sizes[1]).toBeGreaterThan(250);
  expect(sizes[1]).toBeLessThanOrEqual(320);
});

it('sends PCM as it was heard, and plays it as it came', async () => {
  const { browser, client, handlers, sent } = await open({}, { ...in_('audio/pcm'), output: {} });
  await client.startMicrophone();
  browser.hear(tone(0));
  expect(bytesOf(sent[0]?.audio)).toEqual(encodePcm(tone(0)));
  const delta = Buffer.from(encodePcm(tone(0))).toString('base64');
  handlers.received({ type: 'response.output_audio.delta', item_id: 'item_1', response_id: 'resp_1', delta });
  expect(browser.contexts[0]?.played).toEqual([...tone(0)].map((sample) => sample / 32_768));
});

it('tells a format that it cannot do before any sound, and makes none', async () => {
  const format = { format: { type: 'audio/opus' } };
  const { browser, client, handlers, sent, problems } = await open({}, { input: format, output: format });
  expect(problems.map(({ code, isFinal }) => [code, isFinal])).toEqual([
    ['unknown_format', false],
    ['unknown_format', false],
  ]);
  await client.startMicrophone();
  browser.hear();
  handlers.received({ type: 'response.output_audio.delta', item_id: 'item_1', response_id: 'resp_1', delta: 'AAAA' });
  expect(sent).toEqual([]);
  expect(browser.contexts[0]?.sources).toEqual([]);
});

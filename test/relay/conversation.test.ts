import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readWav } from '../../src/audio/wav.js';
import type { TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const speechFile = fileURLToPath(new URL('../../assets/speech/question-order.wav', import.meta.url));
const { samples } = readWav(readFileSync(speechFile));
const speech = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
const silence = Buffer.alloc(48_000);

/** Sends audio in pieces of 100 ms. */
function say(client: TestClient, pcm: Buffer): void {
  for (let at = 0; at < pcm.length; at += 4800) {
    client.send({ type: 'input_audio_buffer.append', audio: pcm.subarray(at, at + 4800).toString('base64') });
  }
}

const ga = {
  path: '/openai/v1/realtime?model=x',
  delta: 'response.output_audio.delta',
  added: 'conversation.item.added',
};
const preview = {
  path: '/openai/realtime?api-version=2025-04-01-preview&deployment=x',
  delta: 'response.audio.delta',
  added: 'conversation.item.created',
};
const cells = [
  ['GA client, GA upstream', ga, 'ga'],
  ['preview client, GA upstream', preview, 'ga'],
  ['GA client, preview upstream', ga, 'preview'],
  ['preview client, preview upstream', preview, 'preview'],
] as const;

async function start(dialect: string, options: { session?: string; speed?: number } = {}) {
  const emulator = await startTestEmulator({
    keepAudio: true,
    ...(options.speed !== undefined && { speed: options.speed }),
  });
  const yaml = `
upstreams: [{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }]
profiles: { default: { session: ${options.session ?? '{}'}, limits: { audio_burst_seconds: 60 } } }`;
  return { emulator, ...(await startTestRelay({ upstream: emulator.url, yaml })) };
}

describe.each(cells)('%s', (_, { path, delta, added }, dialect) => {
  it('hears speech, answers with speech, and changes not one byte of either', async () => {
    const { emulator, connect, metric } = await start(dialect);
    const client = await connect({ path });
    await client.next('session.created');
    say(client, speech);
    say(client, silence);
    await client.next('input_audio_buffer.speech_started');
    await client.next('input_audio_buffer.speech_stopped');
    await client.next('input_audio_buffer.committed');
    await client.next(added);
    const { response } = await client.next('response.done');
    expect(response).toMatchObject({ status: 'completed' });

    const heard = client.events
      .filter(({ type }) => type === delta)
      .map((event) => Buffer.from(String(event.delta), 'base64'));
    expect(Buffer.concat(heard).length).toBeGreaterThan(2 * 48_000);
    const sent = emulator.control.received
      .events('input_audio_buffer.append')
      .map(({ audio }) => audio?.data as Buffer);
    expect(Buffer.concat(sent).equals(Buffer.concat([speech, silence]))).toBe(true);
    expect(emulator.control.received.errors).toBe(0);
    expect(await metric('relay_audio_seconds_total', { direction: 'up' })).toBeCloseTo(
      (speech.length + 48_000) / 48_000,
      1,
    );
    expect(await metric('relay_slow_path_total', { reason: 'key' })).toBe(0);
    expect(await metric('relay_first_audio_seconds_count')).toBe(1);
  });

  it('stops an answer when the user speaks over it, and takes the truncation that follows', async () => {
    const { emulator, connect, metric } = await start(dialect, { speed: 1 });
    const client = await connect({ path });
    await client.next('session.created');
    client.send({ type: 'response.create' });
    const first = await client.next(delta);
    say(client, speech);
    await client.next('input_audio_buffer.speech_started');
    const { response } = await client.next('response.done');
    expect(response).toMatchObject({ status: 'cancelled', status_details: { reason: 'turn_detected' } });
    client.send({ type: 'conversation.item.truncate', item_id: first.item_id, content_index: 0, audio_end_ms: 50 });
    expect(await client.next('conversation.item.truncated')).toMatchObject({
      item_id: first.item_id,
      audio_end_ms: 50,
    });
    expect(emulator.control.received.errors).toBe(0);
    expect(await metric('relay_interruptions_total')).toBe(1);
  });

  it('commits by hand when turn detection is off, and tells a client by its own event id what went wrong', async () => {
    const { connect } = await start(dialect, { session: '{ audio: { input: { turn_detection: null } } }' });
    const client = await connect({ path });
    await client.next('session.created');
    client.send({ type: 'input_audio_buffer.commit', event_id: 'too_early' });
    const { error } = await client.next('error');
    expect(error).toMatchObject({ code: 'input_audio_buffer_commit_empty', event_id: 'too_early' });
    say(client, speech);
    client.send({ type: 'input_audio_buffer.commit' });
    await client.next('input_audio_buffer.committed');
    client.send({ type: 'response.create' });
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
  });

  it('hides the function calls of the server from the client', async () => {
    const tools = '{ tools: [{ type: function, name: secret_lookup, parameters: { type: object } }] }';
    const { emulator, connect } = await start(dialect, { session: tools });
    emulator.control.script({ functionCall: { name: 'secret_lookup', arguments: '{"canary":1}' } });
    const client = await connect({ path });
    await client.next('session.created');
    const response = await client.ask('where is it?');
    expect(response).toMatchObject({ status: 'completed', output: [] });
    expect(client.raw.join()).not.toMatch(/secret_lookup|canary|function_call/);
  });
});

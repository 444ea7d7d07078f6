import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readWav } from '../../src/audio/wav.js';
import type { ServerEvent, TestClient } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const speechFile = fileURLToPath(new URL('../../assets/speech/question-order.wav', import.meta.url));
const { samples } = readWav(readFileSync(speechFile));
const speech = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);

/** What a client of each dialect writes and reads. */
const ga = {
  path: '/openai/v1/realtime?model=x',
  added: 'conversation.item.added',
  otherAdded: 'conversation.item.created',
  text: 'response.output_text',
  audio: 'response.output_audio',
  transcript: 'response.output_audio_transcript',
  textOnly: { output_modalities: ['text'] },
  textPart: 'output_text',
  audioPart: 'output_audio',
  update: { type: 'session.update', session: { type: 'realtime', audio: { output: { speed: 1.25 } } } },
  updated: { type: 'realtime', audio: { output: { speed: 1.25 } } },
  wrong: { type: 'session.update', session: { type: 'realtime', audio: { output: { speed: 9 } } } },
  wrongParam: 'session.audio.output.speed',
};
const preview = {
  path: '/openai/realtime?api-version=2025-04-01-preview&deployment=x',
  added: 'conversation.item.created',
  otherAdded: 'conversation.item.added',
  text: 'response.text',
  audio: 'response.audio',
  transcript: 'response.audio_transcript',
  textOnly: { modalities: ['text'] },
  textPart: 'text',
  audioPart: 'audio',
  update: { type: 'session.update', session: { speed: 1.25 } },
  updated: { modalities: ['text', 'audio'], speed: 1.25 },
  wrong: { type: 'session.update', session: { speed: 9 } },
  wrongParam: 'session.speed',
};
const cells = [
  ['GA client, GA upstream', ga, 'ga'],
  ['preview client, GA upstream', preview, 'ga'],
  ['GA client, preview upstream', ga, 'preview'],
  ['preview client, preview upstream', preview, 'preview'],
] as const;

const silent = 'turn_detection: null';

async function start(
  path: string,
  dialect: string,
  options: { input?: string; speed?: number; client?: string; limits?: string } = {},
) {
  const emulator = await startTestEmulator(options.speed === undefined ? {} : { speed: options.speed });
  const relay = await startTestRelay({
    upstream: emulator.url,
    yaml: `
upstreams: [{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }]
profiles:
  default:
    session: { instructions: Keep this to yourself., audio: { input: { ${options.input ?? ''} } } }
    client: { ${options.client ?? ''} }
    tools:
      - { name: show_map, runs: client, parameters: { type: object, properties: { city: { type: string } } } }
    limits: { audio_burst_seconds: 60, ${options.limits ?? ''} }`,
  });
  const client = await relay.connect({ path });
  await client.next('session.created');
  return { emulator, client, ...relay };
}

function say(client: TestClient, pcm: Buffer): void {
  for (let at = 0; at < pcm.length; at += 4800) {
    client.send({ type: 'input_audio_buffer.append', audio: pcm.subarray(at, at + 4800).toString('base64') });
  }
}

function write(client: TestClient, text: string): void {
  const content = [{ type: 'input_text', text }];
  client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
}

/** What holds for every event of every session: an id of its own, and each item announced once under one name. */
function expectOrder(client: TestClient, { added, otherAdded }: { added: string; otherAdded: string }): void {
  const ids = client.events.map(({ event_id }) => event_id);
  expect(ids.filter((id) => typeof id !== 'string' || id === '')).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
  const items = client.events.filter(({ type }) => type === added).map(({ item }) => (item as { id: string }).id);
  expect(new Set(items).size).toBe(items.length);
  expect(client.types()).not.toContain(otherAdded);
}

function joined(client: TestClient, type: string): string {
  return client.events
    .filter((event) => event.type === type)
    .map(({ delta }) => delta)
    .join('');
}

function outputOf({ response }: ServerEvent): { type: string; content?: { type: string }[] }[] {
  return (response as { output: { type: string; content?: { type: string }[] }[] }).output;
}

describe.each(cells)('%s', (_, words, dialect) => {
  const { path, added } = words;

  it('has a turn in text, with the metadata of the client put back', async () => {
    const { emulator, client } = await start(path, dialect);
    write(client, 'Say hi');
    expect((await client.next(added)).item).toMatchObject({ role: 'user', content: [{ type: 'input_text' }] });
    const metadata = { client_event_id: 'evt_42' };
    client.send({ type: 'response.create', response: { ...words.textOnly, metadata } });
    expect((await client.next('response.created')).response).toMatchObject({ metadata, ...words.textOnly });
    expect((await client.next(added)).item).toMatchObject({ role: 'assistant' });
    const { text } = await client.next(`${words.text}.done`);
    const done = await client.next('response.done');
    expect(done.response).toMatchObject({ status: 'completed', metadata, usage: { total_tokens: expect.any(Number) } });
    expect(outputOf(done)[0]?.content).toMatchObject([{ type: words.textPart, text }]);
    expect(joined(client, `${words.text}.delta`)).toBe(text);
    expectOrder(client, words);
    expect(emulator.control.received.errors).toBe(0);
  });

  it('has a turn in speech without turn detection, and transcribes it', async () => {
    const { emulator, client } = await start(path, dialect, {
      input: `${silent}, transcription: { model: gpt-realtime-whisper }`,
    });
    say(client, speech);
    client.send({ type: 'input_audio_buffer.commit', event_id: 'my_commit' });
    const { item_id } = await client.next('input_audio_buffer.committed');
    expect((await client.next(added)).item).toMatchObject({ id: item_id });
    client.send({ type: 'response.create' });
    const heard = client.next('conversation.item.input_audio_transcription.completed');
    const done = client.next('response.done');
    expect(await heard).toMatchObject({ item_id, content_index: 0, transcript: expect.stringMatching(/order/i) });
    const [item] = outputOf(await done);
    expect(item?.content).toMatchObject([{ type: words.audioPart, transcript: expect.any(String) }]);
    expect(joined(client, `${words.transcript}.delta`)).not.toBe('');
    expect(joined(client, `${words.audio}.delta`).length).toBeGreaterThan(48_000);
    expectOrder(client, words);
    expect(emulator.control.received.errors).toBe(0);
  });

  it('takes the answer of the client to a call of its own tool, once', async () => {
    const { emulator, client } = await start(path, dialect);
    emulator.control.script({ functionCall: { name: 'show_map', arguments: '{"city":"Lyon"}' } });
    write(client, 'Where is it?');
    client.send({ type: 'response.create' });
    const call = await client.next('response.function_call_arguments.done');
    expect(call).toMatchObject({ arguments: '{"city":"Lyon"}' });
    // Preview tells the name of a call in its item alone.
    expect(call.name).toBe(path === preview.path ? undefined : 'show_map');
    expect(joined(client, 'response.function_call_arguments.delta')).toBe('{"city":"Lyon"}');
    const [item] = outputOf(await client.next('response.done'));
    expect(item).toMatchObject({ type: 'function_call', name: 'show_map', call_id: call.call_id });

    const output = { type: 'function_call_output', call_id: call.call_id, output: '{"shown":true}' };
    client.send({ type: 'conversation.item.create', item: output });
    expect((await client.next(added)).item).toMatchObject(output);
    client.send({ type: 'conversation.item.create', event_id: 'again', item: output });
    expect((await client.next('error')).error).toMatchObject({ code: 'item_not_allowed', event_id: 'again' });
    client.send({ type: 'response.create', response: words.textOnly });
    expect((await client.next(`${words.text}.done`)).text).toMatch(/shown/);
    expectOrder(client, words);
    expect(emulator.control.received.events('conversation.item.create')).toHaveLength(2);
    expect(emulator.control.received.errors).toBe(0);
  });

  it('stops an answer that the client cancels and cuts, and goes on', async () => {
    const { emulator, client } = await start(path, dialect, { input: silent, speed: 1 });
    client.send({ type: 'response.create' });
    const { item_id, response_id } = await client.next(`${words.audio}.delta`);
    client.send({ type: 'response.cancel', response_id });
    const { response } = await client.next('response.done');
    expect(response).toMatchObject({
      id: response_id,
      status: 'cancelled',
      status_details: { type: 'cancelled', reason: 'client_cancelled' },
    });
    client.send({ type: 'conversation.item.truncate', item_id, content_index: 0, audio_end_ms: 40 });
    expect(await client.next('conversation.item.truncated')).toMatchObject({ item_id, audio_end_ms: 40 });
    client.send({ type: 'response.create', response: words.textOnly });
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expectOrder(client, words);
    expect(emulator.control.received.errors).toBe(0);
  });

  it('acknowledges an update of a permitted field, and names a wrong value in words of the client', async () => {
    const { emulator, client } = await start(path, dialect);
    client.send({ ...words.update, event_id: 'faster' });
    const { session } = await client.next('session.updated');
    expect(session).toMatchObject({ ...words.updated, instructions: '' });
    client.send({ ...words.wrong, event_id: 'too_fast' });
    const { error } = await client.next('error');
    expect(error).toMatchObject({
      code: 'invalid_value',
      event_id: 'too_fast',
      param: words.wrongParam,
      message: expect.stringContaining(`'${words.wrongParam}'`),
    });
    expect(client.raw.join()).not.toContain('Keep this to yourself');
    expectOrder(client, words);
    expect(emulator.control.received.errors).toBe(0);
  });

  it('brings an error of the upstream back with the event id of the client', async () => {
    const { emulator, client } = await start(path, dialect);
    client.send({ type: 'response.cancel', event_id: 'nothing_to_cancel' });
    const { error } = await client.next('error');
    expect(error).toMatchObject({ code: 'response_cancel_not_active', event_id: 'nothing_to_cancel' });
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
    expectOrder(client, words);
    expect(emulator.control.received.errors).toBe(1);
  });
});

describe('a client of the first preview version', () => {
  const first = '/openai/realtime?api-version=2024-10-01-preview&deployment=x';

  it.each(['ga', 'preview'])(
    'is sent no transcription piece by piece, which it would disconnect at (%s upstream)',
    async (dialect) => {
      const { client } = await start(first, dialect, { input: 'transcription: { model: gpt-realtime-whisper }' });
      say(client, speech);
      say(client, Buffer.alloc(48_000));
      await client.next('conversation.item.input_audio_transcription.completed');
      expect(client.types()).not.toContain('conversation.item.input_audio_transcription.delta');
    },
  );

  it('may still commit and ask in one event', async () => {
    const { client, emulator } = await start(first, 'ga', { input: silent });
    say(client, speech);
    client.send({ type: 'response.create', response: { commit: true, cancel_previous: true } });
    await client.next('input_audio_buffer.committed');
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect(emulator.control.received.errors).toBe(0);
  });
});

describe('a preview client that is over its rate', () => {
  it('has a commit and the request that came with it sent together, in order, each once', async () => {
    const limits = 'events_per_second: 10, events_burst: 1';
    const { client, emulator } = await start(preview.path, 'ga', { input: silent, limits });
    say(client, speech.subarray(0, 48_000));
    // Takes what there is, so that the next has to wait.
    client.send({ type: 'conversation.item.delete', event_id: 'first', item_id: 'item_none' });
    client.send({ type: 'response.create', response: { commit: true } });
    client.send({ type: 'input_audio_buffer.clear' });
    const { received } = emulator.control;
    await received.waitFor(() => received.events('input_audio_buffer.clear').length === 1);
    const types = received.connections[0]?.events.map(({ type }) => type) ?? [];
    const asked = types.filter((type) => type !== 'session.update' && type !== 'input_audio_buffer.append');
    expect(asked).toEqual(['input_audio_buffer.commit', 'response.create', 'input_audio_buffer.clear']);
  });
});

describe('a GA client on a preview upstream', () => {
  const idle = { type: 'server_vad', idle_timeout_ms: 6000 };

  it.each([
    ['with an event id', { event_id: 'wait' }, 'wait'],
    ['without an event id', {}, null],
  ])('is told what only GA has and goes on, %s', async (_, id, named) => {
    const { client, emulator } = await start(ga.path, 'preview');
    const session = { type: 'realtime', audio: { input: { turn_detection: idle } } };
    client.send({ type: 'session.update', ...id, session });
    expect((await client.next('error')).error).toMatchObject({
      code: 'unsupported_by_upstream',
      message: expect.stringContaining('GA protocol only'),
      param: 'session.audio.input.turn_detection.idle_timeout_ms',
      event_id: named,
    });
    // The refused update must not be waited for by the acks of others.
    client.send({ type: 'session.update', session: { type: 'realtime', instructions: 'mine' } });
    await client.next('session.updated');
    client.send(ga.update);
    expect((await client.next('session.updated')).session).toMatchObject(ga.updated);
    expect(client.types().filter((type) => type === 'session.updated')).toHaveLength(2);
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
    expect(emulator.control.received.errors).toBe(0);
  });

  it('bad_event: is not told so for ever', async () => {
    const { client, logged } = await start(ga.path, 'preview', { limits: 'refusals: 3' });
    const session = { type: 'realtime', audio: { input: { turn_detection: idle } } };
    for (let i = 0; i < 3; i++) client.send({ type: 'session.update', event_id: `no_${i}`, session });
    expect(await client.closed).toMatchObject({ reason: 'bad_event' });
    const told = client.events.filter(({ type }) => type === 'error').map(({ error }) => error);
    const refused = { code: 'unsupported_by_upstream' };
    expect(told).toMatchObject([refused, refused, refused, { code: 'bad_event' }]);
    expect(await logged('session.ended')).toMatchObject({ reason: 'bad_event', initiator: 'client', refusals: 3 });
  });

  it('is told so of an image and of reasoning when it is trusted', async () => {
    const { client, emulator } = await start(ga.path, 'preview', { client: 'trust: trusted' });
    const content = [{ type: 'input_image', image_url: 'data:image/png;base64,AAAA' }];
    client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    expect((await client.next('error')).error).toMatchObject({
      code: 'unsupported_by_upstream',
      param: 'item.content[0].type',
    });
    client.send({ type: 'response.create', response: { reasoning: { effort: 'low' } } });
    expect((await client.next('error')).error).toMatchObject({ param: 'response.reasoning', event_id: null });
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
    expect(emulator.control.received.errors).toBe(0);
  });
});

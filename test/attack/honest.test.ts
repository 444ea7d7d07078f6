import { afterEach, describe, expect, it } from 'vitest';
import type { TestClient } from '../support/client.js';
import { arena, type Dialect, dialects } from './arena.js';
import type { Passage } from './wire.js';

const field = arena();
afterEach(() => field.honestTurn());

async function session(dialect: Dialect): Promise<{ client: TestClient; passage: Passage }> {
  const client = await field.connect(dialect);
  await client.next('session.created');
  return { client, passage: field.wire.passages.at(-1) as Passage };
}

const say = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
});
/** The event in which either dialect first shows an item. */
const shown = (event: { type: string }) => /^conversation\.item\.(?:added|created)$/.test(event.type);

/** All an SDK for agents sends when it connects, every field of it, whether the server wants it or not. */
const everything: Record<Dialect, object> = {
  ga: {
    type: 'realtime',
    model: 'gpt-realtime',
    instructions: 'You are a helpful agent.',
    output_modalities: ['audio'],
    tools: [
      { type: 'function', name: 'lookup', description: 'looks up', parameters: { type: 'object' }, strict: true },
    ],
    tool_choice: 'auto',
    tracing: 'auto',
    prompt: null,
    audio: {
      input: {
        format: { type: 'audio/pcm', rate: 24000 },
        transcription: { model: 'gpt-4o-mini-transcribe' },
        turn_detection: { type: 'semantic_vad', eagerness: 'auto', create_response: true, interrupt_response: true },
        noise_reduction: null,
      },
      output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'ash', speed: 1 },
    },
  },
  preview: {
    model: 'gpt-4o-realtime-preview',
    modalities: ['text', 'audio'],
    instructions: 'You are a helpful agent.',
    voice: 'ash',
    input_audio_format: 'pcm16',
    output_audio_format: 'pcm16',
    input_audio_transcription: { model: 'whisper-1' },
    input_audio_noise_reduction: null,
    turn_detection: { type: 'server_vad', threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 500 },
    tools: [{ type: 'function', name: 'lookup', description: 'looks up', parameters: { type: 'object' } }],
    tool_choice: 'auto',
    temperature: 0.8,
    max_response_output_tokens: 'inf',
    tracing: null,
  },
};

describe.each(dialects)('an honest %s client', (dialect) => {
  it('may send its whole session on connect, and gets its answers in order', async () => {
    const client = await field.connect(dialect);
    client.send({ type: 'session.update', event_id: 'setup_1', session: everything[dialect] });
    client.send(say('Hello'));
    client.send({ type: 'response.create' });
    const { response } = await client.next('response.done');
    expect((response as { status: string }).status).toBe('completed');
    const types = client.types();
    expect(types.slice(0, 2)).toEqual(['session.created', 'session.updated']);
    expect(types).not.toContain('error');
    const { session: updated } = client.events[1] as unknown as { session: Record<string, unknown> };
    expect(updated).toMatchObject({ instructions: '', tools: [] });
    client.ws.terminate();
  });

  it('gets one answer to each of its updates, those that change nothing included', async () => {
    const { client } = await session(dialect);
    const some = dialect === 'ga' ? { audio: { output: { speed: 1.2 } } } : { speed: 1.2 };
    for (let i = 0; i < 20; i++) client.send({ type: 'session.update', session: i % 2 ? some : { instructions: 'x' } });
    client.send(say('after'));
    await client.next(shown);
    const answers = client.types().filter((type) => type === 'session.updated');
    expect(answers).toHaveLength(20);
    expect(client.types()).not.toContain('error');
    client.ws.terminate();
  });

  it('may escape every slash and plus of its audio', async () => {
    const { client, passage } = await session(dialect);
    const audio = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 251) % 256)).toString('base64');
    expect(audio).toMatch(/[/].*[+]|[+].*[/]/);
    const escaped = audio.replaceAll('/', '\\/').replaceAll('+', '\\u002B');
    client.ws.send(`{"type":"input_audio_buffer.append","audio":"${escaped}"}`);
    await passage.sent(2);
    expect(JSON.parse(passage.up[1] as string)).toEqual({ type: 'input_audio_buffer.append', audio });
    client.ws.terminate();
  });

  it.each<readonly [string, string]>([
    ['pretty-printed', JSON.stringify(say('hi'), null, 4)],
    ['with line breaks of Windows', JSON.stringify(say('hi'), null, 2).replaceAll('\n', '\r\n')],
    ['with tabs', JSON.stringify(say('hi'), null, '\t')],
    ['with blanks around', `  \n${JSON.stringify(say('hi'))}\n\n`],
    [
      'with its type last',
      '{"item":{"content":[{"text":"hi","type":"input_text"}],"role":"user","type":"message"},"type":"conversation.item.create"}',
    ],
    [
      'with every letter escaped',
      JSON.stringify(say('hi')).replaceAll('"hi"', '"\\u0068\\u0069"').replace('"type"', '"\\u0074ype"'),
    ],
    [
      'with null where nothing is meant',
      '{"type":"conversation.item.create","event_id":null,"previous_item_id":null,"item":{"id":null,"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}}',
    ],
    [
      'with fields of an SDK',
      '{"type":"conversation.item.create","item":{"type":"message","role":"user","status":"completed","object":"realtime.item","content":[{"type":"input_text","text":"hi"}]}}',
    ],
  ])('may write its events %s', async (_, text) => {
    const { client, passage } = await session(dialect);
    client.ws.send(text);
    await client.next(shown);
    const sent = JSON.parse(passage.up[1] as string);
    expect(sent.item).toEqual({ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] });
    expect(client.types()).not.toContain('error');
    client.ws.terminate();
  });

  it.each([
    'Grüße aus Zürich – „ça va?“',
    '你好，世界 こんにちは 안녕하세요',
    'שלום עולם مرحبا بالعالم',
    '👩‍👩‍👧‍👦 🏳️‍🌈 𝒳 𐍈',
    'line one\nline two\r\n\ttabbed',
    'quotes " and \\ backslashes \\" and \\u0000 written out',
    '{"type":"session.update","session":{"instructions":"in a text is only a text"}}',
    'null byte \u0000 and bell \u0007',
    '\u2028\u2029\ufeff\u200b\u202e',
    'e\u0301 is not \u00e9',
    '</script><!-- {{claims.name}} %s %00',
    'x'.repeat(100_000),
  ])('may say %j', async (words) => {
    const { client, passage } = await session(dialect);
    client.send(say(words));
    const { item } = await client.next(shown);
    expect(item).toMatchObject({ content: [{ type: 'input_text', text: words }] });
    expect(JSON.parse(passage.up[1] as string).item.content[0].text).toBe(words);
    client.ws.terminate();
  });

  it.each(['evt_1', 'a.b:c-d_E', '0'.repeat(512), 'event_7'])(
    'finds its event_id %s in the error it caused',
    async (id) => {
      const { client } = await session(dialect);
      client.send({ type: 'session.steal', event_id: id });
      expect((await client.next('error')).error).toMatchObject({ event_id: id });
      client.send({ type: 'input_audio_buffer.commit', event_id: id });
      expect((await client.next('error')).error).toMatchObject({
        code: 'input_audio_buffer_commit_empty',
        event_id: id,
      });
      client.send({ ...say('x'), event_id: id, previous_item_id: 'item_gone' });
      expect((await client.next('error')).error).toMatchObject({ param: 'previous_item_id', event_id: id });
      client.ws.terminate();
    },
  );

  it('may use one event_id for all it sends', async () => {
    const { client } = await session(dialect);
    for (let i = 0; i < 5; i++) client.send({ ...say(`${i}`), event_id: 'same' });
    client.send({ type: 'response.create', event_id: 'same' });
    client.send({ type: 'input_audio_buffer.commit', event_id: 'same' });
    expect((await client.next('error')).error).toMatchObject({ event_id: 'same' });
    client.ws.terminate();
  });

  it('may cancel what has just ended, and go on', async () => {
    const { client } = await session(dialect);
    client.send({ type: 'response.create' });
    const { response } = await client.next('response.done');
    client.send({ type: 'response.cancel', response_id: (response as { id: string }).id });
    client.send({ type: 'response.cancel' });
    await client.next('error');
    await client.next('error');
    client.send({ type: 'response.create' });
    await client.next('response.done');
    client.ws.terminate();
  });
});

import { describe, expect, it } from 'vitest';
import { Caller, call, emulate, previewPath, type Seen, say, update } from './caller.js';

/** Event types in order, with runs of deltas told once. */
function story(events: readonly Seen[]): string[] {
  return events.map(({ type }) => type).filter((type, at, all) => !(type.endsWith('.delta') && all[at - 1] === type));
}

const usage = { total_tokens: expect.any(Number), input_tokens: expect.any(Number), output_tokens: expect.any(Number) };

describe('a text turn in GA', () => {
  it('has the events of the service in their order', async () => {
    const caller = await call(await emulate());
    caller.send(update({ instructions: 'Be brief.', output_modalities: ['text'] }), say('Say hi', 'item_U1'));
    caller.send({ type: 'response.create', event_id: 'c_2', response: { metadata: { a: 'b' } } });
    const events = await caller.until('response.done');
    expect(story(events)).toEqual([
      'session.created',
      'session.updated',
      'conversation.item.added',
      'conversation.item.done',
      'response.created',
      'response.output_item.added',
      'conversation.item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'conversation.item.done',
      'response.output_item.done',
      'response.done',
    ]);
    expect(new Set(events.map((event) => event.event_id)).size).toBe(events.length);
  });

  it('has the shapes of the service', async () => {
    const emulator = await emulate();
    emulator.control.script({ text: 'Hi there!' });
    const caller = await call(emulator);
    caller.send(update({ output_modalities: ['text'] }), say('Say hi', 'item_U1'), { type: 'response.create' });
    const created = await caller.next<{ response: { id: string; conversation_id: string } }>('response.created');
    const added = await caller.next<{ item: { id: string } }>('conversation.item.added');
    const response_id = created.response.id;
    const id = added.item.id;
    const at = { event_id: expect.any(String), response_id, item_id: id, output_index: 0, content_index: 0 };
    const item = { id, type: 'message', status: 'completed', role: 'assistant' };
    const whole = { ...item, content: [{ type: 'output_text', text: 'Hi there!' }] };
    const part = (text: string) => ({ type: 'text', text });
    expect(created.response).toEqual({
      object: 'realtime.response',
      id: response_id,
      status: 'in_progress',
      status_details: null,
      output: [],
      conversation_id: expect.stringMatching(/^conv_/),
      output_modalities: ['text'],
      max_output_tokens: 'inf',
      audio: { output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'alloy' } },
      usage: null,
      metadata: null,
    });
    expect(added).toMatchObject({ previous_item_id: 'item_U1', item: { ...item, status: 'in_progress', content: [] } });
    const rest = await caller.until('response.done');
    expect(rest.slice(0, -1)).toEqual([
      { type: 'response.content_part.added', ...at, part: part(''), content: part('') },
      { type: 'response.output_text.delta', ...at, delta: 'Hi', obfuscation: expect.stringMatching(/^\w{14}$/) },
      { type: 'response.output_text.delta', ...at, delta: ' there!', obfuscation: expect.stringMatching(/^\w{9}$/) },
      { type: 'response.output_text.done', ...at, text: 'Hi there!' },
      { type: 'response.content_part.done', ...at, part: part('Hi there!'), content: part('Hi there!') },
      { type: 'conversation.item.done', event_id: at.event_id, previous_item_id: null, item: whole },
      { type: 'response.output_item.done', event_id: at.event_id, response_id, output_index: 0, item: whole },
    ]);
    expect(rest.at(-1)?.response).toMatchObject({
      ...created.response,
      status: 'completed',
      output: [whole],
      usage: { ...usage, input_token_details: { image_tokens: 0, cached_tokens_details: { image_tokens: 0 } } },
    });
  });
});

describe('a text turn in preview', () => {
  it('has preview names, preview shapes and no item.done', async () => {
    const emulator = await emulate();
    emulator.control.script({ text: 'Hi there!' });
    const caller = await call(emulator, previewPath);
    const instructions = 'Be brief.';
    caller.send({ type: 'session.update', session: { instructions, modalities: ['text'], temperature: 0.7 } });
    caller.send(say('Say hi', 'item_U1'), { type: 'response.create', response: { temperature: 0.9 } });
    const events = await caller.until('response.done');
    expect(story(events)).toEqual([
      'session.created',
      'session.updated',
      'conversation.item.created',
      'response.created',
      'response.output_item.added',
      'conversation.item.created',
      'response.content_part.added',
      'response.text.delta',
      'response.text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.done',
    ]);
    const find = (type: string) => (events.find((event) => event.type === type) ?? {}) as Record<string, unknown>;
    expect(find('session.updated').session).toEqual({
      id: expect.stringMatching(/^sess_/),
      object: 'realtime.session',
      expires_at: expect.any(Number),
      model: 'gpt-realtime',
      instructions,
      tools: [],
      tool_choice: 'auto',
      tracing: null,
      prompt: null,
      modalities: ['text'],
      max_response_output_tokens: 'inf',
      include: null,
      input_audio_format: 'pcm16',
      input_audio_transcription: null,
      input_audio_noise_reduction: null,
      turn_detection: {
        type: 'server_vad',
        threshold: 0.5,
        prefix_padding_ms: 300,
        silence_duration_ms: 200,
        create_response: true,
        interrupt_response: true,
      },
      output_audio_format: 'pcm16',
      voice: 'alloy',
      speed: 1,
      temperature: 0.7,
      client_secret: null,
    });
    expect(find('conversation.item.created').item).toEqual({
      id: 'item_U1',
      object: 'realtime.item',
      type: 'message',
      status: 'completed',
      role: 'user',
      content: [{ type: 'input_text', text: 'Say hi' }],
    });
    const { id, output, usage: spent, ...rest } = find('response.done').response as Record<string, unknown>;
    expect(output).toMatchObject([{ object: 'realtime.item', content: [{ type: 'text', text: 'Hi there!' }] }]);
    expect(JSON.stringify(spent)).not.toContain('image_tokens');
    expect(rest).toEqual({
      object: 'realtime.response',
      status: 'completed',
      status_details: null,
      conversation_id: expect.any(String),
      max_output_tokens: 'inf',
      metadata: null,
      modalities: ['text'],
      voice: 'alloy',
      output_audio_format: 'pcm16',
      temperature: 0.9,
    });
  });

  it('keeps the temperature of the session when an update is refused', async () => {
    const caller = await call(await emulate(), previewPath);
    caller.send({ type: 'response.create', response: {} });
    await caller.until('response.done');
    caller.send({ type: 'session.update', session: { temperature: 1.1, voice: 'verse' } });
    expect((await caller.error()).code).toBe('cannot_update_voice');
    caller.send({ type: 'session.update', session: { instructions: 'x' } });
    expect((await caller.next<{ session: { temperature: number } }>('session.updated')).session.temperature).toBe(0.8);
  });
});

describe('what the model says', () => {
  it('echoes a text, speaking by default, with audio between the words', async () => {
    const caller = await call(await emulate());
    caller.send(say('good morning'), { type: 'response.create' });
    const events = await caller.until('response.done');
    const audio = events.filter((event) => event.type === 'response.output_audio.delta');
    const words = events.filter((event) => event.type === 'response.output_audio_transcript.delta');
    expect(words.map((event) => event.delta).join('')).toBe('You said: good morning');
    expect(audio.length).toBeGreaterThan(3);
    expect(Buffer.from(String(audio[2]?.delta), 'base64').some((byte) => byte > 20)).toBe(true);
    expect(
      story(events)
        .filter((type) => type.endsWith('.done'))
        .slice(-6),
    ).toEqual([
      'response.output_audio.done',
      'response.output_audio_transcript.done',
      'response.content_part.done',
      'conversation.item.done',
      'response.output_item.done',
      'response.done',
    ]);
  });

  it('paces speech faster than real time by the speed', async () => {
    const caller = await call(await emulate({ speed: 20 }));
    caller.send({ type: 'response.create' });
    await caller.until('response.output_audio.delta');
    const start = performance.now();
    await caller.until('response.done');
    const ms = performance.now() - start;
    expect(ms).toBeGreaterThan(100);
    expect(ms).toBeLessThan(1500);
  });

  it('obeys overrides for one response and goes back to the session afterwards', async () => {
    const caller = await call(await emulate());
    caller.send(say('far too much'), {
      type: 'response.create',
      response: { output_modalities: ['text'], metadata: { turn: '7' }, max_output_tokens: 3 },
    });
    const { response } = await caller.next<{ response: object }>('response.done');
    expect(response).toMatchObject({
      status: 'incomplete',
      status_details: { type: 'incomplete', reason: 'max_output_tokens' },
      output_modalities: ['text'],
      metadata: { turn: '7' },
      max_output_tokens: 3,
      usage: { output_tokens: 3 },
    });
    caller.send({ type: 'response.create' });
    const next = await caller.next<{ response: object }>('response.done');
    expect(next.response).toMatchObject({ output_modalities: ['audio'], metadata: null, max_output_tokens: 'inf' });
  });

  it('answers outside the conversation without touching it, and from the given input only', async () => {
    const caller = await call(await emulate());
    caller.send(update({ output_modalities: ['text'] }), say('first', 'item_1'));
    const input = [
      { type: 'item_reference', id: 'item_1' },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'classify this' }] },
    ];
    caller.send({ type: 'response.create', response: { conversation: 'none', input } }, { type: 'response.create' });
    const first = await caller.until('response.done');
    const second = await caller.until('response.done');
    const done = [first.at(-1), second.at(-1)].map((event) => (event?.response ?? {}) as Record<string, unknown>);
    const outOfBand = done.find((response) => response.conversation_id === null);
    expect(JSON.stringify(outOfBand?.output)).toContain('You said: classify this');
    expect(JSON.stringify(done)).toContain('You said: first');
    const added = [...first, ...second].filter((event) => event.type === 'conversation.item.added');
    expect(added).toHaveLength(2);
    caller.send({ type: 'response.create', response: { input: [{ type: 'item_reference', id: 'nope' }] } });
    expect((await caller.error()).param).toBe('response.input[0].id');
  });

  it('has one active response at a time', async () => {
    const caller = await call(await emulate());
    caller.send({ type: 'response.create' }, { type: 'response.create', event_id: 'c_12' });
    const { response } = await caller.next<{ response: { id: string } }>('response.created');
    expect(await caller.error()).toEqual({
      type: 'invalid_request_error',
      code: 'conversation_already_has_active_response',
      message: `Conversation already has an active response in progress: ${response.id}. Wait until the response is finished before creating a new one.`,
      param: null,
      event_id: 'c_12',
    });
  });

  it('stops when it is cancelled, once', async () => {
    const caller = await call(await emulate({ speed: 2 }));
    caller.send(say('a story please'), { type: 'response.create' });
    await caller.until('response.output_audio.delta');
    caller.send({ type: 'response.cancel' }, { type: 'response.cancel', event_id: 'c_7' });
    const events = await caller.until('response.done');
    expect(story(events.filter((event) => !event.type.endsWith('.delta')))).toEqual([
      'response.output_audio.done',
      'response.output_audio_transcript.done',
      'response.content_part.done',
      'conversation.item.done',
      'response.output_item.done',
      'response.done',
    ]);
    expect(events.at(-1)?.response).toMatchObject({
      status: 'cancelled',
      status_details: { type: 'cancelled', reason: 'client_cancelled' },
      output: [{ status: 'incomplete', content: [{ type: 'output_audio' }] }],
      usage,
    });
    expect(await caller.error()).toEqual({
      type: 'invalid_request_error',
      code: 'response_cancel_not_active',
      message: 'Cancellation failed: no active response found',
      param: null,
      event_id: 'c_7',
    });
  });

  it('follows scripts in order', async () => {
    const emulator = await emulate();
    emulator.control.script(
      { status: 'failed' },
      { status: 'incomplete', text: 'one two three four' },
      {
        text: 'after',
        audio: false,
        systemItem: 'CANARY',
        serverInsertedItem: { id: 'item_S', type: 'mcp_list_tools' },
      },
    );
    const caller = await call(emulator);
    caller.send({ type: 'response.create' });
    expect((await caller.next<{ response: object }>('response.done')).response).toMatchObject({
      status: 'failed',
      status_details: { type: 'failed', error: { type: 'server_error', code: 'rate_limit_exceeded' } },
      output: [],
      usage: null,
    });
    caller.send({ type: 'response.create' });
    expect((await caller.next<{ response: object }>('response.done')).response).toMatchObject({
      status: 'incomplete',
      status_details: { type: 'incomplete', reason: 'content_filter' },
      output: [{ status: 'incomplete', content: [{ transcript: 'one two' }] }],
    });
    caller.send({ type: 'response.create' });
    const events = await caller.until('response.done');
    const inserted = events.filter((event) => event.type === 'conversation.item.added').map((event) => event.item);
    expect(inserted).toMatchObject([{ role: 'system' }, { id: 'item_S' }, { role: 'assistant' }]);
    expect(JSON.stringify(events.at(-1)?.response)).toContain('"text":"after"');
  });
});

describe('function calls', () => {
  const parameters = { type: 'object', properties: { city: { type: 'string', enum: ['Oslo'] } } };
  const tools = [{ type: 'function', name: 'get_weather', description: 'Weather by city', parameters }];

  it.each([
    ['GA', undefined, update({ tools, output_modalities: ['text'] }), 'conversation.item.added'],
    [
      'preview',
      previewPath,
      { type: 'session.update', session: { tools, modalities: ['text'] } },
      'conversation.item.created',
    ],
  ])('go round in %s: call, output, answer', async (name, path, configure, added) => {
    const caller = new Caller(await emulate(), path ?? '/openai/v1/realtime?model=gpt-realtime');
    await caller.until('session.created');
    caller.send(configure, say('Please call get_weather', 'item_U'), { type: 'response.create' });
    await caller.until('response.created');
    const events = await caller.until('response.done');
    expect(story(events)).toEqual([
      'response.output_item.added',
      added,
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      ...(name === 'GA' ? ['conversation.item.done'] : []),
      'response.output_item.done',
      'response.done',
    ]);
    const told = events.find((event) => event.type === 'response.function_call_arguments.done');
    expect(told).toMatchObject({ name: 'get_weather', arguments: '{"city":"Oslo"}', call_id: expect.any(String) });
    const output = { type: 'function_call_output', call_id: told?.call_id, output: '{"temp_c":4}' };
    caller.send({ type: 'conversation.item.create', item: output }, { type: 'response.create' });
    const { response } = await caller.next<{ response: { output: object[] } }>('response.done');
    expect(JSON.stringify(response.output)).toContain('The answer is: {\\"temp_c\\":4}');
  });

  it('takes arguments spelled out in the text, and heeds tool_choice', async () => {
    const caller = await call(await emulate());
    caller.send(update({ tools }), say('call get weather {"city":"Rome"}'), {
      type: 'response.create',
      response: { tool_choice: 'none' },
    });
    expect(JSON.stringify(await caller.until('response.done'))).not.toContain('function_call_arguments');
    caller.send({ type: 'response.create' });
    const done = await caller.next<{ arguments: string }>('response.function_call_arguments.done');
    expect(done.arguments).toBe('{"city":"Rome"}');
    await caller.until('response.done');
    caller.send(say('anything'), {
      type: 'response.create',
      response: { tool_choice: { type: 'function', name: 'get_weather' } },
    });
    await caller.until('response.function_call_arguments.done');
  });

  it('are made when the text names the tool, not when it is part of a word', async () => {
    const caller = await call(await emulate());
    caller.send(update({ tools: [{ type: 'function', name: 'search' }], output_modalities: ['text'] }));
    caller.send(say('I did research'), { type: 'response.create' });
    expect(JSON.stringify(await caller.until('response.done'))).toContain('You said: I did research');
    caller.send(say('Search!'), { type: 'response.create' });
    await caller.until('response.function_call_arguments.done');
  });

  it('can be scripted, several at once, with broken arguments too', async () => {
    const emulator = await emulate();
    emulator.control.script({
      functionCall: [
        { name: 'a', arguments: { x: 1 } },
        { name: 'b', arguments: '{oops' },
      ],
    });
    const caller = await call(emulator);
    caller.send({ type: 'response.create' });
    const { response } = await caller.next<{ response: { output: object[] } }>('response.done');
    expect(response.output).toMatchObject([
      { type: 'function_call', name: 'a', arguments: '{"x":1}', status: 'completed' },
      { type: 'function_call', name: 'b', arguments: '{oops' },
    ]);
  });

  it('refuses the output of a call that was never made', async () => {
    const caller = await call(await emulate());
    const item = { type: 'function_call_output', call_id: 'call_x', output: '{}' };
    caller.send({ type: 'conversation.item.create', item });
    expect((await caller.error()).message).toBe("Tool call ID 'call_x' not found in conversation.");
  });
});

import { describe, expect, it } from 'vitest';
import { call, emulate, previewPath, say, update } from './caller.js';
import { appends, tone } from './speech.js';

const message = (role: string, content: object[], more: object = {}) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role, content, ...more },
});
const respond = (response: object) => ({ type: 'response.create', response });
const audioIn = (input: object) => update({ audio: { input } });
const flat = (session: object) => ({ type: 'session.update', session });

type Row = [string, object, string, string | null];

const ga: Row[] = [
  ['a preview body', flat({ voice: 'alloy' }), 'missing_required_parameter', 'session.type'],
  ['no session', { type: 'session.update' }, 'missing_required_parameter', 'session'],
  ['an unknown field', update({ temperature: 1 }), 'unknown_parameter', 'session.temperature'],
  ['a preview field', update({ modalities: ['text'] }), 'unknown_parameter', 'session.modalities'],
  ['a read-only field', update({ id: 'sess_1' }), 'unknown_parameter', 'session.id'],
  ['both modalities', update({ output_modalities: ['text', 'audio'] }), 'invalid_value', 'session.output_modalities'],
  ['a number for a text', update({ instructions: 5 }), 'invalid_type', 'session.instructions'],
  ['null where nothing may be null', update({ instructions: null }), 'invalid_type', 'session.instructions'],
  ['another session type', flat({ type: 'poetry' }), 'invalid_value', 'session.type'],
  ['a transcription update', flat({ type: 'transcription' }), 'invalid_parameter', 'session.type'],
  ['another model', update({ model: 'gpt-9' }), 'invalid_parameter', 'session.model'],
  ['a field of newer models', update({ reasoning: { effort: 'low' } }), 'unknown_parameter', 'session.reasoning'],
  ['a format as a word', audioIn({ format: 'pcm16' }), 'invalid_type', 'session.audio.input.format'],
  [
    'another rate',
    audioIn({ format: { type: 'audio/pcm', rate: 16000 } }),
    'invalid_value',
    'session.audio.input.format.rate',
  ],
  [
    'turn detection without type',
    audioIn({ turn_detection: { threshold: 0.5 } }),
    'missing_required_parameter',
    'session.audio.input.turn_detection.type',
  ],
  [
    'a threshold over 1',
    audioIn({ turn_detection: { type: 'server_vad', threshold: 2 } }),
    'invalid_value',
    'session.audio.input.turn_detection.threshold',
  ],
  [
    'eagerness in server_vad',
    audioIn({ turn_detection: { type: 'server_vad', eagerness: 'low' } }),
    'unknown_parameter',
    'session.audio.input.turn_detection.eagerness',
  ],
  [
    'an idle timeout too short',
    audioIn({ turn_detection: { type: 'server_vad', idle_timeout_ms: 100 } }),
    'invalid_value',
    'session.audio.input.turn_detection.idle_timeout_ms',
  ],
  [
    'noise reduction without type',
    audioIn({ noise_reduction: {} }),
    'missing_required_parameter',
    'session.audio.input.noise_reduction.type',
  ],
  ['a speed over 1.5', update({ audio: { output: { speed: 2 } } }), 'invalid_value', 'session.audio.output.speed'],
  [
    'a nested tool',
    update({ tools: [{ type: 'function', function: { name: 'x' } }] }),
    'missing_required_parameter',
    'session.tools[0].name',
  ],
  ['a tool of another type', update({ tools: [{ type: 'code' }] }), 'invalid_value', 'session.tools[0].type'],
  ['too many tokens', update({ max_output_tokens: 5000 }), 'invalid_value', 'session.max_output_tokens'],
  ['an odd number of tokens', update({ max_output_tokens: 'lots' }), 'invalid_value', 'session.max_output_tokens'],
  ['a preview response field', respond({ modalities: ['text'] }), 'unknown_parameter', 'response.modalities'],
  ['temperature', respond({ temperature: 0.8 }), 'unknown_parameter', 'response.temperature'],
  [
    'too much metadata',
    respond({ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v'])) }),
    'invalid_value',
    'response.metadata',
  ],
  ['metadata that is no text', respond({ metadata: { a: 1 } }), 'invalid_type', 'response.metadata.a'],
  ['another conversation', respond({ conversation: 'conv_1' }), 'invalid_value', 'response.conversation'],
  [
    'preview assistant content',
    message('assistant', [{ type: 'text', text: 'x' }]),
    'invalid_value',
    'item.content[0].type',
  ],
  [
    'assistant audio',
    message('assistant', [{ type: 'output_audio', audio: 'AAAA' }]),
    'invalid_value',
    'item.content[0].type',
  ],
  [
    'system audio',
    message('system', [{ type: 'input_audio', audio: 'AAAA' }]),
    'invalid_value',
    'item.content[0].type',
  ],
  ['a role nobody has', message('developer', []), 'invalid_value', 'item.role'],
  [
    'a message without content',
    { type: 'conversation.item.create', item: { type: 'message', role: 'user' } },
    'missing_required_parameter',
    'item.content',
  ],
  ['an unknown item field', message('user', [], { name: 'x' }), 'unknown_parameter', 'item.name'],
  [
    'a picture by address',
    message('user', [{ type: 'input_image', image_url: 'https://example.com/x.png' }]),
    'invalid_value',
    'item.content[0].image_url',
  ],
  [
    'a reference outside a response',
    { type: 'conversation.item.create', item: { type: 'item_reference', id: 'x' } },
    'invalid_value',
    'item.type',
  ],
  [
    'an item of no type',
    { type: 'conversation.item.create', item: { id: 'x' } },
    'missing_required_parameter',
    'item.type',
  ],
  ['another field beside', { type: 'response.cancel', extra: 1 }, 'unknown_parameter', 'extra'],
  ['audio that is not base64', { type: 'input_audio_buffer.append', audio: 'a-b_' }, 'invalid_value', 'audio'],
  ['audio cut short', { type: 'input_audio_buffer.append', audio: 'AAA' }, 'invalid_value', 'audio'],
  ['no audio', { type: 'input_audio_buffer.append' }, 'missing_required_parameter', 'audio'],
  [
    'half a millisecond',
    { type: 'conversation.item.truncate', item_id: 'x', content_index: 0, audio_end_ms: 0.5 },
    'invalid_type',
    'audio_end_ms',
  ],
  ['an unknown event', { type: 'session.destroy' }, 'invalid_event', 'type'],
  ['an event of a method name', { type: 'constructor' }, 'invalid_event', 'type'],
  ['a preview event', { type: 'transcription_session.update', session: {} }, 'invalid_event', 'type'],
  ['no type', { foo: 1 }, 'missing_required_parameter', 'type'],
  ['output_audio_buffer.clear', { type: 'output_audio_buffer.clear' }, 'invalid_event', 'type'],
];

const preview: Row[] = [
  ['a GA body', flat({ instructions: 'x', audio: {}, type: 'realtime' }), 'unknown_parameter', 'session.type'],
  ['a GA field', flat({ output_modalities: ['text'] }), 'unknown_parameter', 'session.output_modalities'],
  ['audio alone', flat({ modalities: ['audio'] }), 'invalid_value', 'session.modalities'],
  ['a GA format', flat({ input_audio_format: { type: 'audio/pcm' } }), 'invalid_type', 'session.input_audio_format'],
  ['a GA format name', flat({ input_audio_format: 'audio/pcm' }), 'invalid_value', 'session.input_audio_format'],
  ['too hot', flat({ temperature: 1.3 }), 'invalid_value', 'session.temperature'],
  ['an MCP tool', flat({ tools: [{ type: 'mcp', server_label: 'x' }] }), 'invalid_value', 'session.tools[0].type'],
  [
    'an idle timeout',
    flat({ turn_detection: { type: 'server_vad', idle_timeout_ms: 6000 } }),
    'unknown_parameter',
    'session.turn_detection.idle_timeout_ms',
  ],
  [
    'GA assistant content',
    message('assistant', [{ type: 'output_text', text: 'x' }]),
    'invalid_value',
    'item.content[0].type',
  ],
  [
    'a picture',
    message('user', [{ type: 'input_image', image_url: 'data:image/png;base64,AA' }]),
    'invalid_value',
    'item.content[0].type',
  ],
  ['a GA response field', respond({ output_modalities: ['text'] }), 'unknown_parameter', 'response.output_modalities'],
  ['fields of the first version', respond({ commit: true }), 'unknown_parameter', 'response.commit'],
  [
    'a transcription update',
    { type: 'transcription_session.update', session: {} },
    'invalid_parameter',
    'session.type',
  ],
  ['an unknown event', { type: 'session.destroy' }, 'invalid_event', 'type'],
];

describe.each([
  ['GA', undefined, ga],
  ['preview', previewPath, preview],
] as const)('%s refuses', (_dialect, path, rows) => {
  it.each(rows)('%s', async (_name, event, code, param) => {
    const caller = await call(await emulate(), path);
    caller.send({ ...event, event_id: 'evt_1' });
    expect(await caller.error()).toEqual({
      type: 'invalid_request_error',
      code,
      message: expect.any(String),
      param,
      event_id: 'evt_1',
    });
    caller.send({ type: 'input_audio_buffer.clear' });
    await caller.until('input_audio_buffer.cleared');
  });
});

describe('the words of Azure', () => {
  it.each([
    [undefined, flat({ voice: 'alloy' }), "Missing required parameter: 'session.type'."],
    [previewPath, flat({ type: 'realtime' }), "Unknown parameter: 'session.type'."],
    [
      undefined,
      flat({ type: 'transcription' }),
      'Passing a transcription session update event to a realtime session is not allowed.',
    ],
    [
      undefined,
      { type: 'conversation.item.delete', item_id: 'x' },
      "Error deleting item: the item with id 'x' does not exist.",
    ],
  ])('%s %o', async (path, event, text) => {
    const caller = await call(await emulate(), path);
    caller.send(event);
    expect((await caller.error()).message).toBe(text);
  });
});

describe('what is accepted', () => {
  it.each([
    [
      'everything GA has',
      undefined,
      update({
        model: 'gpt-realtime',
        output_modalities: ['audio'],
        instructions: '',
        audio: {
          input: {
            format: { type: 'audio/pcmu' },
            transcription: { model: 'whisper-1', language: 'en', prompt: 'x', keywords: ['y'] },
            noise_reduction: { type: 'far_field', strength: 0.5 },
            turn_detection: { type: 'semantic_vad', eagerness: 'low', create_response: false },
          },
          output: { format: { type: 'audio/pcma' }, voice: { id: 'custom' }, speed: 1.2 },
        },
        tools: [
          { type: 'function', name: 'f', description: 'd', parameters: { type: 'object' } },
          { type: 'mcp', server_label: 'm', server_url: 'https://example.com', require_approval: 'never' },
        ],
        tool_choice: { type: 'mcp', server_label: 'm' },
        max_output_tokens: 4096,
        tracing: { workflow_name: 'w' },
        truncation: { type: 'retention_ratio', retention_ratio: 0.8 },
        prompt: { id: 'pmpt_1', version: '2', variables: { a: 'b' } },
        include: ['item.input_audio_transcription.logprobs'],
      }),
    ],
    [
      'everything preview has',
      previewPath,
      flat({
        modalities: ['audio', 'text'],
        instructions: '',
        voice: 'verse',
        input_audio_format: 'g711_alaw',
        output_audio_format: 'g711_ulaw',
        input_audio_transcription: { model: 'whisper-1' },
        input_audio_noise_reduction: null,
        turn_detection: { type: 'none' },
        tools: [{ type: 'function', name: 'f' }],
        tool_choice: { type: 'function', function: { name: 'f' } },
        temperature: 0.6,
        max_response_output_tokens: 100,
        speed: 0.9,
        tracing: 'auto',
        client_secret: { expires_after: { anchor: 'created_at', seconds: 60 } },
      }),
    ],
  ])('%s', async (_name, path, event) => {
    const caller = await call(await emulate(), path);
    caller.send(event);
    const answered = await Promise.race([caller.next('session.updated'), caller.error()]);
    expect(answered).toMatchObject({ type: 'session.updated' });
  });

  it('the extra fields of the first api-version, on it alone', async () => {
    const caller = await call(await emulate(), previewPath.replace('2025-04-01', '2024-10-01'));
    caller.send(respond({ commit: true, cancel_previous: true, append_input_items: [], input_items: [] }));
    await caller.until('response.done');
  });

  it('newer fields by newer models', async () => {
    const emulator = await emulate({ deployments: { mine: { model: 'gpt-realtime-2.1', kind: 'realtime' } } });
    const caller = await call(emulator, '/openai/v1/realtime?model=mine');
    caller.send(update({ reasoning: { effort: 'low' }, parallel_tool_calls: false }));
    const { session } = await caller.next<{ session: object }>('session.updated');
    expect(session).toMatchObject({
      model: 'gpt-realtime-2.1',
      reasoning: { effort: 'low' },
      parallel_tool_calls: false,
    });
  });
});

describe('an update', () => {
  it('changes what is present, keeps what is absent, and takes null as a value', async () => {
    const caller = await call(await emulate());
    caller.send(
      update({ instructions: 'one', audio: { input: { turn_detection: { type: 'server_vad', threshold: 0.7 } } } }),
    );
    caller.send(update({ audio: { output: { voice: 'marin' }, input: { transcription: { model: 'whisper-1' } } } }));
    await caller.until('session.updated');
    const { session } = await caller.next<{ session: Record<string, never> }>('session.updated');
    expect(session).toMatchObject({
      instructions: 'one',
      audio: {
        input: {
          turn_detection: { type: 'server_vad', threshold: 0.7, prefix_padding_ms: 300, create_response: true },
          transcription: { model: 'whisper-1', language: null, prompt: null },
        },
        output: { voice: 'marin', speed: 1 },
      },
    });
    caller.send(audioIn({ turn_detection: null, transcription: null }));
    const after = await caller.next<{ session: Record<string, never> }>('session.updated');
    expect(after.session).toMatchObject({
      instructions: 'one',
      audio: { input: { turn_detection: null, transcription: null }, output: { voice: 'marin' } },
    });
  });

  it('that is refused changes nothing', async () => {
    const caller = await call(await emulate());
    caller.send(update({ instructions: 'no', nonsense: 1 }), update({}));
    const { session } = await caller.next<{ session: { instructions: string } }>('session.updated');
    expect(session.instructions).toContain('(vendor default)');
  });

  it('may change the voice until it was heard', async () => {
    const caller = await call(await emulate());
    caller.send(update({ audio: { output: { voice: 'marin' } } }), { type: 'response.create' });
    await caller.until('response.done');
    caller.send(update({ audio: { output: { voice: 'cedar' } } }));
    expect(await caller.error()).toMatchObject({ code: 'cannot_update_voice', param: null });
    caller.send(update({ audio: { output: { voice: 'marin' } } }));
    await caller.until('session.updated');
    caller.send(respond({ audio: { output: { voice: 'cedar' } } }));
    expect((await caller.error()).code).toBe('cannot_update_voice');
  });

  it('may not change the speed while somebody speaks, nor tracing at all', async () => {
    const caller = await call(await emulate({ speed: 1 }));
    caller.send(update({ tracing: 'auto' }), update({ tracing: { workflow_name: 'x' } }));
    expect((await caller.error()).param).toBe('session.tracing');
    caller.send({ type: 'response.create' }, update({ audio: { output: { speed: 1.2 } } }));
    expect((await caller.error()).param).toBe('session.audio.output.speed');
  });
});

describe('frames', () => {
  it.each(['{"type":', '', 'null', '[]', '"text"', '42'])('of %o are errors and nothing worse', async (text) => {
    const caller = await call(await emulate());
    caller.socket.send(text);
    expect(await caller.error()).toMatchObject({ code: 'invalid_json', event_id: null });
    caller.send(say('still there'));
    await caller.until('conversation.item.added');
  });

  it('of binary data are told and the socket closed', async () => {
    const caller = await call(await emulate());
    caller.socket.send(Buffer.from('{"type":"response.create"}'));
    expect((await caller.error()).code).toBe('invalid_event');
    expect((await caller.closed).code).toBe(4000);
  });

  it('nested too deep to be echoed end in a server error, not in a crash', async () => {
    const caller = await call(await emulate());
    const deep = `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`;
    caller.socket.send(
      `{"type":"session.update","event_id":"d","session":{"type":"realtime","tools":[{"type":"function","name":"f","parameters":${deep}}]}}`,
    );
    const error = await caller.error();
    expect(error).toMatchObject({ type: 'server_error', code: 'internal_error', event_id: 'd' });
    caller.send(say('still there'), ...appends(tone(100, -20)));
    await caller.until('conversation.item.added');
  });

  it('with an event_id that is too long are refused without repeating it', async () => {
    const caller = await call(await emulate());
    caller.send({ type: 'response.create', event_id: 'x'.repeat(513) });
    expect(await caller.error()).toMatchObject({ param: 'event_id', event_id: null });
  });
});

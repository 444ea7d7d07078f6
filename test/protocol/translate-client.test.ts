import { describe, expect, it } from 'vitest';
import { encode, eventOf, type JsonObject } from '../../src/protocol/event.js';
import { createReader } from '../../src/protocol/read.js';
import { previewClient } from '../../src/protocol/translate/client-end.js';
import { recordingPorts, run } from './fixtures/sequences.js';

const item = (role: string, ...content: JsonObject[]): JsonObject => ({ type: 'message', role, content });
const shown = (object: JsonObject): JsonObject => ({ object: 'realtime.item', ...object });

describe('events of a preview client', () => {
  const untouched: readonly JsonObject[] = [
    { type: 'input_audio_buffer.append', event_id: 'e', audio: 'AAA\\/' },
    { type: 'input_audio_buffer.commit', event_id: 'e' },
    { type: 'input_audio_buffer.clear' },
    { type: 'conversation.item.retrieve', item_id: 'i' },
    { type: 'conversation.item.truncate', item_id: 'i', content_index: 0, audio_end_ms: 5 },
    { type: 'conversation.item.delete', item_id: 'i' },
    { type: 'response.create' },
    { type: 'response.cancel', response_id: 'r' },
    { type: 'output_audio_buffer.clear' },
    { type: 'someone.elses', event_id: 'e', x: null },
    { type: 'toString' },
  ];
  it.each(untouched)('$type passes as it is', (body) => {
    const { fromClient } = previewClient(recordingPorts());
    const event = eventOf(body);
    expect(fromClient(event)).toBe(event);
  });

  it('microphone audio passes as the original bytes', () => {
    const { fromClient } = previewClient(recordingPorts());
    const event = read('up', '{"type":"input_audio_buffer.append", "audio":"UklGRgAA"}');
    expect(event.raw).not.toBeNull();
    expect(fromClient(event)).toBe(event);
  });

  const rows: readonly [name: string, preview: JsonObject, ga: JsonObject | JsonObject[]][] = [
    [
      'transcription_session.update',
      {
        type: 'transcription_session.update',
        event_id: 'e',
        session: {
          input_audio_format: 'g711_ulaw',
          input_audio_transcription: { model: 'm' },
          input_audio_noise_reduction: null,
          turn_detection: { type: 'none' },
          include: ['item.input_audio_transcription.logprobs'],
          modalities: ['text'],
          client_secret: { expires_after: { anchor: 'created_at', seconds: 60 } },
        },
      },
      {
        type: 'session.update',
        event_id: 'e',
        session: {
          type: 'transcription',
          include: ['item.input_audio_transcription.logprobs'],
          audio: {
            input: {
              format: { type: 'audio/pcmu' },
              transcription: { model: 'm' },
              noise_reduction: null,
              turn_detection: null,
            },
          },
        },
      },
    ],
    [
      'text of an assistant item',
      {
        type: 'conversation.item.create',
        previous_item_id: 'root',
        item: item('assistant', { type: 'text', text: 'a' }),
      },
      {
        type: 'conversation.item.create',
        previous_item_id: 'root',
        item: item('assistant', { type: 'output_text', text: 'a' }),
      },
    ],
    [
      'text of a user item',
      { type: 'conversation.item.create', item: item('user', { type: 'text', text: 'a', id: 'part_1' }) },
      { type: 'conversation.item.create', item: item('user', { type: 'input_text', text: 'a' }) },
    ],
    [
      'text of a system item',
      { type: 'conversation.item.create', item: item('system', { type: 'text', text: 'a' }) },
      { type: 'conversation.item.create', item: item('system', { type: 'input_text', text: 'a' }) },
    ],
    [
      'audio of an assistant item',
      { type: 'conversation.item.create', item: item('assistant', { type: 'audio', transcript: 'a' }) },
      { type: 'conversation.item.create', item: item('assistant', { type: 'output_audio', transcript: 'a' }) },
    ],
    [
      'speech of a user item',
      {
        type: 'conversation.item.create',
        item: { id: 'mine', ...item('user', { type: 'input_audio', audio: 'AAAA' }) },
      },
      {
        type: 'conversation.item.create',
        item: { id: 'mine', ...item('user', { type: 'input_audio', audio: 'AAAA' }) },
      },
    ],
    [
      'function_call_output item',
      { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'c', output: '{}' } },
      { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'c', output: '{}' } },
    ],
    [
      'response.create with everything',
      {
        type: 'response.create',
        event_id: 'e',
        response: {
          conversation: 'none',
          instructions: '',
          modalities: ['text', 'audio'],
          voice: 'echo',
          output_audio_format: 'g711_alaw',
          tools: [{ type: 'function', function: { name: 'f' } }],
          tool_choice: { type: 'function', function: { name: 'f' } },
          temperature: 0.7,
          max_response_output_tokens: 5,
          metadata: { k: 'v' },
          input: [item('assistant', { type: 'text', text: 'a' }), { type: 'item_reference', id: 'i' }],
          cancel_previous: true,
          append_input_items: [],
          input_items: [],
        },
      },
      {
        type: 'response.create',
        event_id: 'e',
        response: {
          conversation: 'none',
          instructions: '',
          output_modalities: ['audio'],
          audio: { output: { voice: 'echo', format: { type: 'audio/pcma' } } },
          tools: [{ type: 'function', name: 'f' }],
          tool_choice: { type: 'function', name: 'f' },
          max_output_tokens: 5,
          metadata: { k: 'v' },
          input: [item('assistant', { type: 'output_text', text: 'a' }), { type: 'item_reference', id: 'i' }],
        },
      },
    ],
    [
      'response.create with the output limit of the Azure reference',
      { type: 'response.create', response: { max_output_tokens: 7 } },
      { type: 'response.create', response: { max_output_tokens: 7 } },
    ],
    [
      'response.create that commits',
      { type: 'response.create', event_id: 'e', response: { commit: true } },
      [
        { type: 'input_audio_buffer.commit', event_id: 'e' },
        { type: 'response.create', event_id: 'e', response: {} },
      ],
    ],
    [
      'response.create that does not commit',
      { type: 'response.create', response: { commit: false } },
      { type: 'response.create', response: {} },
    ],
  ];
  it.each(rows)('%s becomes GA', (_, preview, ga) => {
    const ports = recordingPorts();
    expect(run(previewClient(ports).fromClient, [preview])).toStrictEqual([ga].flat());
    expect(ports.refusals).toEqual([]);
  });

  it.each<[string, JsonObject, string]>([
    [
      'conversation.item.create',
      { item: item('user', { type: 'input_text', text: 'a' }, { type: 'item_reference', id: 'i' }) },
      'item.content[1].type',
    ],
    [
      'response.create',
      { response: { input: [{}, item('user', { type: 'item_reference', id: 'i' })] } },
      'response.input[1].content[0].type',
    ],
  ])('a reference in the content of %s is refused, for GA has no place for it', (type, body, param) => {
    const ports = recordingPorts();
    expect(run(previewClient(ports).fromClient, [{ type, event_id: 'e', ...body }])).toEqual([]);
    expect(ports.refusals).toMatchObject([{ code: 'unsupported_by_upstream', param, eventId: 'e' }]);
    expect(ports.refusals[0]?.message).toContain(param);
  });
});

describe('events for a preview client', () => {
  const untouched: readonly JsonObject[] = [
    { type: 'conversation.item.truncated', item_id: 'i', content_index: 0, audio_end_ms: 1 },
    { type: 'conversation.item.deleted', item_id: 'i' },
    { type: 'conversation.item.input_audio_transcription.delta', delta: 'a', obfuscation: 'x' },
    { type: 'conversation.item.input_audio_transcription.failed', error: { param: 'session.audio' } },
    { type: 'input_audio_buffer.committed', item_id: 'i' },
    { type: 'input_audio_buffer.cleared' },
    { type: 'input_audio_buffer.speech_started', item_id: 'i' },
    { type: 'input_audio_buffer.speech_stopped', item_id: 'i' },
    { type: 'output_audio_buffer.started', response_id: 'r' },
    { type: 'output_audio_buffer.stopped', response_id: 'r' },
    { type: 'output_audio_buffer.cleared', response_id: 'r' },
    { type: 'response.content_part.added', part: { type: 'text', text: '' } },
    { type: 'response.content_part.done', part: { type: 'audio', transcript: 'a' } },
    { type: 'response.function_call_arguments.delta', delta: '{' },
    { type: 'response.function_call_arguments.done', arguments: '{}' },
    { type: 'rate_limits.updated', rate_limits: [] },
    { type: 'someone.elses' },
    { type: 'toString' },
  ];
  it.each(untouched)('$type passes as it is', (body) => {
    const event = eventOf(body);
    expect(previewClient(recordingPorts()).toClient(event)).toBe(event);
  });

  it.each([
    ['response.output_text.delta', 'response.text.delta'],
    ['response.output_text.done', 'response.text.done'],
    ['response.output_audio.delta', 'response.audio.delta'],
    ['response.output_audio.done', 'response.audio.done'],
    ['response.output_audio_transcript.delta', 'response.audio_transcript.delta'],
    ['response.output_audio_transcript.done', 'response.audio_transcript.done'],
  ])('%s becomes %s and nothing else changes', (ga, preview) => {
    const rest = { event_id: 'e', item_id: 'i', delta: 'AAAA', obfuscation: 'x', transcript: null };
    expect(run(previewClient(recordingPorts()).toClient, [{ type: ga, ...rest }])).toStrictEqual([
      { type: preview, ...rest },
    ]);
  });

  it('the model’s speech is renamed in its bytes', () => {
    const text = (type: string) =>
      `{ "event_id":"type","type" : "${type}","response_id":"r","item_id":"response.output_audio.delta","delta":"UklGRgAA"}`;
    const event = read('down', text('response.output_audio.delta'));
    expect(event.raw).not.toBeNull();
    const out = previewClient(recordingPorts()).toClient(event);
    expect(out).toMatchObject({ type: 'response.audio.delta', itemId: 'response.output_audio.delta', audioBytes: 6 });
    expect(encode(out as typeof event).toString()).toBe(text('response.audio.delta'));
  });

  it.each([
    'conversation.item.input_audio_transcription.segment',
    'input_audio_buffer.timeout_triggered',
    'input_audio_buffer.dtmf_event_received',
    'response.mcp_call_arguments.delta',
    'response.mcp_call_arguments.done',
    'response.mcp_call.in_progress',
    'response.mcp_call.completed',
    'response.mcp_call.failed',
    'mcp_list_tools.in_progress',
    'mcp_list_tools.completed',
    'mcp_list_tools.failed',
  ])('%s is left out', (type) => {
    expect(run(previewClient(recordingPorts()).toClient, [{ type, item_id: 'i' }])).toEqual([]);
  });

  it('the name of a call is left out where its arguments are done', () => {
    const { name: _, ...rest } = { type: 'response.function_call_arguments.done', name: 'f', arguments: '{}' };
    expect(run(previewClient(recordingPorts()).toClient, [{ ...rest, name: 'f' }])).toStrictEqual([rest]);
  });

  it('languages of a transcription are left out', () => {
    const type = 'conversation.item.input_audio_transcription.completed';
    const rest = { type, transcript: 'a', usage: { type: 'duration', seconds: 1 }, logprobs: null };
    expect(run(previewClient(recordingPorts()).toClient, [{ ...rest, languages: ['en'] }])).toStrictEqual([rest]);
  });

  const answer = { id: 'i', ...item('assistant', { type: 'output_text', text: 'a' }, { type: 'output_audio' }) };
  const answerShown = shown({ id: 'i', ...item('assistant', { type: 'text', text: 'a' }, { type: 'audio' }) });
  it.each(['conversation.item.retrieved', 'response.output_item.added', 'response.output_item.done'])(
    'the item of %s has preview content',
    (type) => {
      const { toClient } = previewClient(recordingPorts());
      expect(run(toClient, [{ type, item: answer }])).toStrictEqual([{ type, item: answerShown }]);
      const lenient = shown(item('assistant', { type: 'audio', format: 'pcm16' }));
      expect(run(toClient, [{ type, item: lenient }])).toStrictEqual([{ type, item: lenient }]);
      const users = shown(item('user', { type: 'output_text', text: 'not mine to change' }));
      expect(run(toClient, [{ type, item: users }])).toStrictEqual([{ type, item: users }]);
    },
  );

  it.each([
    'conversation.item.added',
    'conversation.item.done',
    'conversation.item.created',
    'conversation.item.retrieved',
    'response.output_item.added',
    'response.output_item.done',
  ])('%s of an MCP item is left out', (type) => {
    const { toClient } = previewClient(recordingPorts());
    expect(run(toClient, [{ type, item: { id: 'i', type: 'mcp_call', name: 'n' } }])).toEqual([]);
  });

  it.each(['response.created', 'response.done'])('%s has preview fields and no MCP output', (type) => {
    const response = {
      id: 'r',
      status_details: null,
      metadata: { k: 'v' },
      max_output_tokens: 9,
      output_modalities: ['audio'],
      audio: { output: { voice: { id: 'v1' }, format: { type: 'audio/pcmu' } } },
      output: [{ id: 'm', type: 'mcp_list_tools' }, answer],
      usage: { input_token_details: { image_tokens: 1, cached_tokens_details: { image_tokens: 1, text_tokens: 2 } } },
    };
    expect(run(previewClient(recordingPorts()).toClient, [{ type, event_id: 'e', response }])).toStrictEqual([
      {
        type,
        event_id: 'e',
        response: {
          id: 'r',
          status_details: null,
          metadata: { k: 'v' },
          max_output_tokens: 9,
          modalities: ['text', 'audio'],
          voice: 'v1',
          output_audio_format: 'g711_ulaw',
          temperature: 0.8,
          output: [answerShown],
          usage: { input_token_details: { cached_tokens_details: { text_tokens: 2 } } },
        },
      },
    ]);
  });

  it('conversation.created passes once', () => {
    const body = { type: 'conversation.created', conversation: { id: 'conv_1' } };
    expect(run(previewClient(recordingPorts()).toClient, [body, body])).toEqual([body]);
  });

  const about = (type: string, id = 'i') => ({ type: `conversation.item.${type}`, item: { id, type: 'message' } });
  it.each<[string, JsonObject[], number]>([
    ['added then done', [about('added'), about('done')], 1],
    ['done without added', [about('done')], 1],
    ['created alone', [about('created')], 1],
    ['created and added and done', [about('created'), about('added'), about('done'), about('done')], 1],
    ['two items', [about('added'), about('added', 'j'), about('done', 'j'), about('done')], 2],
    ['done of an item without an id', [{ type: 'conversation.item.done', item: { type: 'message' } }], 0],
  ])('conversation.item.created comes exactly once for an item: %s', (_, bodies, count) => {
    const created = run(previewClient(recordingPorts()).toClient, bodies);
    expect(created.map((body) => body.type)).toEqual(Array(count).fill('conversation.item.created'));
  });

  it('an item that is deleted and made again is announced again', () => {
    const bodies = [about('added'), { type: 'conversation.item.deleted', item_id: 'i' }, about('added')];
    expect(run(previewClient(recordingPorts()).toClient, bodies)).toHaveLength(3);
  });

  it('an item that says what it is keeps its word', () => {
    const body = { type: 'conversation.item.retrieved', item: { id: 'i', object: 'another', role: 'user' } };
    expect(run(previewClient(recordingPorts()).toClient, [body])).toStrictEqual([body]);
  });

  it('an item whose id is too long to remember is announced when it is added and not when it is done', () => {
    const { toClient } = previewClient(recordingPorts());
    const long = 'i'.repeat(513);
    expect(run(toClient, [about('added', long), about('done', long)])).toHaveLength(1);
  });

  it('a long session remembers the latest items only', () => {
    const { toClient } = previewClient(recordingPorts());
    for (let count = 0; count <= 4096; count++) run(toClient, [about('added', `i${count}`)]);
    expect(run(toClient, [about('done', 'i4096')])).toEqual([]);
    expect(run(toClient, [about('done', 'i1')])).toEqual([]);
    expect(run(toClient, [about('done', 'i0')])).toHaveLength(1);
  });

  it.each<[string | null, string | null]>([
    ['session.audio.output.voice', 'session.voice'],
    ['session.audio.output.speed', 'session.speed'],
    ['session.audio.input.format', 'session.input_audio_format'],
    ['session.audio.output.format.type', 'session.output_audio_format.type'],
    ['session.audio.input.transcription.model', 'session.input_audio_transcription.model'],
    ['session.audio.input.noise_reduction', 'session.input_audio_noise_reduction'],
    ['session.audio.input.turn_detection.threshold', 'session.turn_detection.threshold'],
    ['session.output_modalities[0]', 'session.modalities[0]'],
    ['session.max_output_tokens', 'session.max_response_output_tokens'],
    ['session.tools[0].name', 'session.tools[0].name'],
    ['response.output_modalities', 'response.modalities'],
    ['response.audio.output.voice', 'response.voice'],
    ['response.audio.output.format', 'response.output_audio_format'],
    ['response.max_output_tokens', 'response.max_response_output_tokens'],
    ['session.output_modalities_of_mine', 'session.output_modalities_of_mine'],
    ['item.content[0].type', 'item.content[0].type'],
    [null, null],
  ])('an error about %s names %s', (ga, preview) => {
    const error = (param: string | null) => ({
      type: 'invalid_request_error',
      code: 'x',
      message: 'm',
      param,
      event_id: 'c1',
    });
    const { toClient } = previewClient(recordingPorts());
    expect(run(toClient, [{ type: 'error', event_id: 'e', error: error(ga) }])).toStrictEqual([
      { type: 'error', event_id: 'e', error: error(preview) },
    ]);
  });
});

function read(direction: 'up' | 'down', text: string) {
  const reader = createReader({ direction, dialect: 'ga', slowBytes: 65_536, eventBytes: 65_536 });
  return reader(Buffer.from(text));
}

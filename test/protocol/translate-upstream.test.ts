import { describe, expect, it } from 'vitest';
import { encode, eventOf, type JsonObject } from '../../src/protocol/event.js';
import { createReader } from '../../src/protocol/read.js';
import { previewUpstream } from '../../src/protocol/translate/upstream-end.js';
import { recordingPorts, run } from './fixtures/sequences.js';

const user = (id: string): JsonObject => ({ id, type: 'message', role: 'user', status: 'completed', content: [] });
const answer = (id: string, status: string): JsonObject => ({
  id,
  type: 'message',
  role: 'assistant',
  status,
  content: [],
});
const call = (id: string, status: string): JsonObject => ({
  id,
  type: 'function_call',
  name: 'f',
  call_id: 'c',
  status,
});
const created = (item: JsonObject) => ({
  type: 'conversation.item.created',
  event_id: 'e',
  previous_item_id: 'p',
  item,
});
const outputDone = (item: JsonObject) => ({ type: 'response.output_item.done', event_id: 'e', response_id: 'r', item });

describe('events for a preview upstream', () => {
  const untouched: readonly JsonObject[] = [
    { type: 'input_audio_buffer.append', audio: 'AAAA' },
    { type: 'input_audio_buffer.commit' },
    { type: 'input_audio_buffer.clear' },
    { type: 'conversation.item.retrieve', item_id: 'i' },
    { type: 'conversation.item.truncate', item_id: 'i', content_index: 0, audio_end_ms: 5 },
    { type: 'conversation.item.delete', item_id: 'i' },
    { type: 'response.create', event_id: 'e' },
    { type: 'response.cancel' },
    { type: 'someone.elses' },
  ];
  it.each(untouched)('$type passes as it is', (body) => {
    const event = eventOf(body);
    expect(previewUpstream(recordingPorts()).toUpstream(event)).toBe(event);
  });

  it('response.create becomes preview', () => {
    const ga = {
      conversation: 'auto',
      output_modalities: ['audio'],
      audio: { output: { voice: 'echo', format: { type: 'audio/pcmu' } } },
      max_output_tokens: 5,
      metadata: { k: 'v' },
      prompt: null,
      input: [{ ...answer('a', 'completed'), content: [{ type: 'output_text', text: 'x' }] }],
    };
    const preview = {
      conversation: 'auto',
      modalities: ['text', 'audio'],
      voice: 'echo',
      output_audio_format: 'g711_ulaw',
      max_response_output_tokens: 5,
      metadata: { k: 'v' },
      input: [{ ...answer('a', 'completed'), content: [{ type: 'text', text: 'x' }] }],
    };
    const { toUpstream } = previewUpstream(recordingPorts());
    expect(run(toUpstream, [{ type: 'response.create', event_id: 'e', response: ga }])).toStrictEqual([
      { type: 'response.create', event_id: 'e', response: preview },
    ]);
  });

  it('assistant content of conversation.item.create becomes preview', () => {
    const body = (type: string) => ({
      type: 'conversation.item.create',
      item: { ...answer('a', 'completed'), content: [{ type, text: 'x' }] },
    });
    expect(run(previewUpstream(recordingPorts()).toUpstream, [body('output_text')])).toStrictEqual([body('text')]);
  });

  const session = (fields: JsonObject) => ({ type: 'session.update', session: { type: 'realtime', ...fields } });
  const response = (fields: JsonObject) => ({ type: 'response.create', response: fields });
  const mcp = { type: 'mcp', server_label: 's' };
  const image = { type: 'message', role: 'user', content: [{ type: 'input_text' }, { type: 'input_image' }] };
  const impossible: readonly [param: string, body: JsonObject][] = [
    ['session.prompt', session({ prompt: { id: 'p' } })],
    ['session.truncation', session({ truncation: 'disabled' })],
    ['session.truncation', session({ truncation: { type: 'retention_ratio', retention_ratio: 0.5 } })],
    ['session.reasoning', session({ reasoning: { effort: 'low' } })],
    ['session.parallel_tool_calls', session({ parallel_tool_calls: false })],
    [
      'session.audio.input.turn_detection.idle_timeout_ms',
      session({ audio: { input: { turn_detection: { type: 'server_vad', idle_timeout_ms: 6000 } } } }),
    ],
    ['session.audio.output.voice', session({ audio: { output: { voice: 'marin' } } })],
    ['session.audio.output.voice', session({ audio: { output: { voice: 'cedar' } } })],
    ['session.audio.output.voice', session({ audio: { output: { voice: { id: 'v' } } } })],
    ['session.tools[1]', session({ tools: [{ type: 'function', name: 'f' }, mcp] })],
    ['session.tool_choice', session({ tool_choice: mcp })],
    ['session.type', { type: 'session.update', session: { type: 'transcription' } }],
    ['response.prompt', response({ prompt: { id: 'p' } })],
    ['response.reasoning', response({ reasoning: {} })],
    ['response.parallel_tool_calls', response({ parallel_tool_calls: true })],
    ['response.audio.output.voice', response({ audio: { output: { voice: 'marin' } } })],
    ['response.tools[0]', response({ tools: [mcp] })],
    ['response.tool_choice', response({ tool_choice: mcp })],
    ['response.input[0].content[1].type', response({ input: [image] })],
    ['response.input[1].type', response({ input: [{}, { type: 'mcp_approval_response', id: 'm' }] })],
    ['item.content[1].type', { type: 'conversation.item.create', item: image }],
    ['item.type', { type: 'conversation.item.create', item: { type: 'mcp_approval_response' } }],
  ];

  it.each(impossible)('a client’s %s is refused with its name', (param, body) => {
    const ports = recordingPorts();
    expect(run(previewUpstream(ports).toUpstream, [{ ...body, event_id: 'c1' }])).toEqual([]);
    expect(ports.refusals).toMatchObject([{ code: 'unsupported_by_upstream', param, eventId: 'c1' }]);
    expect(ports.refusals[0]?.message).toContain(`'${param}'`);
  });

  it('an update that does not say its type is of the type of the session', () => {
    const body = { type: 'session.update', session: { instructions: 'a' } };
    const ports = recordingPorts();
    expect(run(previewUpstream(ports).toUpstream, [body])).toStrictEqual([body]);
    expect(ports.refusals).toEqual([]);
  });

  it('a realtime update of a transcription session is refused', () => {
    const ports = recordingPorts();
    const { toUpstream, fromUpstream } = previewUpstream(ports);
    run(fromUpstream, [{ type: 'transcription_session.created', session: {} }]);
    expect(run(toUpstream, [session({})])).toEqual([]);
    expect(ports.refusals).toMatchObject([{ param: 'session.type' }]);
  });
});

describe('events of a preview upstream', () => {
  const untouched: readonly JsonObject[] = [
    { type: 'conversation.item.truncated', item_id: 'i' },
    { type: 'conversation.item.deleted', item_id: 'i' },
    { type: 'conversation.item.input_audio_transcription.completed', item_id: 'i', transcript: 'a' },
    { type: 'input_audio_buffer.committed', item_id: 'i' },
    { type: 'response.content_part.added', part: { type: 'audio', transcript: '' } },
    { type: 'response.function_call_arguments.delta', item_id: 'i', delta: '{' },
    { type: 'rate_limits.updated', rate_limits: [] },
    { type: 'someone.elses' },
  ];
  it.each(untouched)('$type passes as it is', (body) => {
    const event = eventOf(body);
    expect(previewUpstream(recordingPorts()).fromUpstream(event)).toBe(event);
  });

  it.each([
    ['response.text.delta', 'response.output_text.delta'],
    ['response.text.done', 'response.output_text.done'],
    ['response.audio.delta', 'response.output_audio.delta'],
    ['response.audio.done', 'response.output_audio.done'],
    ['response.audio_transcript.delta', 'response.output_audio_transcript.delta'],
    ['response.audio_transcript.done', 'response.output_audio_transcript.done'],
  ])('%s becomes %s and nothing else changes', (preview, ga) => {
    const rest = { event_id: 'e', item_id: 'i', delta: 'AAAA' };
    expect(run(previewUpstream(recordingPorts()).fromUpstream, [{ type: preview, ...rest }])).toStrictEqual([
      { type: ga, ...rest },
    ]);
  });

  it('the model’s speech is renamed in its bytes', () => {
    const text = (type: string) => `{"delta":"UklGRgAA","response_id":"r","item_id":"type","type":"${type}"}`;
    const reader = createReader({ direction: 'down', dialect: 'preview', slowBytes: 1000, eventBytes: 1000 });
    const event = reader(Buffer.from(text('response.audio.delta')));
    expect(event.raw).not.toBeNull();
    const out = previewUpstream(recordingPorts()).fromUpstream(event);
    expect(out).toMatchObject({ type: 'response.output_audio.delta', responseId: 'r', audioBytes: 6 });
    expect(encode(out as typeof event).toString()).toBe(text('response.output_audio.delta'));
  });

  it('conversation.created is left out', () => {
    expect(run(previewUpstream(recordingPorts()).fromUpstream, [{ type: 'conversation.created' }])).toEqual([]);
  });

  const types = (bodies: JsonObject[]) =>
    run(previewUpstream(recordingPorts()).fromUpstream, bodies).map((body) => body.type);
  const added = 'conversation.item.added';
  const done = 'conversation.item.done';

  it.each<[string, JsonObject[], string[]]>([
    ['a user item is done at once', [created(user('u'))], [added, done]],
    ['a system item is done at once', [created({ id: 's', type: 'message', role: 'system' })], [added, done]],
    ['a tool’s answer is done at once', [created({ id: 'o', type: 'function_call_output' })], [added, done]],
    ['a restored answer is done at once', [created(answer('a', 'completed'))], [added, done]],
    ['an answer is not done while it is written', [created(answer('a', 'in_progress'))], [added]],
    [
      'an answer is done after its output item',
      [created(answer('a', 'in_progress')), outputDone(answer('a', 'completed'))],
      [added, 'response.output_item.done', done],
    ],
    [
      'a call is done after its output item',
      [created(call('f', 'in_progress')), outputDone(call('f', 'completed'))],
      [added, 'response.output_item.done', done],
    ],
    [
      'an answer cut off before its output item is done before the response is',
      [
        created(answer('a', 'in_progress')),
        { type: 'response.done', response: { output: [answer('a', 'incomplete')] } },
      ],
      [added, done, 'response.done'],
    ],
    [
      'an answer is done once',
      [
        created(answer('a', 'in_progress')),
        outputDone(answer('a', 'completed')),
        { type: 'response.done', response: { output: [answer('a', 'completed')] } },
      ],
      [added, 'response.output_item.done', done, 'response.done'],
    ],
    [
      'what is outside the conversation is never added to it',
      [
        outputDone(answer('a', 'completed')),
        { type: 'response.done', response: { output: [answer('a', 'completed')] } },
      ],
      ['response.output_item.done', 'response.done'],
    ],
    ['an item is announced once', [created(user('u')), created(user('u'))], [added, done]],
    [
      'an upstream that says added and done itself is not repeated',
      [
        { ...created(user('u')), type: added },
        { type: done, item: user('u') },
      ],
      [added, done],
    ],
    [
      'an upstream that says done itself is heard',
      [
        created(answer('a', 'in_progress')),
        { type: done, item: answer('a', 'completed') },
        outputDone(answer('a', 'completed')),
      ],
      [added, done, 'response.output_item.done'],
    ],
    [
      'an item that is deleted and made again is announced again',
      [created(user('u')), { type: 'conversation.item.deleted', item_id: 'u' }, created(user('u'))],
      [added, done, 'conversation.item.deleted', added, done],
    ],
    ['an item without an id is only added', [created({ role: 'user' })], [added]],
  ])('%s', (_, bodies, expected) => {
    expect(types(bodies)).toEqual(expected);
  });

  it('the made event carries a new id, the place and the final item', () => {
    const { fromUpstream } = previewUpstream(recordingPorts());
    const final = { ...answer('a', 'completed'), content: [{ type: 'text', text: 'x' }] };
    const events = run(fromUpstream, [created(answer('a', 'in_progress')), outputDone(final)]);
    expect(events.at(-1)).toStrictEqual({
      type: done,
      event_id: 'event_made_1',
      previous_item_id: 'p',
      item: { ...answer('a', 'completed'), content: [{ type: 'output_text', text: 'x' }] },
    });
  });

  it.each<[string, JsonObject]>([
    ['response.output_item.added', { type: 'response.output_item.added', item: call('f', 'in_progress') }],
    ['conversation.item.created', created(call('f', 'in_progress'))],
  ])('response.function_call_arguments.done gets the name seen in %s', (_, before) => {
    const { fromUpstream } = previewUpstream(recordingPorts());
    run(fromUpstream, [before]);
    const type = 'response.function_call_arguments.done';
    const rest = { type, event_id: 'e', item_id: 'f', arguments: '{}' };
    expect(run(fromUpstream, [rest])).toStrictEqual([{ ...rest, name: 'f' }]);
    expect(run(fromUpstream, [{ ...rest, name: 'told' }])).toStrictEqual([{ ...rest, name: 'told' }]);
    expect(run(fromUpstream, [{ ...rest, item_id: 'toString' }])).toStrictEqual([{ ...rest, item_id: 'toString' }]);
  });

  it('the name of a call that was deleted is forgotten', () => {
    const { fromUpstream } = previewUpstream(recordingPorts());
    run(fromUpstream, [created(call('f', 'in_progress')), { type: 'conversation.item.deleted', item_id: 'f' }]);
    const body = { type: 'response.function_call_arguments.done', item_id: 'f', arguments: '{}' };
    expect(run(fromUpstream, [body])).toStrictEqual([body]);
  });

  it.each(['response.created', 'response.done'])('%s has GA fields', (type) => {
    const response = {
      id: 'r',
      modalities: ['audio', 'text'],
      voice: 'v',
      output_audio_format: 'pcm16',
      temperature: 0.8,
      usage: null,
    };
    expect(run(previewUpstream(recordingPorts()).fromUpstream, [{ type, response }])).toStrictEqual([
      {
        type,
        response: {
          id: 'r',
          output_modalities: ['audio'],
          audio: { output: { voice: 'v', format: { type: 'audio/pcm', rate: 24000 } } },
          usage: null,
        },
      },
    ]);
  });

  it.each([
    ['session.voice', 'session.audio.output.voice'],
    ['session.turn_detection.type', 'session.audio.input.turn_detection.type'],
    ['session.modalities', 'session.output_modalities'],
    ['session.max_response_output_tokens', 'session.max_output_tokens'],
    ['response.modalities', 'response.output_modalities'],
    ['response.voice', 'response.audio.output.voice'],
    ['session.voices', 'session.voices'],
  ])('an error about %s names %s', (preview, ga) => {
    const body = (param: string) => ({ type: 'error', event_id: 'e', error: { message: 'm', param, event_id: null } });
    expect(run(previewUpstream(recordingPorts()).fromUpstream, [body(preview)])).toStrictEqual([body(ga)]);
  });

  it('a long session remembers the latest items only', () => {
    const { fromUpstream } = previewUpstream(recordingPorts());
    for (let count = 0; count <= 4096; count++) run(fromUpstream, [created(user(`i${count}`))]);
    expect(run(fromUpstream, [created(user('i4096'))])).toEqual([]);
    expect(run(fromUpstream, [created(user('i0'))])).toHaveLength(2);
  });
});

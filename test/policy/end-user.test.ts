import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../src/protocol/event.js';
import { added, assistantItem, type Bench, bench, callItem, created, outputItem, userItem } from './bench.js';

/** A session in which the client has seen a user's and an assistant's item, and the server keeps two of its own. */
function running(settings: Record<string, unknown> = {}): Bench {
  const session = bench(settings);
  session.up(createItem({ ...message([inputText]), id: 'item_mine' }));
  session.all(
    added(userItem('item_mine')),
    added(userItem('item_other'), 'item_mine'),
    added({ id: 'item_system', type: 'message', role: 'system', content: [] }, 'item_other'),
    created('resp_1'),
    outputItem('resp_1', assistantItem('item_said')),
    outputItem('resp_1', callItem('item_call', 'server_tool', 'call_server')),
    { type: 'response.done', response: { id: 'resp_1', status: 'completed', output: [] } },
  );
  session.policy.injected(createItem({ id: 'rly_guard', type: 'message', role: 'user', content: [] }));
  return session;
}

const inputText = { type: 'input_text', text: 'hello' };
const message = (content: Json, fields: JsonObject = {}): JsonObject => ({
  type: 'message',
  role: 'user',
  content,
  ...fields,
});
const createItem = (item: Json, fields: JsonObject = {}): JsonObject => ({
  type: 'conversation.item.create',
  item,
  ...fields,
});
const update = (session: Json): JsonObject => ({ type: 'session.update', session });
const respond = (response: Json): JsonObject => ({ type: 'response.create', response });
const wishOf = (sent: JsonObject | null): JsonObject => sent?.response as JsonObject;
const without = (body: JsonObject | null): JsonObject | null => {
  if (body === null) return null;
  const { event_id: _, ...rest } = body;
  return rest;
};

describe('an end user may send', () => {
  const allowed: [string, JsonObject, JsonObject][] = [
    [
      'speech on the slow path',
      { type: 'input_audio_buffer.append', audio: 'AAAA' },
      { type: 'input_audio_buffer.append', audio: 'AAAA' },
    ],
    [
      'speech without its extra fields',
      { type: 'input_audio_buffer.append', audio: 'AAA=', instructions: 'x' },
      { type: 'input_audio_buffer.append', audio: 'AAA=' },
    ],
    ['a commit', { type: 'input_audio_buffer.commit' }, { type: 'input_audio_buffer.commit' }],
    [
      'a commit without its fields',
      { type: 'input_audio_buffer.commit', item_id: 'x' },
      { type: 'input_audio_buffer.commit' },
    ],
    ['a clear', { type: 'input_audio_buffer.clear' }, { type: 'input_audio_buffer.clear' }],
    [
      'a clear without its fields',
      { type: 'input_audio_buffer.clear', session: {} },
      { type: 'input_audio_buffer.clear' },
    ],
    ['text', createItem(message([inputText])), createItem(message([inputText]))],
    [
      'text with an id',
      createItem(message([inputText], { id: 'msg_1' })),
      createItem({ id: 'msg_1', ...message([inputText]) }),
    ],
    ['text with an id of null', createItem(message([inputText], { id: null })), createItem(message([inputText]))],
    ['several parts', createItem(message([inputText, inputText])), createItem(message([inputText, inputText]))],
    [
      'recorded speech',
      createItem(message([{ type: 'input_audio', audio: 'AAAA', transcript: 'x' }])),
      createItem(message([{ type: 'input_audio', audio: 'AAAA' }])),
    ],
    [
      'an item without status, object and unknown fields',
      createItem(message([{ ...inputText, x: 1 }], { status: 'completed', object: 'realtime.item', phase: 'x' })),
      createItem(message([inputText])),
    ],
    [
      'an item after one it was shown',
      createItem(message([inputText]), { previous_item_id: 'item_said' }),
      createItem(message([inputText]), { previous_item_id: 'item_said' }),
    ],
    [
      'an item after null',
      createItem(message([inputText]), { previous_item_id: null }),
      createItem(message([inputText])),
    ],
    [
      'a retrieve of its own item',
      { type: 'conversation.item.retrieve', item_id: 'item_mine' },
      { type: 'conversation.item.retrieve', item_id: 'item_mine' },
    ],
    [
      'a retrieve of an item of the assistant',
      { type: 'conversation.item.retrieve', item_id: 'item_said', x: 1 },
      { type: 'conversation.item.retrieve', item_id: 'item_said' },
    ],
    [
      'a delete of its own item',
      { type: 'conversation.item.delete', item_id: 'item_mine', x: 1 },
      { type: 'conversation.item.delete', item_id: 'item_mine' },
    ],
    [
      'a truncate',
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 0, audio_end_ms: 850, x: 1 },
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 0, audio_end_ms: 850 },
    ],
    ['a cancel', { type: 'response.cancel' }, { type: 'response.cancel' }],
    ['a cancel of null', { type: 'response.cancel', response_id: null }, { type: 'response.cancel' }],
    [
      'a cancel of a response it was shown',
      { type: 'response.cancel', response_id: 'resp_1', x: 1 },
      { type: 'response.cancel', response_id: 'resp_1' },
    ],
  ];
  it.each(allowed)('%s', (_, body, expected) => {
    const session = running();
    expect(without(session.up({ ...body, event_id: 'c_1' }))).toEqual(expected);
    expect(session.refusals).toEqual([]);
    expect(session.decisions.at(-1)).toEqual(['up', body.type, 'rebuild']);
  });
});

describe('an end user is refused', () => {
  const refused: [string, JsonObject, string, string | null][] = [
    ['an event without a type', {}, 'missing_required_parameter', 'type'],
    ['a type that is a list', { type: ['session.update'] }, 'missing_required_parameter', 'type'],
    ['a type that is null', { type: null }, 'missing_required_parameter', 'type'],
    ['a type of blanks', { type: ' session.update' }, 'event_not_allowed', 'type'],
    ['a type in capitals', { type: 'Session.Update' }, 'event_not_allowed', 'type'],
    ['a type with look-alike letters', { type: 'sessiоn.update' }, 'event_not_allowed', 'type'],
    ['a type with a zero-width character', { type: 'session.update\u200b' }, 'event_not_allowed', 'type'],
    ['a type that every object has', { type: 'toString' }, 'event_not_allowed', 'type'],
    ['a type of a prototype', { type: '__proto__' }, 'event_not_allowed', 'type'],
    ['a type that does not exist', { type: 'session.destroy' }, 'event_not_allowed', 'type'],
    ['a server event', { type: 'response.done' }, 'event_not_allowed', 'type'],
    ['output_audio_buffer.clear', { type: 'output_audio_buffer.clear' }, 'event_not_allowed', 'type'],
    [
      'transcription_session.update',
      { type: 'transcription_session.update', session: {} },
      'event_not_allowed',
      'type',
    ],
    ['speech without audio', { type: 'input_audio_buffer.append' }, 'missing_required_parameter', 'audio'],
    ['speech as a list', { type: 'input_audio_buffer.append', audio: ['AAAA'] }, 'invalid_value', 'audio'],
    ['speech that is not base64', { type: 'input_audio_buffer.append', audio: 'A*AA' }, 'invalid_value', 'audio'],
    ['speech in the URL alphabet', { type: 'input_audio_buffer.append', audio: 'AA-_' }, 'invalid_value', 'audio'],
    ['speech with blanks', { type: 'input_audio_buffer.append', audio: 'AA AA AA' }, 'invalid_value', 'audio'],
    ['speech with padding inside', { type: 'input_audio_buffer.append', audio: 'AA==AAAA' }, 'invalid_value', 'audio'],
    ['speech of the wrong length', { type: 'input_audio_buffer.append', audio: 'AAAAA' }, 'invalid_value', 'audio'],
    ['an item that is missing', { type: 'conversation.item.create' }, 'missing_required_parameter', 'item'],
    ['an item that is a list', createItem([message([inputText])]), 'invalid_value', 'item'],
    ['an item that is null', createItem(null), 'invalid_value', 'item'],
    [
      'an item without a type',
      createItem({ role: 'user', content: [inputText] }),
      'missing_required_parameter',
      'item.type',
    ],
    [
      'a message without a role',
      createItem({ type: 'message', content: [inputText] }),
      'missing_required_parameter',
      'item.role',
    ],
    ['role system', createItem(message([inputText], { role: 'system' })), 'item_not_allowed', 'item.role'],
    ['role developer', createItem(message([inputText], { role: 'developer' })), 'item_not_allowed', 'item.role'],
    [
      'role assistant',
      createItem(message([{ type: 'output_text', text: 'x' }], { role: 'assistant' })),
      'item_not_allowed',
      'item.role',
    ],
    ['role tool', createItem(message([inputText], { role: 'tool' })), 'item_not_allowed', 'item.role'],
    ['role as a list', createItem(message([inputText], { role: ['user'] })), 'item_not_allowed', 'item.role'],
    ['role in capitals', createItem(message([inputText], { role: 'User' })), 'item_not_allowed', 'item.role'],
    ['role null', createItem(message([inputText], { role: null })), 'item_not_allowed', 'item.role'],
    [
      'a function call',
      createItem({ type: 'function_call', name: 'x', arguments: '{}', call_id: 'c' }),
      'item_not_allowed',
      'item.type',
    ],
    [
      'an output for a call of the server',
      createItem({ type: 'function_call_output', call_id: 'call_server', output: 'x' }),
      'item_not_allowed',
      'item.call_id',
    ],
    [
      'an output for no call',
      createItem({ type: 'function_call_output', call_id: 'call_none', output: 'x' }),
      'item_not_allowed',
      'item.call_id',
    ],
    [
      'an output for a prototype',
      createItem({ type: 'function_call_output', call_id: 'toString', output: 'x' }),
      'item_not_allowed',
      'item.call_id',
    ],
    [
      'an output without a call',
      createItem({ type: 'function_call_output', output: 'x' }),
      'missing_required_parameter',
      'item.call_id',
    ],
    ['mcp_call', createItem({ type: 'mcp_call' }), 'item_not_allowed', 'item.type'],
    ['mcp_list_tools', createItem({ type: 'mcp_list_tools' }), 'item_not_allowed', 'item.type'],
    ['mcp_approval_request', createItem({ type: 'mcp_approval_request' }), 'item_not_allowed', 'item.type'],
    [
      'mcp_approval_response',
      createItem({ type: 'mcp_approval_response', approve: true }),
      'item_not_allowed',
      'item.type',
    ],
    ['item_reference', createItem({ type: 'item_reference', id: 'item_system' }), 'item_not_allowed', 'item.type'],
    [
      'an image by URL',
      createItem(message([{ type: 'input_image', image_url: 'https://x.test/a.png' }])),
      'invalid_value',
      'item.content[0].type',
    ],
    [
      'an image as data',
      createItem(message([{ type: 'input_image', image_url: 'data:image/png;base64,AAAA' }])),
      'invalid_value',
      'item.content[0].type',
    ],
    [
      'output text of a user',
      createItem(message([{ type: 'output_text', text: 'x' }])),
      'invalid_value',
      'item.content[0].type',
    ],
    [
      'a reference as content',
      createItem(message([inputText, { type: 'item_reference', id: 'item_system' }])),
      'invalid_value',
      'item.content[1].type',
    ],
    [
      'content without text',
      createItem(message([{ type: 'input_text' }])),
      'missing_required_parameter',
      'item.content[0].text',
    ],
    [
      'text that is an object',
      createItem(message([{ type: 'input_text', text: {} }])),
      'invalid_value',
      'item.content[0].text',
    ],
    [
      'text that is too long',
      createItem(message([{ type: 'input_text', text: 'x'.repeat(131_073) }])),
      'invalid_value',
      'item.content[0].text',
    ],
    [
      'recorded speech that is not base64',
      createItem(message([{ type: 'input_audio', audio: '!' }])),
      'invalid_value',
      'item.content[0].audio',
    ],
    [
      'recorded speech without audio',
      createItem(message([{ type: 'input_audio', transcript: 'x' }])),
      'missing_required_parameter',
      'item.content[0].audio',
    ],
    ['no content', createItem({ type: 'message', role: 'user' }), 'missing_required_parameter', 'item.content'],
    ['empty content', createItem(message([])), 'invalid_value', 'item.content'],
    ['content that is text', createItem(message('hello')), 'invalid_value', 'item.content'],
    ['too many parts', createItem(message(Array(65).fill(inputText))), 'invalid_value', 'item.content'],
    ['an id of the relay', createItem(message([inputText], { id: 'rly_1' })), 'invalid_value', 'item.id'],
    ['an id in use', createItem(message([inputText], { id: 'item_said' })), 'invalid_value', 'item.id'],
    ['an id in use by the server', createItem(message([inputText], { id: 'item_system' })), 'invalid_value', 'item.id'],
    ['an id with blanks', createItem(message([inputText], { id: 'a b' })), 'invalid_value', 'item.id'],
    ['an id that is too long', createItem(message([inputText], { id: 'x'.repeat(65) })), 'invalid_value', 'item.id'],
    ['an id that is a number', createItem(message([inputText], { id: 1 })), 'invalid_value', 'item.id'],
    ['an id that is a place', createItem(message([inputText], { id: 'root' })), 'invalid_value', 'item.id'],
    [
      'a place after a system item',
      createItem(message([inputText]), { previous_item_id: 'item_system' }),
      'unknown_item',
      'previous_item_id',
    ],
    [
      'a place after an injected item',
      createItem(message([inputText]), { previous_item_id: 'rly_guard' }),
      'unknown_item',
      'previous_item_id',
    ],
    [
      'a place after a list',
      createItem(message([inputText]), { previous_item_id: ['item_said'] }),
      'unknown_item',
      'previous_item_id',
    ],
    ['a retrieve of nothing', { type: 'conversation.item.retrieve' }, 'missing_required_parameter', 'item_id'],
    [
      'a retrieve of a system item',
      { type: 'conversation.item.retrieve', item_id: 'item_system' },
      'unknown_item',
      'item_id',
    ],
    ['a retrieve of a call', { type: 'conversation.item.retrieve', item_id: 'item_call' }, 'unknown_item', 'item_id'],
    [
      'a retrieve of an injected item',
      { type: 'conversation.item.retrieve', item_id: 'rly_guard' },
      'unknown_item',
      'item_id',
    ],
    [
      'a retrieve of what it never saw',
      { type: 'conversation.item.retrieve', item_id: 'item_x' },
      'unknown_item',
      'item_id',
    ],
    [
      'a retrieve of an object',
      { type: 'conversation.item.retrieve', item_id: { id: 'item_said' } },
      'unknown_item',
      'item_id',
    ],
    ['a delete of nothing', { type: 'conversation.item.delete' }, 'missing_required_parameter', 'item_id'],
    [
      'a delete of a system item',
      { type: 'conversation.item.delete', item_id: 'item_system' },
      'unknown_item',
      'item_id',
    ],
    [
      'a delete of an injected item',
      { type: 'conversation.item.delete', item_id: 'rly_guard' },
      'unknown_item',
      'item_id',
    ],
    [
      'a delete of an item of the assistant',
      { type: 'conversation.item.delete', item_id: 'item_said' },
      'item_not_allowed',
      'item_id',
    ],
    [
      "a delete of someone else's item",
      { type: 'conversation.item.delete', item_id: 'item_other' },
      'item_not_allowed',
      'item_id',
    ],
    [
      'a truncate of nothing',
      { type: 'conversation.item.truncate', content_index: 0, audio_end_ms: 1 },
      'missing_required_parameter',
      'item_id',
    ],
    [
      'a truncate of a user item',
      { type: 'conversation.item.truncate', item_id: 'item_mine', content_index: 0, audio_end_ms: 1 },
      'invalid_value',
      'item_id',
    ],
    [
      'a truncate of what it never saw',
      { type: 'conversation.item.truncate', item_id: 'item_x', content_index: 0, audio_end_ms: 1 },
      'unknown_item',
      'item_id',
    ],
    [
      'a truncate without an index',
      { type: 'conversation.item.truncate', item_id: 'item_said', audio_end_ms: 1 },
      'missing_required_parameter',
      'content_index',
    ],
    [
      'a truncate of another part',
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 1, audio_end_ms: 1 },
      'invalid_value',
      'content_index',
    ],
    [
      'a truncate without an end',
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 0 },
      'missing_required_parameter',
      'audio_end_ms',
    ],
    [
      'a truncate before the start',
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 0, audio_end_ms: -1 },
      'invalid_value',
      'audio_end_ms',
    ],
    [
      'a truncate at a fraction',
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 0, audio_end_ms: 1.5 },
      'invalid_value',
      'audio_end_ms',
    ],
    [
      'a truncate at text',
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 0, audio_end_ms: '1' },
      'invalid_value',
      'audio_end_ms',
    ],
    [
      'a truncate beyond all numbers',
      { type: 'conversation.item.truncate', item_id: 'item_said', content_index: 0, audio_end_ms: 1e300 },
      'invalid_value',
      'audio_end_ms',
    ],
    [
      'a cancel of what it never saw',
      { type: 'response.cancel', response_id: 'resp_x' },
      'unknown_response',
      'response_id',
    ],
    ['a cancel of an object', { type: 'response.cancel', response_id: {} }, 'unknown_response', 'response_id'],
    ['a response that is text', respond('x'), 'invalid_value', 'response'],
    [
      'both modalities',
      respond({ output_modalities: ['audio', 'text'] }),
      'invalid_value',
      'response.output_modalities',
    ],
    ['no modality', respond({ output_modalities: [] }), 'invalid_value', 'response.output_modalities'],
    ['another modality', respond({ output_modalities: ['video'] }), 'invalid_value', 'response.output_modalities[0]'],
    ['zero tokens', respond({ max_output_tokens: 0 }), 'invalid_value', 'response.max_output_tokens'],
    ['a fraction of tokens', respond({ max_output_tokens: 1.5 }), 'invalid_value', 'response.max_output_tokens'],
    ['tokens as text', respond({ max_output_tokens: 'infinite' }), 'invalid_value', 'response.max_output_tokens'],
    ['metadata as text', respond({ metadata: 'x' }), 'invalid_value', 'response.metadata'],
    ['metadata with numbers', respond({ metadata: { a: 1 } }), 'invalid_value', 'response.metadata'],
    [
      'metadata with a long key',
      respond({ metadata: { ['k'.repeat(65)]: 'v' } }),
      'invalid_value',
      'response.metadata',
    ],
    ['metadata with a long value', respond({ metadata: { k: 'v'.repeat(513) } }), 'invalid_value', 'response.metadata'],
    [
      'metadata with 17 pairs',
      respond({ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, 'v'])) }),
      'invalid_value',
      'response.metadata',
    ],
    ['an update without a session', { type: 'session.update' }, 'missing_required_parameter', 'session'],
    ['an update of a list', update([]), 'invalid_value', 'session'],
    ['an update of null', update(null), 'invalid_value', 'session'],
    ['another type of session', update({ type: 'transcription' }), 'invalid_value', 'session.type'],
    ['a type of session that is a list', update({ type: ['realtime'] }), 'invalid_value', 'session.type'],
    [
      'another turn detection',
      update({ type: 'realtime', audio: { input: { turn_detection: { type: 'none' } } } }),
      'invalid_value',
      'session.audio.input.turn_detection.type',
    ],
    [
      'a turn detection without a type',
      update({ audio: { input: { turn_detection: {} } } }),
      'missing_required_parameter',
      'session.audio.input.turn_detection.type',
    ],
    [
      'a threshold out of range',
      update({ audio: { input: { turn_detection: { type: 'server_vad', threshold: 2 } } } }),
      'invalid_value',
      'session.audio.input.turn_detection.threshold',
    ],
    [
      'a silence out of range',
      update({ audio: { input: { turn_detection: { type: 'server_vad', silence_duration_ms: -1 } } } }),
      'invalid_value',
      'session.audio.input.turn_detection.silence_duration_ms',
    ],
    [
      'another eagerness',
      update({ audio: { input: { turn_detection: { type: 'semantic_vad', eagerness: 'x' } } } }),
      'invalid_value',
      'session.audio.input.turn_detection.eagerness',
    ],
    [
      'a format by name',
      update({ audio: { input: { format: 'pcm16' } } }),
      'invalid_value',
      'session.audio.input.format',
    ],
    [
      'another rate',
      update({ audio: { input: { format: { type: 'audio/pcm', rate: 16000 } } } }),
      'invalid_value',
      'session.audio.input.format.rate',
    ],
    [
      'a format of null',
      update({ audio: { output: { format: null } } }),
      'invalid_value',
      'session.audio.output.format',
    ],
    [
      'another noise reduction',
      update({ audio: { input: { noise_reduction: { type: 'x' } } } }),
      'invalid_value',
      'session.audio.input.noise_reduction.type',
    ],
    [
      'a speed out of range',
      update({ audio: { output: { speed: 9 } } }),
      'invalid_value',
      'session.audio.output.speed',
    ],
    [
      'both modalities for the session',
      update({ output_modalities: ['text', 'audio'] }),
      'invalid_value',
      'session.output_modalities',
    ],
  ];
  it.each(refused)('%s', (_, body, code, param) => {
    const session = running();
    expect(session.up({ ...body, event_id: 'c_1' })).toBeNull();
    expect(session.refusals).toHaveLength(1);
    const [refusal] = session.refusals;
    expect(refusal).toMatchObject({ code, param, eventId: 'c_1', race: false });
    expect(refusal?.message.length).toBeLessThan(500);
    expect(session.answered).toEqual([]);
    expect(session.decisions.at(-1)?.[2]).toBe('refuse');
  });

  it('an event by a name that is quoted only when it is harmless', () => {
    const session = bench();
    session.up({ type: 'response.steal' });
    session.up({ type: 'x\n"evil"' });
    session.up({ type: 'x'.repeat(1_000_000) });
    expect(session.refusals[0]?.message).toContain("'response.steal'");
    for (const refusal of session.refusals.slice(1)) expect(refusal.message).toMatch(/^Events of type this kind/);
    expect(session.decisions.map(([, type]) => type)).toEqual(['other', 'other', 'other']);
  });

  it('names what would be right', () => {
    const session = bench();
    session.up(update({ audio: { input: { turn_detection: { type: 'x' } } } }));
    session.up(createItem(message([inputText], { role: 'system' })));
    session.up({ type: 'x' });
    expect(session.refusals[0]?.message).toMatch(/server_vad.*semantic_vad/);
    expect(session.refusals[1]?.message).toContain("role 'user'");
    expect(session.refusals[2]?.message).toContain('response.create');
  });

  it('too many items', () => {
    const session = bench({ limits: { items: 3 } });
    for (let n = 0; n < 5; n++) session.up(createItem(message([inputText])));
    expect(session.refusals.map(({ code }) => code)).toEqual(['too_many_items', 'too_many_items']);
  });

  it('a message by an inherited field', () => {
    const session = bench();
    const item = Object.create(message([inputText])) as JsonObject;
    expect(session.up(createItem(item))).toBeNull();
    expect(session.up(Object.create({ type: 'response.create' }) as JsonObject)).toBeNull();
  });
});

describe('the event_id of a client', () => {
  const ids: [string, Json, string | undefined][] = [
    ['is kept', 'evt-1_a.b:c', 'evt-1_a.b:c'],
    ['is kept at 512 characters', 'x'.repeat(512), 'x'.repeat(512)],
    ['is dropped at 513 characters', 'x'.repeat(513), undefined],
    ['is dropped with the prefix of the relay', 'rly_1', undefined],
    ['is dropped with a line break', 'a\nb', undefined],
    ['is dropped when empty', '', undefined],
    ['is dropped when a number', 7, undefined],
    ['is dropped when a list', ['a'], undefined],
  ];
  it.each(ids)('%s', (_, eventId, expected) => {
    expect(bench().up({ type: 'input_audio_buffer.commit', event_id: eventId })?.event_id).toBe(expected);
  });

  it('is not told in a refusal when it was dropped', () => {
    const session = bench();
    session.up({ type: 'nothing', event_id: 'rly_1' });
    session.up({ type: 'nothing', event_id: 'a\nb' });
    expect(session.refusals.map(({ eventId }) => eventId)).toEqual([null, null]);
  });
});

describe('speech that is refused', () => {
  it.each([
    ['AA-_', 'URLs with - and _'],
    ['AA AA AA', 'without blanks'],
    ['AAEC\r\nAwQ=\r\n', 'without line ends'],
    ['AAEC\nAwQF', 'without line ends'],
    ['AAECAwQ', 'with its padding'],
    ['AAECAw=', 'with its padding'],
    ['AA==AAAA', 'without padding before its end'],
    ['data:audio/wav;base64,AAAA', 'data: URL'],
    ['A*AA', 'without other characters'],
    ['AAAAA', 'of whole bytes'],
  ])('is told what is wrong with it: %j', (audio, why) => {
    const session = bench();
    session.up({ type: 'input_audio_buffer.append', audio });
    session.up(createItem(message([{ type: 'input_audio', audio }])));
    for (const { message: said } of session.refusals) expect(said).toMatch(new RegExp(`exact base64 .*${why}`));
    expect(session.refusals).toHaveLength(2);
  });
});

describe('response.create of an end user', () => {
  it('keeps modalities and tokens, and drops everything else', () => {
    const session = bench();
    const sent = session.up(
      respond({
        instructions: 'evil',
        tools: [{ type: 'mcp', server_url: 'https://evil.test' }],
        tool_choice: 'required',
        prompt: { id: 'x' },
        input: null,
        conversation: 'auto',
        reasoning: { effort: 'xhigh' },
        parallel_tool_calls: true,
        temperature: 2,
        audio: { output: { voice: 'x' } },
        output_modalities: ['text'],
        max_output_tokens: 100,
        unknown: 1,
      }),
    );
    expect(sent?.response).toEqual({ output_modalities: ['text'], max_output_tokens: 100, metadata: { rly: '1' } });
    expect(session.refusals).toEqual([]);
  });

  it.each<[string, Json]>([
    ['conversation', 'none'],
    ['conversation', 'conv_1'],
    ['conversation', {}],
    ['input', []],
    ['input', [{ type: 'message', role: 'user', content: [inputText] }]],
    ['tools', []],
    ['tool_choice', 'none'],
  ])('is refused where without %s %j it would do what the client excluded', (field, value) => {
    const session = bench();
    expect(session.up({ ...respond({ [field]: value }), event_id: 'c_1' })).toBeNull();
    expect(session.refusals).toMatchObject([{ code: 'invalid_value', param: `response.${field}`, eventId: 'c_1' }]);
    expect(session.up(respond({ [field]: null }))).not.toBeNull();
  });

  const clamped: [string, Json, Json | undefined, Json | undefined][] = [
    ['less than the profile', 200, 50, 50],
    ['more than the profile', 200, 500, 200],
    ['without end', 200, 'inf', 200],
    ['nothing', 200, undefined, undefined],
    ['without end where the profile has none', 'inf', 'inf', 'inf'],
  ];
  it.each(clamped)('may ask for tokens: %s', (_, set, asked, expected) => {
    const session = bench({ session: { max_output_tokens: set } });
    const sent = session.up(respond(asked === undefined ? {} : { max_output_tokens: asked }));
    expect(wishOf(sent).max_output_tokens).toBe(expected);
  });

  it('may ask for more tokens when the operator lists the field', () => {
    const session = bench({ session: { max_output_tokens: 200 }, client: { may_update: ['max_output_tokens'] } });
    expect(session.up(respond({ max_output_tokens: 500 }))?.response).toMatchObject({ max_output_tokens: 500 });
  });

  it('may ask for text where the profile has audio, but not for audio where it has text', () => {
    const text = bench({ session: { output_modalities: ['text'] } }).up(respond({ output_modalities: ['audio'] }));
    const audio = bench({ session: { output_modalities: ['audio'] } }).up(respond({ output_modalities: ['text'] }));
    expect(wishOf(text).output_modalities).toBeUndefined();
    expect(wishOf(audio).output_modalities).toEqual(['text']);
  });
});

it('raw speech is the same object on the other side', () => {
  const session = bench();
  const event = {
    type: 'input_audio_buffer.append',
    raw: Buffer.from('{}'),
    body: null,
    audioBytes: 3,
    itemId: null,
    responseId: null,
    framed: false,
  };
  expect(session.policy.up(event)).toBe(event);
  expect(session.decisions).toEqual([['up', 'input_audio_buffer.append', 'forward']]);
});

it('nothing raw passes upwards but speech', () => {
  const session = bench();
  const event = {
    type: 'session.update',
    raw: Buffer.from('{}'),
    body: null,
    audioBytes: 0,
    itemId: null,
    responseId: null,
    framed: false,
  };
  expect(session.policy.up(event)).toBeNull();
  expect(session.refusals).toHaveLength(1);
});

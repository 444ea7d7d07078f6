import { describe, expect, it } from 'vitest';
import { serverEvents } from '../../src/protocol/catalogue.js';
import type { Json, JsonObject } from '../../src/protocol/event.js';
import {
  added,
  assistantItem,
  type Bench,
  bench,
  callItem,
  created,
  done,
  effective,
  outputItem,
  speech,
  userItem,
} from './bench.js';

/** A session in which a response is running that has brought forth one item to see and one to hide. */
function running(settings: Record<string, unknown> = {}): Bench {
  const session = bench(settings);
  session.all(
    added(userItem('item_u')),
    created('resp_1'),
    outputItem('resp_1', assistantItem('item_a')),
    outputItem('resp_1', callItem('item_f', 'server_tool', 'call_f')),
  );
  const ask = session.policy.injected({ type: 'response.create', response: { conversation: 'none' } });
  session.all(
    created('resp_hidden', (ask.response as JsonObject).metadata as Json),
    outputItem('resp_hidden', assistantItem('item_hidden')),
  );
  return session;
}

const position = { response_id: 'resp_1', item_id: 'item_a', output_index: 0, content_index: 0 };
const secret = { obfuscation: 'words, not padding', logprobs: [], session: { instructions: 'x' }, unknown: 'x' };

describe('a client sees, without what is not of the event', () => {
  const seen: [string, JsonObject][] = [
    ['conversation.created', { conversation: { id: 'conv_1', object: 'realtime.conversation' } }],
    ['conversation.item.truncated', { item_id: 'item_a', content_index: 0, audio_end_ms: 850 }],
    ['conversation.item.deleted', { item_id: 'item_u' }],
    ['conversation.item.input_audio_transcription.delta', { item_id: 'item_u', content_index: 0, delta: 'Hel' }],
    [
      'conversation.item.input_audio_transcription.completed',
      { item_id: 'item_u', content_index: 0, transcript: 'Hello', usage: { type: 'duration', seconds: 2 } },
    ],
    [
      'conversation.item.input_audio_transcription.segment',
      { item_id: 'item_u', content_index: 0, id: 's', text: 'Hi', speaker: 'A', start: 0, end: 1.5 },
    ],
    ['input_audio_buffer.committed', { item_id: 'item_v', previous_item_id: 'item_u' }],
    ['input_audio_buffer.cleared', {}],
    ['input_audio_buffer.speech_started', { item_id: 'item_v', audio_start_ms: 10 }],
    ['input_audio_buffer.speech_stopped', { item_id: 'item_v', audio_end_ms: 20 }],
    ['input_audio_buffer.timeout_triggered', { item_id: 'item_v', audio_start_ms: 1, audio_end_ms: 2 }],
    ['input_audio_buffer.dtmf_event_received', { event: '5', received_at: 1_795_341_600 }],
    ['output_audio_buffer.started', { response_id: 'resp_1' }],
    ['output_audio_buffer.stopped', { response_id: 'resp_1' }],
    ['output_audio_buffer.cleared', { response_id: 'resp_1' }],
    ['response.content_part.added', { ...position, part: { type: 'text', text: '' } }],
    ['response.content_part.done', { ...position, part: { type: 'audio', transcript: 'Hi' } }],
    ['response.output_text.delta', { ...position, delta: 'Hi' }],
    ['response.output_text.done', { ...position, text: 'Hi' }],
    ['response.output_audio.delta', { ...position, delta: 'AAAA' }],
    ['response.output_audio.done', position],
    ['response.output_audio_transcript.delta', { ...position, delta: 'Hi' }],
    ['response.output_audio_transcript.done', { ...position, transcript: 'Hi' }],
  ];
  it.each(seen)('%s', (type, fields) => {
    const session = running();
    expect(session.down({ type, event_id: 'event_1', ...fields, ...secret })).toEqual([
      { type, event_id: 'event_1', ...fields },
    ]);
    expect(session.decisions.at(-1)).toEqual(['down', type, 'rebuild']);
  });

  it.each([
    ['conversation.item.input_audio_transcription.delta', { item_id: 'item_u', content_index: 0, delta: 'Hel' }],
    ['response.output_text.delta', { ...position, delta: 'Hi' }],
    ['response.output_audio_transcript.delta', { ...position, delta: 'Hi\\n' }],
  ])('the padding that hides how long the words of %s are', (type, fields) => {
    for (const obfuscation of ['', 'aB3dE5fG7h']) {
      const padded = { type, event_id: 'event_1', ...fields, obfuscation };
      expect(running().down({ ...padded, ...{ logprobs: [] } })).toEqual([padded]);
    }
  });

  it.each(['conversation.item.added', 'conversation.item.done', 'conversation.item.created'])('%s', (type) => {
    const item = { ...userItem('item_n'), object: 'realtime.item', secret: 1 };
    const { secret: _, ...kept } = item;
    expect(running().down({ type, event_id: 'e', previous_item_id: 'item_u', item, ...secret })).toEqual([
      { type, event_id: 'e', previous_item_id: 'item_u', item: kept },
    ]);
  });

  it.each(['response.output_item.added', 'response.output_item.done'])('%s', (type) => {
    const item = {
      ...assistantItem('item_n'),
      phase: 'final_answer',
      content: [{ type: 'output_audio', transcript: 'Hi', secret: 1 }, { type: 'secret' }],
    };
    const [seen] = running().down({ type, event_id: 'e', response_id: 'resp_1', output_index: 1, item, ...secret });
    expect(seen).toEqual({
      type,
      event_id: 'e',
      response_id: 'resp_1',
      output_index: 1,
      item: { ...item, content: [{ type: 'output_audio', transcript: 'Hi' }] },
    });
  });

  it('a failed transcription in words of our own', () => {
    const error = { type: 'transcription_error', code: 'audio_unintelligible', message: 'secret', param: 'secret' };
    const type = 'conversation.item.input_audio_transcription.failed';
    const [seen] = running().down({ type, event_id: 'e', item_id: 'item_u', content_index: 0, error });
    expect(seen).toMatchObject({ error: { type: 'transcription_error', code: 'audio_unintelligible', param: null } });
    expect(JSON.stringify(seen)).not.toContain('secret');
  });

  it('an item it asked for, once', () => {
    const session = running();
    const event = { type: 'conversation.item.retrieved', event_id: 'e', item: userItem('item_u') };
    expect(session.down(event)).toEqual([]);
    session.up({ type: 'conversation.item.retrieve', item_id: 'item_u' });
    expect(session.down(event)).toEqual([event]);
    expect(session.down(event)).toEqual([]);
  });
});

describe('a client does not see', () => {
  const item = (fields: JsonObject): JsonObject => ({ id: 'item_n', status: 'completed', ...fields });
  const hidden: [string, JsonObject][] = [
    ['a system message', added(item({ type: 'message', role: 'system', content: [] }))],
    ['a developer message', added(item({ type: 'message', role: 'developer', content: [] }))],
    ['a message without a role', added(item({ type: 'message', content: [] }))],
    ['a message with a list for a role', added(item({ type: 'message', role: ['user'], content: [] }))],
    ['a function call', added(callItem('item_n', 'server_tool', 'call_1'))],
    [
      'a function call that names itself a user',
      added({ ...callItem('item_n', 'server_tool', 'call_1'), role: 'user' }),
    ],
    ['a function call output', added(item({ type: 'function_call_output', call_id: 'call_f', output: 'secret' }))],
    ['mcp_list_tools', added(item({ type: 'mcp_list_tools', tools: [] }))],
    ['mcp_call', added(item({ type: 'mcp_call', arguments: '{}' }))],
    ['mcp_approval_request', added(item({ type: 'mcp_approval_request' }))],
    ['an item of no known type', added(item({ type: 'reasoning', role: 'assistant' }))],
    ['an item of a type that is user', added(item({ type: 'user' }))],
    ['an item without a type', added(item({ role: 'user' }))],
    ['an item without an id', added({ type: 'message', role: 'user', content: [] })],
    ['an item that is text', { type: 'conversation.item.added', item: 'x' }],
    ['an item of the relay', added(userItem('rly_i1'))],
    ['an item once hidden', added({ ...assistantItem('item_f') })],
    ['an item of a hidden response', added({ ...assistantItem('item_hidden') })],
    ['an output item of a hidden response', outputItem('resp_hidden', assistantItem('item_n'))],
    ['an output item of an unknown response', outputItem('resp_x', assistantItem('item_n'))],
    ['a call in a response', outputItem('resp_1', callItem('item_n', 'server_tool', 'call_1'))],
    ['a deleted hidden item', { type: 'conversation.item.deleted', item_id: 'item_f' }],
    ['a deleted unknown item', { type: 'conversation.item.deleted', item_id: 'item_x' }],
    ['a truncated hidden item', { type: 'conversation.item.truncated', item_id: 'item_hidden', audio_end_ms: 1 }],
    ['speech for an item of the relay', { type: 'input_audio_buffer.committed', item_id: 'rly_i1' }],
    ['speech for a hidden item', { type: 'input_audio_buffer.speech_started', item_id: 'item_f', audio_start_ms: 1 }],
    [
      'a transcription of a hidden item',
      { type: 'conversation.item.input_audio_transcription.delta', item_id: 'item_f', delta: 'x' },
    ],
    ['a retrieved item nobody asked for', { type: 'conversation.item.retrieved', item: userItem('item_u') }],
    ['a hidden response', done('resp_hidden')],
    ['a response that never began', done('resp_x')],
    ['a response without an id', { type: 'response.created', response: { status: 'in_progress' } }],
    [
      'text of a hidden response',
      { type: 'response.output_text.delta', ...position, response_id: 'resp_hidden', delta: 'x' },
    ],
    ['text of a hidden item', { type: 'response.output_text.delta', ...position, item_id: 'item_f', delta: 'x' }],
    ['text of no item', { type: 'response.output_text.delta', response_id: 'resp_1', delta: 'x' }],
    ['text of no response', { type: 'response.output_text.delta', item_id: 'item_a', delta: 'x' }],
    ['text of an object', { type: 'response.output_text.delta', ...position, item_id: { id: 'item_a' }, delta: 'x' }],
    ['a part of a hidden item', { type: 'response.content_part.added', ...position, item_id: 'item_hidden', part: {} }],
    [
      'a transcript of a hidden item',
      { type: 'response.output_audio_transcript.done', ...position, item_id: 'item_hidden' },
    ],
    [
      'speech of a hidden response',
      { type: 'response.output_audio.delta', ...position, response_id: 'resp_hidden', delta: 'AAAA' },
    ],
    ['playback of a hidden response', { type: 'output_audio_buffer.started', response_id: 'resp_hidden' }],
    ['arguments', { type: 'response.function_call_arguments.delta', ...position, item_id: 'item_f', delta: '{' }],
    ['arguments of a message', { type: 'response.function_call_arguments.delta', ...position, delta: '{' }],
    [
      'arguments at the end',
      { type: 'response.function_call_arguments.done', ...position, name: 'server_tool', arguments: '{}' },
    ],
    ['mcp arguments', { type: 'response.mcp_call_arguments.delta', ...position, delta: '{' }],
    ['mcp arguments at the end', { type: 'response.mcp_call_arguments.done', ...position, arguments: '{}' }],
    ['mcp progress', { type: 'response.mcp_call.in_progress', item_id: 'item_a', output_index: 0 }],
    ['mcp success', { type: 'response.mcp_call.completed', item_id: 'item_a', output_index: 0 }],
    ['mcp failure', { type: 'response.mcp_call.failed', item_id: 'item_a', output_index: 0 }],
    ['tools being listed', { type: 'mcp_list_tools.in_progress', item_id: 'item_a' }],
    ['tools listed', { type: 'mcp_list_tools.completed', item_id: 'item_a' }],
    ['tools not listed', { type: 'mcp_list_tools.failed', item_id: 'item_a' }],
    ['rate limits', { type: 'rate_limits.updated', rate_limits: [{ name: 'tokens', limit: 1 }] }],
    ["upstream's own session.created", { type: 'session.created', session: effective() }],
    ['an update nobody asked for', { type: 'session.updated', session: effective() }],
    [
      'transcription_session.created',
      { type: 'transcription_session.created', session: { client_secret: { value: 'x' } } },
    ],
    ['transcription_session.updated', { type: 'transcription_session.updated', session: {} }],
    ['a preview event', { type: 'response.text.delta', ...position, delta: 'x' }],
    ['an unknown event', { type: 'response.secret', ...position }],
    ['a client event', { type: 'session.update', session: {} }],
    ['an event without a type', { session: effective() }],
    ['a type that every object has', { type: 'constructor' }],
    ['a type that is a list', { type: ['input_audio_buffer.cleared'] }],
  ];
  it.each(hidden)('%s', (_, body) => {
    const session = running();
    expect(session.down({ event_id: 'e', ...body })).toEqual([]);
    expect(session.decisions.at(-1)?.[2]).toBe('drop');
  });
});

it('does not show what is said of an item of no known type', () => {
  const session = running();
  session.down(added({ id: 'item_n', type: 'user' }));
  expect(session.down({ type: 'response.output_text.delta', ...position, item_id: 'item_n', delta: 'x' })).toEqual([]);
});

it('has a rule for every server event', () => {
  const session = running({ client: { trust: 'trusted' } });
  const answered = ['error', 'session.created', 'session.updated'];
  const raw: Record<string, JsonObject> = {
    'conversation.item.retrieved': { item: userItem('item_u') },
    'response.created': created('resp_9'),
    'response.done': done('resp_1'),
  };
  session.up({ type: 'conversation.item.retrieve', item_id: 'item_u' });
  for (const type of serverEvents.filter((name) => !answered.includes(name) && name !== 'conversation.item.deleted')) {
    const item = type.includes('output_item') ? assistantItem('item_a') : userItem('item_u');
    const body = raw[type] ?? { ...position, item, call_id: 'call_f', part: {}, rate_limits: [] };
    expect(session.down({ ...body, event_id: 'e', type }), type).toHaveLength(1);
  }
});

describe('previous_item_id', () => {
  const chain = (): Bench => {
    const session = bench();
    session.all(
      added(userItem('item_1')),
      added(callItem('item_2', 'server_tool', 'call_1'), 'item_1'),
      added({ id: 'item_3', type: 'function_call_output', call_id: 'call_1', output: 'x' }, 'item_2'),
    );
    return session;
  };
  const previous = (session: Bench, id: Json): Json | undefined =>
    session.down({ type: 'conversation.item.added', item: assistantItem('item_9'), previous_item_id: id })[0]
      ?.previous_item_id;

  it('is the nearest item the client was shown', () => {
    expect(previous(chain(), 'item_3')).toBe('item_1');
    expect(previous(chain(), 'item_1')).toBe('item_1');
  });
  it('is null where nothing was shown before, or the item is unknown', () => {
    const session = bench();
    session.down(added(callItem('item_0', 'server_tool', 'call_1')));
    expect(previous(session, 'item_0')).toBeNull();
    expect(previous(session, 'item_x')).toBeNull();
    expect(previous(session, null)).toBeNull();
    expect(previous(session, { id: 1 })).toBeNull();
  });
  it('skips an item that was deleted', () => {
    const session = chain();
    session.down(added(userItem('item_4'), 'item_3'));
    session.down({ type: 'conversation.item.deleted', item_id: 'item_4' });
    expect(previous(session, 'item_4')).toBe('item_1');
  });
  it('is absent where upstream gave none', () => {
    const [seen] = bench().down({ type: 'conversation.item.added', item: assistantItem('item_9') });
    expect(Object.keys(seen ?? {})).not.toContain('previous_item_id');
  });
  it('of speech is mapped too', () => {
    const [seen] = chain().down({
      type: 'input_audio_buffer.committed',
      item_id: 'item_5',
      previous_item_id: 'item_3',
    });
    expect(seen?.previous_item_id).toBe('item_1');
  });
  it('ends in a circle', () => {
    const session = bench();
    session.down(added(callItem('item_a', 'x', 'c'), 'item_b'));
    session.down(added(callItem('item_b', 'x', 'c'), 'item_a'));
    session.down(added(callItem('item_a', 'x', 'c'), 'item_b'));
    session.down(added(callItem('item_a', 'x', 'c'), 'item_a'));
    expect(previous(session, 'item_a')).toBeNull();
  });
});

describe('response.done', () => {
  it('keeps what a client may know and nothing else', () => {
    const session = running();
    const usage = {
      total_tokens: 47,
      input_tokens: 42,
      output_tokens: 5,
      input_token_details: {
        text_tokens: 42,
        audio_tokens: 0,
        image_tokens: 0,
        cached_tokens: 0,
        cached_tokens_details: { text_tokens: 0, audio_tokens: 0, image_tokens: 0 },
      },
      // Numbers that no table knows are what something cost, and nobody's secret.
      output_token_details: { text_tokens: 5, audio_tokens: 0, reasoning_tokens: 3 },
      search_requests: 2,
      tool_details: { search: { calls: 2 } },
    };
    const secrets = { secret: 'x', Secret: 1, list: [1], tool_details: { ...usage.tool_details, name: 'secret' } };
    const [seen] = session.down(
      done('resp_1', {
        status_details: { type: 'cancelled', reason: 'turn_detected', secret: 1 },
        output: [
          assistantItem('item_a'),
          callItem('item_f', 'server_tool', 'call_f'),
          assistantItem('rly_x'),
          'x',
          null,
        ],
        conversation_id: 'conv_1',
        output_modalities: ['audio'],
        max_output_tokens: 777,
        audio: { output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'marin', secret: 1 }, secret: 1 },
        usage: { ...usage, ...secrets },
        metadata: { rly: '9', secret: 'x' },
        instructions: 'secret',
        tools: ['secret'],
        prompt: { id: 'secret' },
      }),
    );
    expect(seen?.response).toEqual({
      object: 'realtime.response',
      id: 'resp_1',
      status: 'completed',
      status_details: { type: 'cancelled', reason: 'turn_detected' },
      output: [assistantItem('item_a')],
      conversation_id: 'conv_1',
      output_modalities: ['audio'],
      max_output_tokens: 'inf',
      audio: { output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'marin' } },
      usage,
      metadata: null,
    });
  });

  it.each([
    ['rate_limit_exceeded', 'rate_limit_exceeded'],
    ['insufficient_quota', 'upstream_error'],
    [null, 'upstream_error'],
  ])('tells of an error %s as %s, in words of our own', (code, told) => {
    const error = { type: 'server_error', code, message: 'Deployment secret in westeurope is over its quota' };
    const [seen] = running().down(done('resp_1', { status: 'failed', status_details: { type: 'failed', error } }));
    expect(seen).toMatchObject({ response: { status_details: { type: 'failed', error: { code: told } } } });
    expect(JSON.stringify(seen)).not.toMatch(/secret|westeurope|quota/i);
  });
});

describe('raw speech of the model', () => {
  it('is the same object on the other side', () => {
    const session = running();
    const event = speech('item_a', 'resp_1');
    expect(session.policy.down(event)).toBe(event);
    expect(session.policy.down(event)).toBe(event);
    expect(session.decisions.at(-1)).toEqual(['down', 'response.output_audio.delta', 'forward']);
  });
  it.each([
    ['item_hidden', 'resp_hidden'],
    ['item_a', 'resp_hidden'],
    ['item_f', 'resp_1'],
    ['item_x', 'resp_1'],
    ['item_a', 'resp_x'],
    [null, 'resp_1'],
    ['item_a', null],
    [null, null],
  ])('of item %s in response %s is kept back', (itemId, responseId) => {
    const session = running();
    expect(session.policy.down(speech(itemId, responseId))).toBeNull();
    session.policy.down(speech('item_a', 'resp_1'));
    expect(session.policy.down(speech(itemId, responseId))).toBeNull();
    expect(session.decisions.at(-1)?.[2]).toBe('drop');
  });
  it('stops when its item is deleted', () => {
    const session = running();
    const event = speech('item_a', 'resp_1');
    session.policy.down(event);
    session.down({ type: 'conversation.item.deleted', item_id: 'item_a' });
    expect(session.policy.down(event)).toBeNull();
  });
  it('is the only raw event that passes', () => {
    const session = running();
    expect(session.policy.down({ ...speech('item_a', 'resp_1'), type: 'session.updated' })).toBeNull();
  });
});

describe('unknown events, when the profile forwards them', () => {
  const settings = { client: { unknown_events: 'forward' } };
  const harmless: JsonObject[] = [
    { mood: 'calm' },
    { item_id: 'item_a', level: 3 },
    { response_id: 'resp_1', nested: { item_id: 'item_u', list: [1, null, true] } },
    { item: userItem('item_u') },
    { previous_item_id: null },
  ];
  it.each(harmless)('pass: %j', (fields) => {
    const body = { type: 'response.new_thing', event_id: 'e', ...fields };
    expect(running(settings).down(body)).toEqual([body]);
  });
  const harmful: JsonObject[] = [
    { item_id: 'item_f' },
    { item_id: 'item_x' },
    { item_id: {} },
    { response_id: 'resp_hidden' },
    { nested: [{ deep: { response_id: 'resp_x' } }] },
    { previous_item_id: 'item_f' },
    { item: callItem('item_n', 'server_tool', 'c') },
    { items: [userItem('item_u'), { id: 'item_s', type: 'message', role: 'system', content: [] }] },
    { anything: { object: 'realtime.item', id: 'item_q' } },
    { result: { object: 'realtime.response', id: 'resp_hidden' } },
    { session: effective() },
    { config: { instructions: 'x' } },
    { a: { tools: [] } },
    { prompt: { id: 'x' } },
    { call_id: 'call_f' },
    { arguments: '{}' },
    { error: { message: 'x' } },
    { metadata: { rly: '1' } },
    { authorization: 'x' },
    { about: ['item_f'] },
    { about: 'rly_i1' },
  ];
  it.each(harmful)('are kept back whole: %j', (fields) => {
    expect(running(settings).down({ type: 'response.new_thing', event_id: 'e', ...fields })).toEqual([]);
  });
  it('are counted under one name', () => {
    const session = running(settings);
    session.down({ type: 'response.new_thing' });
    expect(session.decisions.at(-1)).toEqual(['down', 'other', 'rebuild']);
  });
});

it('gives an event a new id when its own is not fit to be passed on', () => {
  const session = running();
  const ids = [undefined, 5, 'a\nb', 'x'.repeat(513), 'event_ok'].map(
    (event_id) =>
      session.down({ type: 'input_audio_buffer.cleared', ...(event_id === undefined ? {} : { event_id }) })[0]
        ?.event_id,
  );
  expect(ids).toEqual([...Array(4).fill(expect.stringMatching(/^event_made_/)), 'event_ok']);
});

describe('a list of a form that is not known', () => {
  const completed = 'conversation.item.input_audio_transcription.completed';
  const told = (languages: Json) => {
    const session = bench();
    session.down(added(userItem('item_u')));
    return session.down({ type: completed, item_id: 'item_u', content_index: 0, transcript: 'Hi', languages })[0];
  };
  it.each<[Json]>([
    [['en', 'de']],
    [[{ code: 'en' }, { code: 'de' }]],
    [['en', { code: 'de', confidence: 0.5 }]],
    [[]],
  ])('is no cause to keep back %j', (languages) => expect(told(languages)?.languages).toEqual(languages));
  it.each<[Json]>([[[['en']]], [['en', 7]], ['en'], [[{ en: 1 }]]])(
    'is left out as a whole, never told as another: %j',
    (languages) => expect(told(languages)).not.toHaveProperty('languages'),
  );
  it('shows of objects what is known of them', () => {
    expect(told([{ code: 'en', secret: 1 }])?.languages).toEqual([{ code: 'en' }]);
  });
});

describe('an item that the client made without naming it', () => {
  it('is the one that comes into the conversation, not what a response says meanwhile', () => {
    const session = bench();
    session.all(created('resp_1'));
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hello' }] };
    session.up({ type: 'conversation.item.create', item });
    session.all(
      outputItem('resp_1', assistantItem('item_said')),
      added(assistantItem('item_said')),
      added(userItem('item_mine')),
    );
    const erase = (id: string) => session.up({ type: 'conversation.item.delete', item_id: id });
    expect(erase('item_said')).toBeNull();
    expect(session.refusals).toMatchObject([{ code: 'item_not_allowed' }]);
    expect(erase('item_mine')).toMatchObject({ item_id: 'item_mine' });
  });
});

describe('a refusal of upstream that names no event', () => {
  const refusal = { type: 'error', event_id: 'event_e', error: { code: 'invalid_tool_call_id', event_id: null } };

  it('of the output of a call is kept from who could not have sent one', () => {
    expect(bench().down(refusal)).toEqual([]);
  });

  it('of the output of a call is told to who may have sent one', () => {
    const tools = [{ name: 'map', runs: 'client' }];
    expect(bench({ tools }).down(refusal)).toMatchObject([{ type: 'error', error: { code: 'upstream_error' } }]);
    expect(bench({ client: { trust: 'trusted' } }).down(refusal)).toMatchObject([{ type: 'error' }]);
  });
});

import type { Buffer } from 'node:buffer';
import { afterEach, describe, expect, it } from 'vitest';
import { arena, canaries, dialects, evil, type Victim } from './arena.js';

const field = arena();
let cases = 0;
afterEach(async () => {
  if (++cases % 20 === 0) await field.honestTurn();
});

type Body = Record<string, unknown>;
const audio = 'RVZJTFdPUkRFVklM';
const call = {
  id: 'item_c',
  type: 'function_call',
  status: 'completed',
  name: canaries.tool,
  call_id: 'call_1',
  arguments: evil,
};
const text = (role: string | undefined, id = 'item_s') => ({
  id,
  type: 'message',
  status: 'completed',
  ...(role !== undefined && { role }),
  content: [{ type: 'input_text', text: evil }],
});
const added = (item: unknown) => ({ type: 'conversation.item.added', event_id: 'e', previous_item_id: null, item });
const output = (item: unknown, response_id: unknown = 'resp_1') => ({
  type: 'response.output_item.added',
  event_id: 'e',
  response_id,
  output_index: 0,
  item,
});
const at = { event_id: 'e', response_id: 'resp_1', item_id: 'item_1', output_index: 0, content_index: 0 };
const done = (fields: Body) => ({
  type: 'response.done',
  event_id: 'e',
  response: { object: 'realtime.response', id: 'resp_1', status: 'completed', output: [], ...fields },
});
const session = {
  type: 'realtime',
  object: 'realtime.session',
  id: evil,
  model: evil,
  instructions: evil,
  tools: [call],
  prompt: { id: evil },
  tracing: { workflow_name: evil },
  include: [evil],
  client_secret: { value: evil },
  [evil]: evil,
  audio: { input: { transcription: { model: evil, prompt: evil }, [evil]: 1 }, output: { [evil]: 1 } },
};

/** Has upstream begin an answer the client may see: response `resp_1` with the message `item_1`. */
async function answering(dialect: 'ga' | 'preview'): Promise<Victim> {
  const victim = await field.victim(dialect);
  if (victim.client.types().includes('response.created')) return victim;
  victim.passage.inject({
    type: 'response.created',
    event_id: 'e',
    response: { object: 'realtime.response', id: 'resp_1', status: 'in_progress', output: [], metadata: null },
  });
  victim.passage.inject(
    output({ id: 'item_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] }),
  );
  // What is hidden once stays hidden under whatever guise it comes again.
  victim.passage.inject(added({ ...call, id: 'item_h' }));
  victim.passage.inject(added(text('system', 'item_y')));
  await victim.client.next('response.output_item.added');
  return victim;
}

const hidden: readonly (readonly [name: string, event: object | string | Buffer])[] = [
  ['a session nobody asked for', { type: 'session.updated', event_id: 'e', session }],
  ['another greeting', { type: 'session.created', event_id: 'e', session }],
  [
    'a preview session',
    {
      type: 'session.updated',
      event_id: 'e',
      session: { ...session, type: undefined, voice: evil, input_audio_transcription: { model: evil } },
    },
  ],
  ['a transcription session', { type: 'transcription_session.updated', event_id: 'e', session }],
  ['a session that is a list', { type: 'session.updated', session: [session] }],
  ['an event nobody knows', { type: 'session.debug_snapshot', session, instructions: evil }],
  ['an event of the relay', { type: 'relay.draining', instructions: evil }],
  ['a client event', { type: 'session.update', session }],
  ['type missing', { session }],
  ['type a list', { type: ['response.done'], response: { instructions: evil } }],
  ['type __proto__', { type: '__proto__', session }],
  ['type toString', { type: 'toString', session }],
  ['type in capitals', { type: 'SESSION.UPDATED', session }],
  ['type with a blank', { type: 'session.updated ', session }],
  ['a preview name of speech', { type: 'response.audio.delta', ...at, delta: audio }],
  ['a preview name of text', { type: 'response.text.delta', ...at, delta: evil }],
  [
    'rate limits',
    { type: 'rate_limits.updated', rate_limits: [{ name: evil, limit: 1, remaining: 1, reset_seconds: 1 }] },
  ],
  ...['system', 'developer', 'tool', 'SYSTEM', 'system ', '', undefined].map(
    (role) => [`a message of role ${role}`, added(text(role))] as const,
  ),
  ['a message of a role that is a list', added({ ...text('user'), role: ['user'] })],
  ['a system message as output', output(text('system'))],
  ['a system message at its end', { type: 'conversation.item.done', item: text('system') }],
  ['a system message under a preview name', { type: 'conversation.item.created', item: text('system') }],
  ['a system message in a list', added([text('system')])],
  [
    'a system message in a message',
    added({ ...text('user', 'item_n'), content: [text('system')], item: text('system') }),
  ],
  ['a system message retrieved', { type: 'conversation.item.retrieved', item: text('system') }],
  ['a message of the user retrieved, unasked', { type: 'conversation.item.retrieved', item: text('user', 'item_r') }],
  ['a function call', added(call)],
  ['a function call as output', output(call)],
  ['a function call at its end', { ...output(call), type: 'response.output_item.done' }],
  ['a function call without a name', added({ ...call, name: undefined })],
  ['a function call named like __proto__', added({ ...call, name: '__proto__' })],
  ['a function call that says it is for the client', added({ ...call, runs: 'client', client_tool: true })],
  ['a function call of another type', added({ ...call, type: 'Function_Call' })],
  ['a tool call of a new type', added({ ...call, type: 'custom_tool_call', input: evil })],
  ['the output of a function', added({ id: 'item_o', type: 'function_call_output', call_id: 'call_1', output: evil })],
  ['the output of an unknown call', added({ id: 'item_p', type: 'function_call_output', call_id: 'x', output: evil })],
  [
    'an MCP call',
    added({ id: 'item_m', type: 'mcp_call', server_label: evil, name: evil, arguments: evil, output: evil }),
  ],
  ['an MCP inventory', added({ id: 'item_l', type: 'mcp_list_tools', server_label: evil, tools: [call] })],
  ['an MCP approval request', added({ id: 'item_a', type: 'mcp_approval_request', name: evil, arguments: evil })],
  ['reasoning', added({ id: 'item_q', type: 'reasoning', content: [{ text: evil }] })],
  ["an item of the relay's", added(text('user', 'rly_i7'))],
  [
    "an item of the relay's as output",
    output({ ...text('assistant', 'rly_i8'), content: [{ type: 'output_text', text: evil }] }),
  ],
  ['an item without an id', added({ ...text('user'), id: undefined })],
  ['an item with an empty id', added(text('user', ''))],
  ['an item whose id is a list', added({ ...text('user'), id: ['item_1'] })],
  ['an item once hidden, as a message', added(text('assistant', 'item_h'))],
  ['an item once hidden, of the user', added(text('user', 'item_y'))],
  ['an item once hidden, as output', output(text('assistant', 'item_h'))],
  ['an item of an unknown response', output(text('assistant', 'item_u'), 'resp_x')],
  ['an item of a response that is a list', output(text('assistant', 'item_v'), ['resp_1'])],
  ['an item no response brought forth', { type: 'response.output_item.added', item: text('assistant', 'item_w') }],
  [
    'content of a new type',
    added({ ...text('user', 'item_t'), content: [{ type: 'tool_result', text: evil, output: evil }] }),
  ],
  [
    'fields of its own in an item',
    added({
      ...text('user', 'item_z'),
      content: [],
      instructions: evil,
      metadata: { a: evil },
      tools: [call],
      [evil]: 1,
    }),
  ],
  [
    'fields of its own in content',
    added({
      ...text('user', 'item_k'),
      content: [{ type: 'input_text', text: 'hi', instructions: evil, annotations: [evil] }],
    }),
  ],
  [
    'arguments of a hidden call',
    { type: 'response.function_call_arguments.delta', ...at, item_id: 'item_h', call_id: 'call_1', delta: evil },
  ],
  [
    'arguments of a hidden call, whole',
    {
      type: 'response.function_call_arguments.done',
      ...at,
      item_id: 'item_h',
      call_id: 'call_1',
      name: canaries.tool,
      arguments: evil,
    },
  ],
  ['arguments on a message', { type: 'response.function_call_arguments.delta', ...at, call_id: 'call_1', delta: evil }],
  [
    'arguments on a message, whole',
    { type: 'response.function_call_arguments.done', ...at, call_id: 'call_1', name: 'client_tool', arguments: evil },
  ],
  ['arguments on nothing', { type: 'response.function_call_arguments.done', arguments: evil }],
  ['arguments of an MCP call', { type: 'response.mcp_call_arguments.delta', ...at, delta: evil }],
  ['an MCP call under way', { type: 'response.mcp_call.in_progress', ...at, name: evil }],
  ['an MCP inventory under way', { type: 'mcp_list_tools.completed', item_id: 'item_1', tools: [evil] }],
  ['text of a hidden item', { type: 'response.output_text.delta', ...at, item_id: 'item_h', delta: evil }],
  [
    'text of a hidden item that names another in its words',
    `{"type":"response.output_text.delta","response_id":"resp_1","item_id":"item_h","delta":"${evil}\\",\\"item_id\\":\\"item_1"}`,
  ],
  [
    'text of a hidden item with blanks',
    `{ "delta" : "${evil}" , "item_id" : "item_h" , "response_id" : "resp_1" , "type" : "response.output_text.delta" }`,
  ],
  [
    'a transcript of a hidden item, by words',
    { type: 'response.output_audio_transcript.delta', ...at, item_id: 'item_h', delta: evil },
  ],
  ['words with a field of its own', { type: 'response.output_text.delta', ...at, delta: 'a', instructions: evil }],
  ['words of a call', { type: 'response.output_text.delta', ...at, call_id: evil, delta: 'a' }],
  ['text of an unknown item', { type: 'response.output_text.delta', ...at, item_id: 'item_x', delta: evil }],
  ['text of an unknown response', { type: 'response.output_text.delta', ...at, response_id: 'resp_x', delta: evil }],
  ['text of no response', { type: 'response.output_text.done', item_id: 'item_1', text: evil }],
  ['text that is an object', { type: 'response.output_text.delta', ...at, delta: { a: evil } }],
  [
    'a transcript of a hidden item',
    { type: 'response.output_audio_transcript.done', ...at, item_id: 'item_h', transcript: evil },
  ],
  [
    'what the user said in a hidden item',
    { type: 'conversation.item.input_audio_transcription.completed', item_id: 'item_y', transcript: evil },
  ],
  [
    'log probabilities',
    {
      type: 'conversation.item.input_audio_transcription.delta',
      item_id: 'item_1',
      delta: '',
      logprobs: [evil],
      obfuscation: evil,
    },
  ],
  [
    'a part of a hidden item',
    { type: 'response.content_part.added', ...at, item_id: 'item_h', part: { type: 'text', text: evil } },
  ],
  [
    'a part with fields of its own',
    { type: 'response.content_part.done', ...at, part: { type: 'text', text: '', instructions: evil } },
  ],
  [
    'a hidden item truncated',
    { type: 'conversation.item.truncated', item_id: 'item_h', content_index: 0, audio_end_ms: 1, [evil]: 1 },
  ],
  ['a hidden item deleted', { type: 'conversation.item.deleted', item_id: 'item_h', [evil]: 1 }],
  ['speech of a hidden item', { type: 'response.output_audio.delta', ...at, item_id: 'item_h', delta: audio }],
  ['speech of an unknown item', { type: 'response.output_audio.delta', ...at, item_id: 'item_x', delta: audio }],
  [
    'speech of an unknown response',
    { type: 'response.output_audio.delta', ...at, response_id: 'resp_x', delta: audio },
  ],
  ['speech of no item', { type: 'response.output_audio.delta', delta: audio }],
  ['speech with a field of its own', { type: 'response.output_audio.delta', ...at, delta: 'AAAA', instructions: evil }],
  [
    'a response of the relay',
    { type: 'response.created', response: { id: 'rly_888', metadata: { a: evil }, instructions: evil } },
  ],
  [
    'a response with fields of its own',
    {
      type: 'response.created',
      response: {
        id: 'resp_2',
        output: [],
        instructions: evil,
        tools: [call],
        metadata: { a: evil },
        prompt: evil,
        audio: { output: { [evil]: evil } },
      },
    },
  ],
  ['a response whose id is a list', { type: 'response.created', response: { id: ['resp_3'], instructions: evil } }],
  [
    'the end of an unknown response',
    {
      ...done({}),
      response: { id: 'resp_x', output: [text('assistant')], status_details: { error: { message: evil } } },
    },
  ],
  [
    'hidden items in the end of a response',
    done({
      output: [
        call,
        text('system'),
        { ...call, type: 'mcp_call', output: evil },
        text(undefined),
        null,
        [call],
        text('assistant', 'item_h'),
      ],
    }),
  ],
  [
    'the words of a failure',
    done({
      status: 'failed',
      status_details: { type: 'failed', reason: evil, error: { type: evil, code: evil, message: evil } },
    }),
  ],
  ['a status of its own', done({ status: evil, status_details: { type: evil, reason: evil, [evil]: evil } })],
  ['usage of its own', done({ usage: { total_tokens: 1, [evil]: evil, input_token_details: { [evil]: 1 } } })],
  ['metadata nobody sent', done({ metadata: { a: evil }, instructions: evil, conversation: evil })],
  [
    'the words of an error',
    {
      type: 'error',
      event_id: 'e',
      error: { type: evil, code: evil, message: evil, param: evil, event_id: `${evil} `, inner: evil },
    },
  ],
  [
    'an error about instructions',
    {
      type: 'error',
      event_id: 'e',
      error: {
        type: 'invalid_request_error',
        code: 'invalid_value',
        message: `got ${evil}`,
        param: `session.instructions.${evil}`,
      },
    },
  ],
  [
    'an error about tools',
    {
      type: 'error',
      event_id: 'e',
      error: { code: 'unknown_parameter', message: evil, param: `session.tools[0].${evil}` },
    },
  ],
  [
    "an error about the relay's event",
    { type: 'error', event_id: 'e', error: { code: 'invalid_value', message: evil, event_id: 'rly_777' } },
  ],
  ['an error that is text', { type: 'error', error: evil }],
  ['an event id with words', { type: 'input_audio_buffer.cleared', event_id: `${evil} \r\n x` }],
  ['fields of its own on plain events', { type: 'input_audio_buffer.cleared', event_id: 'e', session, [evil]: evil }],
  [
    'a conversation with fields of its own',
    {
      type: 'conversation.created',
      conversation: { id: 'conv_1', object: 'realtime.conversation', items: [text('system')], [evil]: evil },
    },
  ],
  [
    'a predecessor that is hidden',
    { type: 'conversation.item.added', previous_item_id: evil, item: { ...text('user', 'item_b'), content: [] } },
  ],
  [
    'speech begun with fields of its own',
    { type: 'input_audio_buffer.speech_started', audio_start_ms: 1, item_id: 'item_e', [evil]: evil, session },
  ],
  ['speech begun in the relay', { type: 'input_audio_buffer.committed', item_id: `rly_${evil}` }],
  [
    'DTMF with fields of its own',
    { type: 'input_audio_buffer.dtmf_event_received', event: '1', received_at: 1, caller: evil },
  ],
];

describe.each(dialects)('what upstream sends a %s client', (dialect) => {
  it.each(hidden)('%s shows nothing that is not the client’s', async (_, event) => {
    const victim = await answering(dialect);
    const from = victim.client.raw.length;
    victim.passage.inject(event);
    const { closed } = await victim.strike();
    expect(closed).toBeNull();
    const seen = victim.client.raw.slice(from).join('\n');
    for (const word of [evil, audio, 'item_h', 'item_y', 'rly_777', 'rly_888']) expect(seen).not.toContain(word);
  });
});

import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../src/protocol/event.js';
import { added, assistantItem, type Bench, bench, callItem, created, done, effective, outputItem } from './bench.js';

const trusted = (settings: Record<string, unknown> = {}): Bench => bench({ client: { trust: 'trusted' }, ...settings });
const owned = {
  instructions: 'secret',
  tools: [{ type: 'function', name: 'server_tool' }],
  tool_choice: 'auto',
  max_output_tokens: 300,
  output_modalities: ['audio'],
  audio: { output: { voice: 'marin' }, input: { turn_detection: { type: 'server_vad' } } },
};

describe('a trusted client', () => {
  const events: [string, JsonObject][] = [
    ['a system message', { type: 'conversation.item.create', item: { type: 'message', role: 'system', content: [] } }],
    [
      'a message of the assistant',
      { type: 'conversation.item.create', item: { type: 'message', role: 'assistant', content: [] } },
    ],
    [
      'an image',
      {
        type: 'conversation.item.create',
        item: {
          type: 'message',
          role: 'user',
          content: [{ type: 'input_image', image_url: 'data:image/png;base64,AAAA' }],
        },
      },
    ],
    [
      'a function call output',
      { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'c', output: 'x' } },
    ],
    [
      'an approval',
      {
        type: 'conversation.item.create',
        item: { type: 'mcp_approval_response', approval_request_id: 'a', approve: true },
      },
    ],
    [
      'a place at the root',
      {
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [] },
        previous_item_id: 'root',
      },
    ],
    ['a retrieve of anything', { type: 'conversation.item.retrieve', item_id: 'item_x' }],
    ['a delete of anything', { type: 'conversation.item.delete', item_id: 'item_x' }],
    [
      'a truncate of anything',
      { type: 'conversation.item.truncate', item_id: 'item_x', content_index: 1, audio_end_ms: 1 },
    ],
    ['a cancel of anything', { type: 'response.cancel', response_id: 'resp_x' }],
    ['a clear of the output', { type: 'output_audio_buffer.clear' }],
  ];
  it.each(events)('may send %s', (_, body) => {
    const session = trusted();
    expect(session.up({ ...body, event_id: 'c_1' })).toEqual({ ...body, event_id: 'c_1' });
    expect(session.refusals).toEqual([]);
  });

  const refused: [string, JsonObject, string][] = [
    ['an event that does not exist', { type: 'session.destroy' }, 'event_not_allowed'],
    ['a server event', { type: 'response.done' }, 'event_not_allowed'],
    ['an event without a type', {}, 'missing_required_parameter'],
    [
      'an item with an id of the relay',
      { type: 'conversation.item.create', item: { id: 'rly_1', type: 'message' } },
      'invalid_value',
    ],
    [
      'an item that is called as the beginning is',
      { type: 'conversation.item.create', item: { id: 'root', type: 'message' } },
      'invalid_value',
    ],
    ['an item that is text', { type: 'conversation.item.create', item: 'x' }, 'invalid_value'],
    ['a response that is text', { type: 'response.create', response: 'x' }, 'invalid_value'],
    ['metadata that is text', { type: 'response.create', response: { metadata: 'x' } }, 'invalid_value'],
    ['an update without a session', { type: 'session.update' }, 'missing_required_parameter'],
    ['another type of session', { type: 'session.update', session: { type: 'transcription' } }, 'invalid_value'],
  ];
  it.each(refused)('may not send %s', (_, body, code) => {
    const session = trusted();
    expect(session.up(body)).toBeNull();
    expect(session.refusals).toMatchObject([{ code }]);
  });

  it('sees the calls that the server answers for and may not answer them, as it may others', () => {
    const tools = [
      { name: 'lookup', runs: 'http', http: { url: 'https://tools.test/' } },
      { name: 'map', runs: 'client' },
    ];
    const session = trusted({ tools });
    const shown = session.all(
      created('resp_1'),
      ...['lookup', 'map', 'unlisted'].map((name) =>
        outputItem('resp_1', callItem(`item_${name}`, name, `call_${name}`)),
      ),
    );
    expect(shown).toHaveLength(4);
    const answer = (callId: string) =>
      session.up({
        type: 'conversation.item.create',
        item: { type: 'function_call_output', call_id: callId, output: '' },
      });
    expect(answer('call_map')).not.toBeNull();
    expect(answer('call_unlisted')).not.toBeNull();
    expect(session.refusals).toEqual([]);
    expect(answer('call_lookup')).toBeNull();
    expect(session.refusals).toMatchObject([
      {
        code: 'item_not_allowed',
        message: "The call named by 'item.call_id' was not issued to this client.",
        race: false,
      },
    ]);
  });

  it('cannot take an id of the relay for its events', () => {
    expect(trusted().up({ type: 'response.cancel', event_id: 'rly_1' })).toEqual({ type: 'response.cancel' });
  });

  it('may update everything but what the profile sets', () => {
    const sent = trusted({ session: owned }).up({
      type: 'session.update',
      session: {
        type: 'realtime',
        id: 'sess_x',
        model: 'x',
        instructions: 'evil',
        tools: [],
        tool_choice: 'none',
        prompt: { id: 'evil' },
        max_output_tokens: 'inf',
        truncation: 'disabled',
        reasoning: { effort: 'low' },
        audio: { input: { turn_detection: null, noise_reduction: null }, output: { voice: 'x' } },
      },
    });
    expect(sent?.session).toEqual({
      type: 'realtime',
      truncation: 'disabled',
      reasoning: { effort: 'low' },
      audio: { input: { noise_reduction: null } },
    });
  });

  it('may update everything where the profile sets nothing', () => {
    const session = {
      type: 'realtime',
      instructions: 'mine',
      tools: [{ type: 'mcp', server_url: 'https://x.test' }],
      prompt: { id: 'p' },
    };
    expect(trusted().up({ type: 'session.update', session })?.session).toEqual(session);
  });

  it('may update what the operator lists', () => {
    const client = { trust: 'trusted', may_update: ['audio.output.voice'] };
    const session = { type: 'realtime', audio: { output: { voice: 'cedar' } } };
    expect(bench({ session: owned, client }).up({ type: 'session.update', session })?.session).toEqual(session);
  });

  it('gets an answer to an update of which nothing is left', () => {
    const session = trusted({ session: owned });
    expect(session.up({ type: 'session.update', session: { type: 'realtime', instructions: 'evil' } })).toBeNull();
    expect(session.answered).toMatchObject([{ type: 'session.updated' }]);
  });

  it('may ask for any response, but not against the profile', () => {
    const response = {
      conversation: 'none',
      input: [],
      instructions: 'evil',
      tools: [],
      tool_choice: 'none',
      prompt: { id: 'evil' },
      max_output_tokens: 'inf',
      output_modalities: ['text'],
      audio: { output: { voice: 'x', format: { type: 'audio/pcmu' } } },
      metadata: { a: 'b' },
    };
    const session = trusted({ session: owned });
    expect(session.up({ type: 'response.create', response })?.response).toEqual({
      conversation: 'none',
      input: [],
      max_output_tokens: 300,
      output_modalities: ['text'],
      audio: { output: { format: { type: 'audio/pcmu' } } },
      metadata: { rly: '1' },
    });
    expect(session.up({ type: 'response.create' })).not.toBeNull();
  });

  it('sees tools, their calls and rate limits', () => {
    const session = trusted({ session: owned });
    const call = { response_id: 'resp_1', item_id: 'item_f', output_index: 0, call_id: 'call_1' };
    const injected = session.policy.injected({
      type: 'conversation.item.create',
      item: { type: 'function_call_output', call_id: 'call_1', output: '4' },
    });
    const seen = session.all(
      created('resp_1'),
      outputItem('resp_1', callItem('item_f', 'server_tool', 'call_1')),
      { type: 'response.function_call_arguments.done', event_id: 'e', ...call, name: 'server_tool', arguments: '{}' },
      added(injected.item as JsonObject),
      added({ id: 'item_l', type: 'mcp_list_tools', server_label: 's', tools: [{ name: 't' }] }),
      { type: 'mcp_list_tools.completed', event_id: 'e', item_id: 'item_l' },
      outputItem('resp_1', {
        id: 'item_m',
        type: 'mcp_call',
        name: 't',
        arguments: '{}',
        server_label: 's',
        error: { type: 'http_error', code: 500, message: 'x' },
      }),
      { type: 'response.mcp_call.failed', event_id: 'e', item_id: 'item_m', output_index: 1 },
      {
        type: 'rate_limits.updated',
        event_id: 'e',
        rate_limits: [{ name: 'tokens', limit: 1, remaining: 1, reset_seconds: 1 }],
      },
      done('resp_1', { output: [callItem('item_f', 'server_tool', 'call_1')], max_output_tokens: 300 }),
    );
    expect(seen).toHaveLength(10);
    expect(seen.at(-1)).toMatchObject({ response: { max_output_tokens: 300, output: [{ name: 'server_tool' }] } });
  });

  it('does not see what the relay says to the model', () => {
    const session = trusted();
    const injected = session.policy.injected({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'system', content: [] },
    });
    expect(session.down(added(injected.item as JsonObject))).toEqual([]);
    const hidden = session.policy.injected({ type: 'response.create', response: { conversation: 'none' } });
    const tag = (hidden.response as JsonObject).metadata as Json;
    expect(session.all(created('resp_h', tag), outputItem('resp_h', assistantItem('item_h')), done('resp_h'))).toEqual(
      [],
    );
  });

  it('does not see in session.updated what the profile sets', () => {
    const session = trusted({ session: owned });
    session.up({ type: 'session.update', session: { type: 'realtime', truncation: 'auto' } });
    const [seen] = session.down({ type: 'session.updated', event_id: 'e', session: effective() });
    expect(seen).toMatchObject({
      session: {
        id: 'sess_relay',
        instructions: '',
        tools: [],
        prompt: null,
        tool_choice: 'auto',
        truncation: 'disabled',
      },
    });
    expect(JSON.stringify(seen)).not.toMatch(
      /secret (instructions|variable)|secret_tool|pmpt_secret|secret-deployment/,
    );
  });

  it('does not see the instructions that a prompt of the profile brings', () => {
    const session = trusted({ session: { prompt: { id: 'pmpt_secret' } } });
    const view = session.policy.sessionCreated(effective(), 'sess_relay', 1);
    expect(view).toMatchObject({ instructions: '', prompt: null });
  });

  it('sees in session.updated what it has set itself, without credentials', () => {
    const session = trusted();
    session.up({ type: 'session.update', session: { type: 'realtime', truncation: 'auto' } });
    const tools = [
      {
        type: 'mcp',
        server_label: 's',
        authorization: 'canary',
        headers: { a: 'canary' },
        server_url: 'https://x.test',
      },
    ];
    const [seen] = session.down({
      type: 'session.updated',
      event_id: 'e',
      session: effective({ instructions: 'mine', tools }),
    });
    expect(seen).toMatchObject({
      session: { instructions: 'mine', tools: [{ type: 'mcp', server_label: 's' }], max_output_tokens: 777 },
    });
    expect(JSON.stringify(seen)).not.toContain('canary');
  });
});

describe('report_only', () => {
  const reporting = (): Bench => bench({ client: { report_only: true }, session: { instructions: 'mine' } });

  const passed: [string, JsonObject][] = [
    [
      'an event that would be refused',
      { type: 'conversation.item.create', item: { type: 'message', role: 'system', content: [] } },
    ],
    ['an unknown event', { type: 'session.new_thing', a: 1 }],
    ['an event of which a field would be dropped', { type: 'input_audio_buffer.commit', extra: 1 }],
    ['an item that the client was never shown', { type: 'conversation.item.delete', item_id: 'item_x' }],
  ];
  it.each(passed)('lets %s pass, and counts it', (_, body) => {
    const session = reporting();
    expect(session.up({ ...body, event_id: 'c_1' })).toEqual({ ...body, event_id: 'c_1' });
    expect(session.refusals).toEqual([]);
    expect(session.decisions.at(-1)?.[2]).toBe('report');
    expect(session.reports.at(-1)).toMatch(/\.$/);
  });

  it('does not report what is allowed anyway', () => {
    const session = reporting();
    for (const body of [{ type: 'response.create' }, { type: 'input_audio_buffer.clear' }]) session.up(body);
    expect(session.decisions.map(([, , decision]) => decision)).toEqual(['rebuild', 'rebuild']);
  });

  it('lets an update pass whole and still answers it redacted', () => {
    const session = reporting();
    const sent = session.up({
      type: 'session.update',
      event_id: 'c_1',
      session: { type: 'realtime', instructions: 'other' },
    });
    expect(sent).toEqual({
      type: 'session.update',
      event_id: 'rly_c1',
      session: { type: 'realtime', instructions: 'other' },
    });
    const [seen] = session.down({
      type: 'session.updated',
      event_id: 'e',
      session: effective({ instructions: 'other' }),
    });
    expect(seen).toMatchObject({ session: { instructions: '' } });
  });

  it('keeps metadata and the prefix of the relay to itself', () => {
    const session = reporting();
    const sent = session.up({
      type: 'response.create',
      event_id: 'rly_1',
      response: { instructions: 'x', metadata: { a: 'b' } },
    });
    expect(sent).toMatchObject({ response: { instructions: 'x', metadata: { rly: '1' } } });
    expect(sent?.event_id).toMatch(/^rly_c/);
  });

  it('shows the client no more than it would see otherwise', () => {
    expect(reporting().down(added(callItem('item_f', 'server_tool', 'call_1')))).toEqual([]);
  });
});

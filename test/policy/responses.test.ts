import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../src/protocol/event.js';
import { added, assistantItem, type Bench, bench, callItem, created, done, outputItem, userItem } from './bench.js';

const ask = (metadata?: Json): JsonObject => ({
  type: 'response.create',
  ...(metadata === undefined ? {} : { response: { metadata } }),
});
const tagOf = (sent: JsonObject | null): Json => (sent?.response as JsonObject | undefined)?.metadata ?? null;
const metadataOf = (events: JsonObject[]): (Json | undefined)[] =>
  events.map((event) => (event.response as JsonObject).metadata);

describe('metadata of a response', () => {
  it('never goes upstream and comes back with the response it belongs to', () => {
    const session = bench();
    const sent = session.up(ask({ trace: 'mine' }));
    expect(JSON.stringify(sent)).not.toContain('mine');
    const events = session.all(created('resp_1', tagOf(sent)), done('resp_1', { metadata: tagOf(sent) }));
    expect(metadataOf(events)).toEqual([{ trace: 'mine' }, { trace: 'mine' }]);
  });

  it('is null when voice activity began the response', () => {
    const session = bench();
    session.all(created('resp_0', tagOf(session.up(ask()))), done('resp_0'));
    const sent = session.up(ask({ trace: 'mine' }));
    expect(metadataOf(session.all(created('resp_vad')))).toEqual([null]);
    session.all(done('resp_vad'));
    expect(metadataOf(session.all(created('resp_1', tagOf(sent))))).toEqual([{ trace: 'mine' }]);
  });

  it('comes back in order from an upstream that does not echo it', () => {
    const session = bench();
    session.up(ask({ trace: 'mine' }));
    expect(metadataOf(session.all(created('resp_1'), done('resp_1'), created('resp_2')))).toEqual([
      { trace: 'mine' },
      { trace: 'mine' },
      null,
    ]);
  });

  it('is forgotten when the response is done', () => {
    const session = bench();
    session.all(created('resp_1', tagOf(session.up(ask({ trace: 'mine' })))), done('resp_1'));
    expect(metadataOf(session.all(done('resp_1')))).toEqual([null]);
  });

  it('of upstream never reaches the client', () => {
    expect(
      metadataOf(bench().all(created('resp_1', { secret: 'x' }), done('resp_1', { metadata: { rly: '1' } }))),
    ).toEqual([null, null]);
  });

  it('that a client makes up does not name a response of another', () => {
    const session = bench();
    expect(tagOf(session.up(ask({ rly: '7' })))).toEqual({ rly: '1' });
  });
});

describe('one response at a time', () => {
  const conflict = { code: 'conversation_already_has_active_response', race: true };

  it('refuses a second while the first has not begun', () => {
    const session = bench();
    session.up(ask());
    expect(session.up({ ...ask(), event_id: 'c_2' })).toBeNull();
    expect(session.refusals).toMatchObject([{ ...conflict, eventId: 'c_2' }]);
  });
  it('refuses a second while the first is running, and allows it afterwards', () => {
    const session = bench();
    session.down(created('resp_1', tagOf(session.up(ask()))));
    expect(session.up(ask())).toBeNull();
    session.down(done('resp_1'));
    expect(session.up(ask())).not.toBeNull();
    expect(session.refusals).toMatchObject([conflict]);
  });
  it('refuses one while voice activity has begun another', () => {
    const session = bench();
    session.down(created('resp_vad'));
    expect(session.up(ask())).toBeNull();
  });
  it('allows one while the relay runs a hidden one', () => {
    const session = bench();
    const hidden = session.policy.injected({ type: 'response.create', response: { conversation: 'none' } });
    session.down(created('resp_h', tagOf(hidden)));
    expect(session.up(ask())).not.toBeNull();
  });
  it('allows the next when upstream refused the first, by name or without', () => {
    const session = bench();
    const error = {
      type: 'invalid_request_error',
      code: 'conversation_already_has_active_response',
      message: 'resp_secret',
    };
    session.up({ ...ask(), event_id: 'c_1' });
    const [seen] = session.down({ type: 'error', event_id: 'e', error: { ...error, event_id: 'c_1' } });
    expect(seen).toMatchObject({ error: { code: error.code, event_id: 'c_1' } });
    expect(JSON.stringify(seen)).not.toContain('resp_secret');
    expect(session.up(ask())).not.toBeNull();
    session.down({ type: 'error', event_id: 'e', error: { ...error, event_id: null } });
    expect(session.up(ask())).not.toBeNull();
  });
  it('leads an error back when a client gives all its events one id', () => {
    const session = bench();
    const first = session.up({ ...ask(), event_id: 'same' });
    session.all(created('resp_1', tagOf(first)), done('resp_1'));
    const second = session.up({ ...ask(), event_id: 'same' });
    expect(second?.event_id).toMatch(/^rly_c/);
    const [seen] = session.down({
      type: 'error',
      event_id: 'e',
      error: { code: 'invalid_value', event_id: second?.event_id ?? null },
    });
    expect(seen).toMatchObject({ error: { event_id: 'same' } });
  });
  it('survives a hundred at once with one sent', () => {
    const session = bench();
    const sent = Array.from({ length: 100 }, () => session.up(ask())).filter((body) => body !== null);
    expect(sent).toHaveLength(1);
  });
});

describe('a response of the relay', () => {
  const hiddenAsk = { type: 'response.create', response: { conversation: 'none', metadata: { use: 'moderation' } } };

  it('is tagged next to its own metadata', () => {
    expect(tagOf(bench().policy.injected(hiddenAsk))).toEqual({ use: 'moderation', rly: '1' });
  });
  it('outside of the conversation is hidden with all that it brings forth', () => {
    const session = bench();
    const sent = session.policy.injected(hiddenAsk);
    const position = { response_id: 'resp_h', item_id: 'item_h', output_index: 0, content_index: 0 };
    expect(
      session.all(
        created('resp_h', tagOf(sent)),
        outputItem('resp_h', assistantItem('item_h')),
        { type: 'response.content_part.added', ...position, part: { type: 'text', text: '' } },
        { type: 'response.output_text.delta', ...position, delta: 'verdict' },
        done('resp_h', { output: [assistantItem('item_h')] }),
        added(assistantItem('item_h')),
      ),
    ).toEqual([]);
  });
  it('is hidden too when upstream does not echo the tag', () => {
    const session = bench();
    session.policy.injected(hiddenAsk);
    expect(session.all(created('resp_h'), done('resp_h'))).toEqual([]);
  });
  it('inside of the conversation is shown', () => {
    const session = bench();
    const sent = session.policy.injected({ type: 'response.create' });
    expect(metadataOf(session.all(created('resp_1', tagOf(sent)), done('resp_1')))).toEqual([null, null]);
  });
  it('that goes on with a turn of the client has what the client attached to that', () => {
    const session = bench();
    const turn = tagOf(session.up(ask({ trace: 'mine' })));
    session.all(created('resp_1', turn), done('resp_1'));
    const sent = session.policy.injected({ type: 'response.create' }, 'resp_1');
    expect(JSON.stringify(sent)).not.toContain('mine');
    const events = session.all(created('resp_2', tagOf(sent)), done('resp_2'));
    expect(metadataOf(events)).toEqual([{ trace: 'mine' }, { trace: 'mine' }]);
    const next = session.policy.injected({ type: 'response.create' }, 'resp_2');
    expect(metadataOf(session.all(created('resp_3', tagOf(next))))).toEqual([{ trace: 'mine' }]);
  });
  it('has the client wait with a response of its own until it is done, and is not held against it', () => {
    const session = bench();
    const sent = session.policy.injected({ type: 'response.create' });
    const refused = { code: 'conversation_already_has_active_response', race: true };
    expect(session.up(ask())).toBeNull();
    session.all(created('resp_1', tagOf(sent)));
    expect(session.up(ask())).toBeNull();
    expect(session.refusals).toMatchObject([refused, refused]);
    session.all(done('resp_1'));
    expect(session.up(ask())).not.toBeNull();
  });
  it('that upstream is too busy for says nothing to the client, also where the error names nothing, and holds up nothing', () => {
    const session = bench();
    session.policy.injected({ type: 'response.create' });
    const busy = { code: 'conversation_already_has_active_response', event_id: null };
    expect(session.down({ type: 'error', event_id: 'e', error: busy })).toEqual([]);
    expect(session.up(ask())).not.toBeNull();
    expect(session.down({ type: 'error', event_id: 'e', error: busy })).toMatchObject([{ type: 'error' }]);
  });
  it('that fails says nothing to the client', () => {
    const session = bench();
    const sent = session.policy.injected({ type: 'response.create' });
    expect(
      session.down({ type: 'error', event_id: 'e', error: { code: 'invalid_value', event_id: sent.event_id ?? null } }),
    ).toEqual([]);
  });
});

describe('an item of the relay', () => {
  it('gets an id by which it stays hidden', () => {
    const session = bench();
    const sent = session.policy.injected({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [] },
    });
    const id = (sent.item as JsonObject).id as string;
    expect(id).toMatch(/^rly_/);
    expect(session.down(added(userItem(id)))).toEqual([]);
    expect(session.down({ type: 'conversation.item.deleted', item_id: id })).toEqual([]);
  });
  it('keeps an id of its own and is hidden by it', () => {
    const session = bench();
    session.policy.injected({
      type: 'conversation.item.create',
      item: { id: 'guard', type: 'message', role: 'user', content: [] },
    });
    expect(session.down(added(userItem('guard')))).toEqual([]);
  });
});

describe('an item of the client', () => {
  const create = (fields: JsonObject = {}): JsonObject => ({
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'x' }], ...fields },
  });
  const remove = (session: Bench, id: string): JsonObject | null =>
    session.up({ type: 'conversation.item.delete', item_id: id });

  it('may be deleted, with an id of the client or of upstream', () => {
    const session = bench();
    session.up(create({ id: 'mine' }));
    expect(remove(session, 'mine')).not.toBeNull();
    session.up(create());
    session.down(added(userItem('item_1')));
    expect(remove(session, 'item_1')).not.toBeNull();
  });
  it('is not one that appeared by itself', () => {
    const session = bench();
    session.down(added(userItem('item_1')));
    expect(remove(session, 'item_1')).toBeNull();
  });
  it('may be deleted when it was spoken', () => {
    const session = bench();
    session.all({ type: 'input_audio_buffer.committed', item_id: 'item_1' }, added(userItem('item_1')));
    expect(remove(session, 'item_1')).not.toBeNull();
  });
  it('is unknown after it was deleted', () => {
    const session = bench();
    session.up(create({ id: 'mine' }));
    session.all(added(userItem('mine')), { type: 'conversation.item.deleted', item_id: 'mine' });
    expect(remove(session, 'mine')).toBeNull();
    expect(session.down(added(userItem('mine')))).toEqual([]);
  });
  it('that upstream refused does not exist', () => {
    const session = bench();
    const sent = session.up({ ...create({ id: 'mine' }), event_id: 'c_1' });
    expect(sent?.event_id).toBe('c_1');
    session.down({ type: 'error', event_id: 'e', error: { code: 'invalid_value', event_id: 'c_1' } });
    expect(remove(session, 'mine')).toBeNull();
    expect(session.up(create({ id: 'mine' }))).not.toBeNull();
  });
});

describe('a tool of the client', () => {
  const settings = { tools: [{ name: 'open_door', description: 'x', parameters: {}, runs: 'client' }] };
  const answer = (callId: string): JsonObject => ({
    type: 'conversation.item.create',
    item: { type: 'function_call_output', call_id: callId, output: 'opened', status: 'completed' },
  });
  const position = { response_id: 'resp_1', item_id: 'item_c', output_index: 0, call_id: 'call_1' };

  function called(): { session: Bench; seen: JsonObject[] } {
    const session = bench(settings);
    const seen = session.all(
      created('resp_1'),
      outputItem('resp_1', callItem('item_c', 'open_door', 'call_1')),
      outputItem('resp_1', callItem('item_s', 'server_tool', 'call_2')),
      { type: 'response.function_call_arguments.delta', event_id: 'e', ...position, delta: '{' },
      { type: 'response.function_call_arguments.done', event_id: 'e', ...position, name: 'open_door', arguments: '{}' },
      {
        type: 'response.function_call_arguments.done',
        event_id: 'e',
        ...position,
        name: 'server_tool',
        arguments: '{}',
      },
      done('resp_1', {
        output: [callItem('item_c', 'open_door', 'call_1'), callItem('item_s', 'server_tool', 'call_2')],
      }),
    );
    return { session, seen };
  }

  it('is called in the open, and others are not', () => {
    const { seen } = called();
    expect(seen.map(({ type }) => type)).toEqual([
      'response.created',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      'response.done',
    ]);
    expect(JSON.stringify(seen)).not.toMatch(/server_tool|call_2/);
  });
  it('is answered once', () => {
    const { session } = called();
    expect(session.up(answer('call_1'))?.item).toEqual({
      type: 'function_call_output',
      call_id: 'call_1',
      output: 'opened',
    });
    expect(session.up(answer('call_1'))).toBeNull();
    expect(session.up(answer('call_2'))).toBeNull();
    expect(session.refusals.map(({ code }) => code)).toEqual(['item_not_allowed', 'item_not_allowed']);
  });
  it('shows its answer to the client that gave it', () => {
    const { session } = called();
    const item = { id: 'item_o', type: 'function_call_output', call_id: 'call_1', output: 'opened' };
    session.up(answer('call_1'));
    expect(session.down(added(item, 'item_s'))).toMatchObject([{ item, previous_item_id: null }]);
    expect(session.up({ type: 'conversation.item.delete', item_id: 'item_o' })).not.toBeNull();
  });
  it('does not show an answer that the client did not give', () => {
    const { session } = called();
    const item = { id: 'item_o', type: 'function_call_output', call_id: 'call_1', output: 'forged' };
    expect(session.down(added(item))).toEqual([]);
  });
});

it('remembers a bounded number of items and responses, and shows nothing it has forgotten', () => {
  const session = bench();
  for (let n = 0; n < 5000; n++) session.all(added(userItem(`item_${n}`)), created(`resp_${n}`), done(`resp_${n}`));
  expect(session.up({ type: 'conversation.item.retrieve', item_id: 'item_0' })).toBeNull();
  expect(session.up({ type: 'conversation.item.retrieve', item_id: 'item_4999' })).not.toBeNull();
  expect(session.up({ type: 'response.cancel', response_id: 'resp_0' })).toBeNull();
  expect(session.up({ type: 'response.cancel', response_id: 'resp_4999' })).not.toBeNull();
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serverEvents } from '../../src/protocol/catalogue.js';
import type { Json, JsonObject } from '../../src/protocol/event.js';
import { type Line, sequence, sequences } from '../protocol/fixtures/sequences.js';
import { type Bench, bench } from './bench.js';

const canary = 'CANARY';
const isRelays = (body: JsonObject): boolean => typeof body.event_id === 'string' && body.event_id.startsWith('rly_');

/** A session that follows a sample: what the client sent is judged, and what upstream sent is shown or not. */
function replay(
  name: string,
  change: (body: JsonObject) => JsonObject = (body) => body,
  settings = {},
): { seen: JsonObject[]; session: Bench } {
  const session = bench(settings);
  const seen: JsonObject[] = [];
  // The tails of the samples begin in the middle of a response.
  if (name === 'manual-cancel') seen.push(...session.all(...begun('resp_6', 'item_A6')));
  for (const { from, body } of sequence(name, 'ga') as Line[]) {
    if (from === 'S') seen.push(...session.down(change(structuredClone(body))));
    else if (isRelays(body)) session.policy.injected(body);
    else session.up(body);
  }
  return { seen, session };
}

function begun(id: string, itemId: string): JsonObject[] {
  const item = { id: itemId, type: 'message', role: 'assistant', status: 'in_progress', content: [] };
  return [
    { type: 'response.created', response: { id, status: 'in_progress', output: [] } },
    { type: 'response.output_item.added', response_id: id, output_index: 0, item },
  ];
}

/** Puts a canary wherever upstream may name what the server owns. */
function poison(value: Json | undefined, key = ''): Json | undefined {
  if (Array.isArray(value)) return value.map((element) => poison(element, key) ?? null);
  if (typeof value !== 'object' || value === null) return secretKeys.has(key) ? canary : value;
  const out: JsonObject = {};
  for (const [name, field] of Object.entries(value)) out[name] = poison(field, name);
  if (key === 'session') Object.assign(out, sessionSecrets);
  if (key === 'response') Object.assign(out, responseSecrets);
  if (value.type === 'function_call' || value.type === 'function_call_output') Object.assign(out, callSecrets);
  if (key === '') out[`x_${canary}`] = { nested: [canary] };
  return out;
}

const secretKeys = new Set(['instructions', 'message', 'model', 'tools', 'prompt']);
const mcp = { type: 'mcp', server_label: canary, server_url: canary, authorization: canary, headers: { a: canary } };
const sessionSecrets: JsonObject = {
  id: canary,
  model: canary,
  instructions: canary,
  tools: [mcp, { type: 'function', name: canary, parameters: { title: canary } }],
  tool_choice: { type: 'function', name: canary },
  prompt: { id: canary, variables: { a: canary } },
  tracing: { workflow_name: canary, metadata: { a: canary } },
  include: [canary],
  client_secret: { value: canary },
  [canary]: canary,
};
const responseSecrets: JsonObject = {
  metadata: { a: canary },
  instructions: canary,
  tools: [mcp],
  prompt: { id: canary },
  [canary]: 1,
};
const callSecrets: JsonObject = { name: canary, arguments: canary, output: canary };

describe('the sample sequences', () => {
  it.each(sequences)('%s shows the client nothing of the server', (name) => {
    const { seen } = replay(name, (body) => poison(body) as JsonObject);
    expect(seen.length).toBeGreaterThan(0);
    expect(JSON.stringify(seen)).not.toContain(canary);
    expect(JSON.stringify(seen)).not.toMatch(
      /get_weather|call_W1|temp_c|rate_limits|vendor default|my-transcribe|rly_/,
    );
  });

  it.each(['text-turn', 'audio-turn', 'barge-in', 'manual-cancel', 'transcription'])(
    '%s is whole but for what is hidden',
    (name) => {
      const { seen } = replay(name);
      const hidden = ['session.created', 'session.updated', 'rate_limits.updated'];
      const expected = (sequence(name, 'ga') as Line[]).filter(
        ({ from, body }) => from === 'S' && !hidden.includes(String(body.type)),
      );
      const prelude = name === 'manual-cancel' ? 2 : 0;
      const ids = (events: JsonObject[]): Json[] => events.map((event) => event.event_id ?? null);
      expect(ids(seen.slice(prelude))).toEqual(expected.map(({ body }) => body.event_id ?? null));
    },
  );

  it('function-call shows two responses and what the assistant says', () => {
    const types = replay('function-call').seen.map(({ type }) => type);
    expect(types).toEqual([
      'conversation.item.added',
      'conversation.item.done',
      'response.created',
      'response.done',
      'response.created',
      'response.output_item.added',
      'conversation.item.added',
      'response.content_part.added',
      'response.output_audio_transcript.delta',
      'response.output_audio.delta',
      'response.output_audio.done',
      'response.output_audio_transcript.done',
      'response.content_part.done',
      'conversation.item.done',
      'response.output_item.done',
      'response.done',
    ]);
  });

  it('function-call places the answer after the question', () => {
    const { seen } = replay('function-call');
    const answer = seen.filter(({ item }) => (item as JsonObject | undefined)?.id === 'item_A4');
    expect(answer.flatMap(({ previous_item_id: previous }) => (previous === undefined ? [] : [previous]))).toEqual([
      'item_U3',
      'item_U3',
    ]);
  });
});

const ids = fc.constantFrom(
  'item_a',
  'item_f',
  'item_h',
  'item_u',
  'resp_1',
  'resp_h',
  'rly_i1',
  'item_x',
  'constructor',
);
const kinds = fc.constantFrom(
  'message',
  'function_call',
  'function_call_output',
  'mcp_call',
  'mcp_list_tools',
  'reasoning',
  'user',
);
const roles = fc.constantFrom('user', 'assistant', 'system', 'developer', 'tool', undefined);

/** An item that may be shown says nothing secret; what may not be shown is full of it. */
const anyItem = fc.record({ id: ids, type: kinds, role: roles }).map(({ id, type, role }): JsonObject => {
  const isShown =
    type === 'message' &&
    (role === 'user' || role === 'assistant') &&
    id !== 'item_f' &&
    id !== 'item_h' &&
    id !== 'rly_i1';
  const said = isShown ? 'hello' : canary;
  const item: JsonObject = {
    id,
    type,
    content: [
      { type: 'output_text', text: said, x: canary },
      { type: 'x', text: canary },
    ],
    ...callSecrets,
    tools: [canary],
  };
  if (role !== undefined) item.role = role;
  return item;
});

const anyEvent = fc
  .record({
    type: fc.oneof(fc.constantFrom(...serverEvents), fc.constantFrom('response.new', 'session.secret', 'toString')),
    event_id: fc.constantFrom('event_1', `event ${canary}\n`, undefined),
    item_id: ids,
    response_id: ids,
    previous_item_id: ids,
    item: anyItem,
    output: fc.array(anyItem, { maxLength: 3 }),
    id: ids,
    metadata: fc.constantFrom<Json>({ rly: '1' }, { rly: canary }, { a: canary }, null, [canary]),
  })
  .map(({ type, event_id, output, id, metadata, ...rest }): JsonObject => {
    const response = {
      ...responseSecrets,
      id,
      output,
      metadata,
      status_details: { type: 'failed', error: { message: canary, code: canary, type: canary } },
    };
    const about = shownPair(rest.item_id, rest.response_id) ? 'hello' : canary;
    const body: JsonObject = {
      type,
      ...rest,
      session: sessionSecrets,
      response,
      error: { message: canary, code: canary, type: canary, param: canary, event_id: rest.item_id },
      delta: about,
      text: about,
      transcript: about,
      part: { type: 'text', text: about, x: canary },
      arguments: canary,
      name: canary,
      rate_limits: [{ name: canary }],
      logprobs: [canary],
      obfuscation: `${canary} is no padding`,
      [canary]: { deep: [canary] },
    };
    if (event_id !== undefined) body.event_id = event_id;
    return body;
  });

/** Whether text about this item in this response may be shown: it was the model's, or the user's own speech. */
function shownPair(itemId: string, responseId: string): boolean {
  return itemId !== 'item_f' && itemId !== 'item_h' && itemId !== 'rly_i1' && responseId !== 'resp_h';
}

function prepared(settings: Record<string, unknown>): Bench {
  const session = bench(settings);
  const hidden = session.policy.injected({ type: 'response.create', response: { conversation: 'none' } });
  session.policy.injected({
    type: 'conversation.item.create',
    item: { id: 'rly_i1', type: 'message', role: 'user', content: [] },
  });
  const call = { id: 'item_f', type: 'function_call', name: canary, call_id: canary, arguments: canary };
  session.all(
    {
      type: 'response.created',
      response: { id: 'resp_h', metadata: (hidden.response as JsonObject).metadata as Json },
    },
    {
      type: 'response.output_item.added',
      response_id: 'resp_h',
      item: { id: 'item_h', type: 'message', role: 'assistant', content: [] },
    },
    ...begun('resp_1', 'item_a'),
    { type: 'response.output_item.added', response_id: 'resp_1', item: call },
    { type: 'conversation.item.added', item: { id: 'item_u', type: 'message', role: 'user', content: [] } },
  );
  return session;
}

describe('whatever upstream sends', () => {
  it.each([{}, { client: { unknown_events: 'forward' } }, { client: { report_only: true } }])(
    'nothing of the server reaches an end user: %j',
    (settings) => {
      fc.assert(
        fc.property(fc.array(anyEvent, { maxLength: 12 }), fc.boolean(), (events, updates) => {
          const session = prepared(settings);
          if (updates)
            session.up({ type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } });
          const seen = JSON.stringify([session.all(...events), session.answered]);
          expect(seen).not.toContain(canary);
          expect(seen).not.toContain('rly_');
        }),
        { numRuns: 400 },
      );
    },
  );

  it('never throws, and shows known fields only', () => {
    const type = fc.constantFrom(...serverEvents);
    fc.assert(
      fc.property(
        type,
        fc.dictionary(
          fc.constantFrom('item', 'response', 'item_id', 'response_id', 'session', 'error', 'part', 'previous_item_id'),
          fc.jsonValue(),
        ),
        (name, fields) => {
          prepared({}).down({ ...(fields as JsonObject), type: name });
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('whatever a client sends', () => {
  const settings = {
    session: {
      instructions: canary,
      tools: [{ type: 'function', name: canary }],
      prompt: { id: canary },
      max_output_tokens: 100,
    },
  };
  const evil = fc.constantFrom(
    'instructions',
    'tools',
    'tool_choice',
    'prompt',
    'input',
    'conversation',
    'reasoning',
    'tracing',
    'model',
    'include',
    'truncation',
    'temperature',
    'parallel_tool_calls',
    'voice',
  );
  const target = fc.constantFrom(
    'session.update',
    'response.create',
    'conversation.item.create',
    'input_audio_buffer.commit',
    'response.cancel',
    'conversation.item.truncate',
  );

  it('no field outside of the list reaches upstream, and no refusal tells of the profile', () => {
    fc.assert(
      fc.property(target, fc.dictionary(evil, fc.jsonValue()), (type, fields) => {
        const session = bench(settings);
        const holder = { ...(fields as JsonObject), type: 'realtime' };
        const sent = session.up({
          ...(fields as JsonObject),
          type,
          session: holder,
          response: { ...(fields as JsonObject) },
          item: {
            ...(fields as JsonObject),
            type: 'message',
            role: 'user',
            content: [{ ...(fields as JsonObject), type: 'input_text', text: 'x' }],
          },
        });
        for (const key of allKeys(sent)) expect(Object.keys(fields)).not.toContain(key);
        expect(JSON.stringify([session.refusals, session.answered])).not.toContain(canary);
      }),
      { numRuns: 500 },
    );
  });

  it('never throws', () => {
    fc.assert(
      fc.property(
        target,
        fc.dictionary(
          fc.constantFrom(
            'session',
            'response',
            'item',
            'item_id',
            'response_id',
            'event_id',
            'audio',
            'previous_item_id',
            'type',
          ),
          fc.jsonValue(),
        ),
        (type, fields) => {
          const session = bench();
          session.up({ type, ...(fields as JsonObject) });
          bench({ client: { trust: 'trusted' } }).up({ type, ...(fields as JsonObject) });
          bench({ client: { report_only: true } }).up({ type, ...(fields as JsonObject) });
        },
      ),
      { numRuns: 1000 },
    );
  });
});

function allKeys(value: Json | undefined): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, field]) => [
    ...(Array.isArray(value) ? [] : [key]),
    ...allKeys(field as Json),
  ]);
}

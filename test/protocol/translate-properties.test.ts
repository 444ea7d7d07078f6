import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clientEvents, previewClientEvents, previewServerEvents, serverEvents } from '../../src/protocol/catalogue.js';
import type { Json, JsonObject, Step } from '../../src/protocol/event.js';
import { previewClient } from '../../src/protocol/translate/client-end.js';
import { previewUpstream } from '../../src/protocol/translate/upstream-end.js';
import { recordingPorts, run } from './fixtures/sequences.js';

const types = [...clientEvents, ...previewClientEvents, ...serverEvents, ...previewServerEvents];

const word = fc.constantFrom(
  ...(
    'audio text message function_call assistant user system pcm16 audio/pcm mcp mcp_call function ' +
    'input_image item_reference output_text in_progress completed transcription realtime none marin ' +
    '__proto__'
  ).split(' '),
  '',
);
const key = fc.constantFrom(
  ...(
    'id type role status name item content session response output input audio format voice tools ' +
    'tool_choice function modalities output_modalities turn_detection transcription input_audio_format ' +
    'usage error input_token_details cached_tokens_details image_tokens param temperature commit metadata ' +
    'prompt item_id previous_item_id event_id __proto__ constructor toString'
  ).split(' '),
);
const { json } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    word,
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.array(tie('json'), { maxLength: 3 }),
    fc.dictionary(key, tie('json'), { maxKeys: 6, noNullPrototype: true }),
  ),
}));
const body = fc
  .tuple(fc.constantFrom(...types), fc.dictionary(key, json, { maxKeys: 6, noNullPrototype: true }))
  .map(([type, fields]): JsonObject => ({ ...fields, type }));

const steps: readonly [string, () => Step][] = [
  ['previewClient.fromClient', () => previewClient(recordingPorts()).fromClient],
  ['previewClient.toClient', () => previewClient(recordingPorts()).toClient],
  ['previewUpstream.toUpstream', () => previewUpstream(recordingPorts()).toUpstream],
  ['previewUpstream.fromUpstream', () => previewUpstream(recordingPorts()).fromUpstream],
];

describe.each(steps)('%s', (_, make) => {
  it('never throws and never changes what it is given, whatever an event holds', () => {
    fc.assert(
      fc.property(fc.array(body, { maxLength: 6 }), (bodies) => {
        const before = JSON.stringify(bodies);
        const out = run(make(), bodies.map(deepFreeze));
        expect(JSON.stringify(bodies)).toBe(before);
        for (const each of out) expect(typeof each.type).toBe('string');
      }),
      { numRuns: 500 },
    );
  });

  it('keeps ids, metadata and order', () => {
    fc.assert(
      fc.property(body, json, fc.uuid(), (fields, metadata, id) => {
        const event: JsonObject = {
          ...fields,
          event_id: `${id}e`,
          item_id: `${id}i`,
          response_id: `${id}r`,
          call_id: `${id}c`,
          metadata,
          item: { id: `${id}m`, call_id: `${id}n`, content: ['a', 'b'] },
        };
        const out = run(make(), [event]).filter((each) => !String(each.event_id).startsWith('event_made_'));
        for (const each of out.slice(-1)) {
          const { event_id, item_id, response_id, call_id } = event;
          expect(each).toMatchObject({ event_id, item_id, response_id, call_id });
          expect(each.metadata).toStrictEqual(metadata);
          expect(each.item).toMatchObject({ id: `${id}m`, call_id: `${id}n`, content: ['a', 'b'] });
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** What a preview client's event does not get back from both translations, and what it gets instead. */
const losses: readonly [name: string, sent: JsonObject, arrives: JsonObject][] = [
  ['temperature: GA fixes it', { session: { temperature: 0.7 } }, { session: {} }],
  ['model: fixed by the URL', { session: { model: 'm' } }, { session: {} }],
  ['client_secret: not a setting', { session: { client_secret: {} } }, { session: {} }],
  [
    'audio alone: always comes with text',
    { session: { modalities: ['audio'] } },
    { session: { modalities: ['text', 'audio'] } },
  ],
  [
    'turn detection of type none',
    { session: { turn_detection: { type: 'none' } } },
    { session: { turn_detection: null } },
  ],
  [
    'tools in the nested form',
    { session: { tools: [{ type: 'function', function: { name: 'f' } }] } },
    { session: { tools: [{ type: 'function', name: 'f' }] } },
  ],
  ['an empty prompt', { session: { prompt: null } }, { session: {} }],
];

describe('a preview event through both translations', () => {
  const through = (event: JsonObject) =>
    run(previewUpstream(recordingPorts()).toUpstream, run(previewClient(recordingPorts()).fromClient, [event]));

  it.each(losses)('loses %s', (_, sent, arrives) => {
    expect(through({ type: 'session.update', event_id: 'e', ...sent })).toStrictEqual([
      { type: 'session.update', event_id: 'e', ...arrives },
    ]);
  });

  const format = fc.constantFrom('pcm16', 'g711_ulaw', 'g711_alaw');
  const shared = {
    modalities: fc.constantFrom(['text'], ['text', 'audio']),
    instructions: fc.string(),
    voice: fc.constantFrom('alloy', 'echo'),
    output_audio_format: format,
    tools: fc.array(fc.record({ type: fc.constant('function'), name: fc.string() }), { maxLength: 2 }),
    tool_choice: fc.constantFrom<Json>('auto', 'none', { type: 'function', name: 'f' }),
    max_response_output_tokens: fc.constantFrom<Json>('inf', 1),
  };
  const session = fc.record(
    {
      ...shared,
      speed: fc.double({ noNaN: true, noDefaultInfinity: true }),
      input_audio_format: format,
      input_audio_transcription: fc.constantFrom<Json>(null, { model: 'm', language: 'en', prompt: '' }),
      input_audio_noise_reduction: fc.constantFrom<Json>(null, { type: 'far_field' }),
      turn_detection: fc.constantFrom<Json>(null, { type: 'server_vad', threshold: 0 }, { type: 'semantic_vad' }),
      tracing: fc.constantFrom<Json>(null, 'auto'),
      include: fc.constantFrom<Json>(null, []),
    },
    { requiredKeys: [] },
  );
  const message = fc.record({
    id: fc.string(),
    type: fc.constant('message'),
    role: fc.constant('assistant'),
    content: fc.array(fc.constantFrom<Json>({ type: 'text', text: 'a' }, { type: 'audio', transcript: null }), {
      maxLength: 3,
    }),
  });
  const response = fc.record(
    { ...shared, input: fc.array(message, { maxLength: 2 }), metadata: fc.dictionary(fc.string(), fc.string()) },
    { requiredKeys: [] },
  );
  const event = fc.oneof(
    fc.record({ type: fc.constant('session.update'), event_id: fc.string(), session }),
    fc.record({ type: fc.constant('response.create'), response }),
    fc.record({ type: fc.constant('conversation.item.create'), previous_item_id: fc.string(), item: message }),
  );

  it('comes out as it went in otherwise', () => {
    fc.assert(
      fc.property(event, (sent) => {
        expect(through(sent as JsonObject)).toEqual([sent]);
      }),
      { numRuns: 500 },
    );
  });
});

function deepFreeze(value: JsonObject): JsonObject {
  for (const each of Object.values(value))
    if (typeof each === 'object' && each !== null) deepFreeze(each as JsonObject);
  return Object.freeze(value);
}

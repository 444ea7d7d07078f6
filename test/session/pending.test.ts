import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/protocol/event.js';
import { createTurns } from '../../src/session/pending.js';

const vad = { type: 'realtime', audio: { input: { turn_detection: { type: 'server_vad' } } } };
const quietVad = { type: 'realtime', audio: { input: { turn_detection: { create_response: false } } } };
const manual = { type: 'realtime', audio: { input: { turn_detection: null, transcription: { model: 'whisper' } } } };
const dictation = { type: 'transcription', audio: { input: { turn_detection: { type: 'server_vad' } } } };

type Move = ['up' | 'down', string, JsonObject?];
const ask: Move = ['up', 'response.create', { event_id: 'rly_c1' }];
const created: Move = ['down', 'response.created', { response: { id: 'resp_1' } }];
const done: Move = ['down', 'response.done', { response: { id: 'resp_1' } }];
const started: Move = ['down', 'input_audio_buffer.speech_started', { item_id: 'item_1' }];
const stopped: Move = ['down', 'input_audio_buffer.speech_stopped', { item_id: 'item_1' }];
const commit: Move = ['up', 'input_audio_buffer.commit'];
const committed: Move = ['down', 'input_audio_buffer.committed', { item_id: 'item_1' }];
const transcript: Move = [
  'down',
  'conversation.item.input_audio_transcription.completed',
  { item_id: 'item_1', transcript: '' },
];
const refusal = (event_id: string | null): Move => ['down', 'error', { error: { event_id } }];

describe('what upstream owes', () => {
  it.each<[string, JsonObject, Move[], { busy: boolean; owed: boolean; unsettled: boolean }]>([
    ['nothing at first', vad, [], { busy: false, owed: false, unsettled: false }],
    ['an answer that was asked for', vad, [ask], { busy: true, owed: true, unsettled: true }],
    ['an answer that runs', vad, [ask, created], { busy: true, owed: true, unsettled: true }],
    ['nothing after the answer', vad, [ask, created, done], { busy: false, owed: false, unsettled: false }],
    ['nothing after its refusal', vad, [ask, refusal('rly_c1')], { busy: false, owed: false, unsettled: false }],
    [
      'nothing after a refusal of who knows what',
      vad,
      [ask, refusal(null)],
      { busy: false, owed: false, unsettled: false },
    ],
    [
      'an answer when something else was refused',
      vad,
      [ask, refusal('x')],
      { busy: true, owed: true, unsettled: true },
    ],
    ['an answer to speech', vad, [started, stopped, committed], { busy: true, owed: true, unsettled: true }],
    ['nothing while the user goes on', vad, [stopped, started], { busy: false, owed: false, unsettled: false }],
    [
      'nothing to speech it does not answer',
      quietVad,
      [stopped, committed],
      { busy: false, owed: false, unsettled: false },
    ],
    ['nothing to dictation', dictation, [stopped, committed], { busy: false, owed: false, unsettled: false }],
    ['the ack of a commit', vad, [commit], { busy: false, owed: true, unsettled: false }],
    ['nothing after it', vad, [commit, committed], { busy: false, owed: false, unsettled: false }],
    ['nothing for a mere commit', quietVad, [commit], { busy: false, owed: false, unsettled: false }],
    ['a transcript, but not at once', manual, [commit, committed], { busy: false, owed: false, unsettled: true }],
    ['nothing after it', manual, [commit, committed, transcript], { busy: false, owed: false, unsettled: false }],
    [
      'an answer, but not while a tool works',
      vad,
      [ask, created, ['down', 'response.mcp_call.in_progress', { item_id: 'item_2' }]],
      { busy: true, owed: false, unsettled: true },
    ],
  ])('%s', (_, session, moves, expected) => {
    const turns = createTurns();
    turns.configured(session);
    for (const [direction, type, fields] of moves) {
      if (direction === 'up') turns.up({ type, ...fields });
      else turns.down(type, { type, ...fields });
    }
    expect({ busy: turns.isBusy(), owed: turns.isOwed(), unsettled: turns.isUnsettled() }).toEqual(expected);
  });

  it('stays bounded, whatever upstream sends', () => {
    const turns = createTurns();
    turns.configured(manual);
    for (let i = 0; i < 10_000; i++) {
      turns.up({ type: 'response.create', event_id: `e${i}` });
      turns.down('response.created', { response: { id: `resp_${i}` } });
      turns.down('input_audio_buffer.committed', { item_id: `item_${i}` });
    }
    expect(turns.running.size).toBe(64);
  });

  it.each<[string, JsonObject]>([
    ['response.created', {}],
    ['response.done', { response: null }],
    ['response.done', { response: [] }],
    ['error', { error: 'text' }],
    ['constructor', {}],
    ['__proto__', {}],
  ])('survives %s in the wrong shape', (type, body) => {
    const turns = createTurns();
    turns.down(type, body);
    expect(turns.isBusy()).toBe(false);
  });
});

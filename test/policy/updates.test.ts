import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../src/protocol/event.js';
import { type Bench, bench, effective } from './bench.js';

const update = (session: JsonObject, eventId = 'c_1'): JsonObject => ({
  type: 'session.update',
  event_id: eventId,
  session: { type: 'realtime', ...session },
});
const slow = { audio: { output: { speed: 0.5 } } };
const ack = (session: JsonObject = effective()): JsonObject => ({
  type: 'session.updated',
  event_id: 'event_ack',
  session,
});
const refusal = (eventId: Json | undefined, fields: JsonObject = {}): JsonObject => ({
  type: 'error',
  event_id: 'event_err',
  error: {
    type: 'invalid_request_error',
    code: 'invalid_value',
    message: 'secret',
    param: 'session.audio.output.speed',
    event_id: eventId ?? null,
    ...fields,
  },
});
const types = (events: JsonObject[]): Json[] => events.map((event) => event.type ?? null);

describe('a session update of an end user', () => {
  it('carries what the client may set and nothing else, under an id of the relay', () => {
    const sent = bench().up(
      update({
        instructions: 'evil',
        tools: [{ type: 'mcp', server_url: 'https://evil.test' }],
        tool_choice: 'required',
        prompt: { id: 'x' },
        model: 'other',
        tracing: 'auto',
        truncation: 'disabled',
        include: ['item.input_audio_transcription.logprobs'],
        max_output_tokens: 'inf',
        reasoning: { effort: 'xhigh' },
        parallel_tool_calls: true,
        id: 'sess_x',
        expires_at: 1,
        unknown: { a: 1 },
        output_modalities: ['text'],
        audio: {
          input: {
            format: { type: 'audio/pcmu' },
            transcription: { model: 'other' },
            noise_reduction: null,
            turn_detection: { type: 'server_vad', threshold: 0.3, made_up: 1 },
            made_up: 1,
          },
          output: { format: { type: 'audio/pcm', rate: 24000 }, voice: 'x', speed: 1.2 },
          made_up: 1,
        },
      }),
    );
    expect(sent).toEqual({
      type: 'session.update',
      event_id: 'rly_c1',
      session: {
        type: 'realtime',
        output_modalities: ['text'],
        audio: {
          input: {
            format: { type: 'audio/pcmu' },
            noise_reduction: null,
            turn_detection: { type: 'server_vad', threshold: 0.3 },
          },
          output: { format: { type: 'audio/pcm', rate: 24000 }, speed: 1.2 },
        },
      },
    });
  });

  it('may switch turn detection off', () => {
    expect(bench().up(update({ audio: { input: { turn_detection: null } } }))?.session).toEqual({
      type: 'realtime',
      audio: { input: { turn_detection: null } },
    });
  });

  it('may leave its type out', () => {
    expect(bench().up({ type: 'session.update', session: slow })?.session).toEqual({ type: 'realtime', ...slow });
  });

  it('applies nothing when one value is wrong', () => {
    const session = bench();
    expect(session.up(update({ output_modalities: ['text'], audio: { output: { speed: 99 } } }))).toBeNull();
    expect(session.refusals[0]).toMatchObject({ code: 'invalid_value', param: 'session.audio.output.speed' });
    expect(session.down(ack())).toEqual([]);
  });

  const locked: [string, Record<string, unknown>, boolean][] = [
    ['is locked when the profile sets it', { session: { audio: { output: { speed: 1 } } } }, false],
    ['is free when the profile sets another', { session: { audio: { output: { voice: 'marin' } } } }, true],
    [
      'is free when the operator lists it',
      { session: { audio: { output: { speed: 1 } } }, client: { may_update: ['audio.output.speed'] } },
      true,
    ],
    ['is locked when the operator lists others', { client: { may_update: ['audio.output.voice'] } }, false],
    ['is locked when the operator lists none', { client: { may_update: [] } }, false],
  ];
  it.each(locked)('changes a field that %s', (_, settings, free) => {
    const session = bench(settings);
    expect(session.up(update(slow)) !== null).toBe(free);
    expect(session.answered).toHaveLength(free ? 0 : 1);
    expect(session.refusals).toEqual([]);
  });

  it('cannot change what the profile sets to null', () => {
    const session = bench({ session: { audio: { input: { turn_detection: null } } } });
    expect(session.up(update({ audio: { input: { turn_detection: { type: 'server_vad' } } } }))).toBeNull();
    expect(session.answered).toHaveLength(1);
  });

  it('of fields the server keeps for itself is not even looked at', () => {
    const session = bench({ session: { audio: { output: { speed: 1 } } } });
    session.up(update({ audio: { output: { speed: 'very' } }, max_output_tokens: -1 }));
    expect(session.refusals).toEqual([]);
    expect(session.answered).toHaveLength(1);
  });
});

describe('the answer to a session update', () => {
  it('is a redacted session.updated when upstream has acknowledged', () => {
    const session = bench();
    session.up(update(slow));
    expect(session.answered).toEqual([]);
    const [seen] = session.down(ack());
    expect(seen).toMatchObject({
      type: 'session.updated',
      event_id: 'event_ack',
      session: { id: 'sess_relay', model: 'public-model', instructions: '' },
    });
    expect(JSON.stringify(seen)).not.toContain('secret');
  });

  it('comes from the relay when nothing is left of it', () => {
    const session = bench();
    expect(session.up(update({ instructions: 'evil' }))).toBeNull();
    expect(session.answered).toMatchObject([{ type: 'session.updated', session: { instructions: '' } }]);
    expect(session.decisions).toEqual([['up', 'session.update', 'answer']]);
    expect(JSON.stringify(session.answered)).not.toMatch(/evil|secret/);
  });

  it('waits for its turn', () => {
    const session = bench();
    session.up(update(slow));
    session.up(update({ instructions: 'evil' }));
    session.up(update({ instructions: 'evil' }));
    session.up(update(slow));
    session.up(update({ instructions: 'evil' }));
    expect(session.answered).toEqual([]);
    expect(types(session.down(ack()))).toEqual(['session.updated', 'session.updated', 'session.updated']);
    expect(types(session.down(refusal('rly_c2')))).toEqual(['error', 'session.updated']);
    expect(session.down(ack())).toEqual([]);
  });

  it('is an error with its own id when upstream refuses it', () => {
    const session = bench();
    session.up(update(slow, 'mine'));
    const [seen] = session.down(refusal('rly_c1'));
    expect(seen).toMatchObject({
      type: 'error',
      event_id: 'event_err',
      error: {
        type: 'invalid_request_error',
        code: 'invalid_value',
        param: 'session.audio.output.speed',
        event_id: 'mine',
      },
    });
    expect(JSON.stringify(seen)).not.toMatch(/secret|rly_/);
    expect(session.down(ack())).toEqual([]);
  });

  it('is an error even when upstream does not say which update it refuses', () => {
    const session = bench();
    session.up(update(slow, 'mine'));
    session.up(update({ instructions: 'evil' }));
    const [error, local] = session.down(refusal(null));
    expect(error).toMatchObject({ type: 'error', error: { event_id: 'mine' } });
    expect(local).toMatchObject({ type: 'session.updated' });
  });

  it('is not held up by an update of the relay, whose ack stays inside', () => {
    const session = bench();
    const injected = session.policy.injected({
      type: 'session.update',
      session: { type: 'realtime', instructions: 'x' },
    });
    expect(injected.event_id).toMatch(/^rly_/);
    session.up(update(slow));
    session.up(update({ instructions: 'evil' }));
    session.policy.injected({ type: 'session.update', session: { type: 'realtime', instructions: 'y' } });
    expect(session.down(ack())).toEqual([]);
    expect(types(session.down(ack()))).toEqual(['session.updated', 'session.updated']);
    expect(session.down(ack())).toEqual([]);
  });

  it('does not follow an error of the relay, which stays inside', () => {
    const session = bench();
    const injected = session.policy.injected({ type: 'session.update', session: { type: 'realtime' } });
    session.up(update({ instructions: 'evil' }));
    expect(types(session.down(refusal(injected.event_id)))).toEqual(['session.updated']);
  });

  it('shows the newest configuration', () => {
    const session = bench();
    session.up(update(slow));
    const audio = { input: { turn_detection: null }, output: { voice: 'cedar', speed: 0.5 } };
    session.down(ack(effective({ audio })));
    session.up(update({ instructions: 'evil' }));
    expect(session.answered[0]).toMatchObject({
      session: { audio: { input: { turn_detection: null }, output: { speed: 0.5, voice: 'cedar' } } },
    });
  });

  it('shows a client the transcription that it has set itself, and only that', () => {
    const session = bench({ client: { may_update: ['audio.input.transcription', 'max_output_tokens'] } });
    session.up(update({ instructions: 'x' }));
    expect(session.answered[0]).toMatchObject({
      session: { max_output_tokens: 'inf', audio: { input: { transcription: null } } },
    });
    session.up(
      update({ max_output_tokens: 5, audio: { input: { transcription: { model: 'mine', language: 'en' } } } }),
    );
    const [seen] = session.down(ack());
    expect(seen).toMatchObject({
      session: { max_output_tokens: 5, audio: { input: { transcription: { model: 'mine', language: 'en' } } } },
    });
    expect(JSON.stringify(seen)).not.toContain('secret');
  });

  it('is refused when too many are under way', () => {
    const session = bench();
    for (let n = 0; n < 100; n++) session.up(update(slow));
    expect(session.refusals).toHaveLength(36);
    expect(session.refusals[0]).toMatchObject({ code: 'too_many_updates' });
  });
});

function failing(session: Bench, error: JsonObject): JsonObject[] {
  return session.down({
    type: 'error',
    event_id: 'event_err',
    error: { type: 'invalid_request_error', message: 'secret host', ...error },
  });
}

describe('an error of upstream', () => {
  const params: [Json, Json][] = [
    ['item.content[0].text', 'item.content[0].text'],
    ['audio_end_ms', 'audio_end_ms'],
    ['session.audio.output.speed', 'session.audio.output.speed'],
    ['session.audio.input.turn_detection.threshold', 'session.audio.input.turn_detection.threshold'],
    ['session.instructions', null],
    ['session.tools[0].parameters', null],
    ['session.audio.input.transcription.model', null],
    ['session.audio.input.turn_detection.secret words here', null],
    ['deployment-secret', null],
    ['response.tools', null],
    [7, null],
  ];
  it.each(params)('that names %j names %j to the client', (param, told) => {
    const [seen] = failing(bench(), { code: 'invalid_value', param, event_id: 'c_1' });
    expect(seen).toMatchObject({ error: { code: 'invalid_value', param: told, event_id: 'c_1' } });
    expect(JSON.stringify(seen)).not.toContain('secret');
  });

  const codes: [Json, string][] = [
    ['response_cancel_not_active', 'response_cancel_not_active'],
    ['input_audio_buffer_commit_empty', 'input_audio_buffer_commit_empty'],
    ['session_expired', 'session_expired'],
    ['insufficient_quota', 'upstream_error'],
    ['invalid_api_key', 'upstream_error'],
    ['DeploymentNotFound', 'upstream_error'],
    ['toString', 'upstream_error'],
    [null, 'upstream_error'],
    [{ secret: 1 }, 'upstream_error'],
  ];
  it.each(codes)('with code %j reaches the client as %s', (code, told) => {
    const [seen] = failing(bench(), { code, param: null, event_id: null });
    expect(seen).toMatchObject({ error: { code: told, param: null, event_id: null } });
    expect(JSON.stringify(seen)).not.toContain('secret');
  });

  it('of a kind that is not known has a known one', () => {
    expect(failing(bench(), { type: 'secret', code: 'invalid_value' })[0]).toMatchObject({
      error: { type: 'server_error' },
    });
    expect(bench().down({ type: 'error' })).toMatchObject([{ error: { code: 'upstream_error' } }]);
  });

  it('that nobody caused names no parameter', () => {
    expect(failing(bench(), { code: 'invalid_value', param: 'item.id' })[0]).toMatchObject({ error: { param: null } });
  });

  it.each(['rly_1', 'rly_c99', 'rly_configure', 'rly_'])('about %s stays inside', (eventId) => {
    expect(failing(bench(), { code: 'invalid_value', event_id: eventId })).toEqual([]);
  });

  it('does not lead a client to an id that is not fit for a log', () => {
    expect(failing(bench(), { event_id: 'a\nb' })[0]).toMatchObject({ error: { event_id: null } });
  });
});

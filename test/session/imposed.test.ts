import { describe, expect, it } from 'vitest';
import { createWatch } from '../../src/policy/conformance.js';
import type { JsonObject } from '../../src/protocol/event.js';
import { createImposed, settable } from '../../src/session/imposed.js';
import { bench, effective, profileOf } from '../policy/bench.js';

const vad = { type: 'server_vad', threshold: 0.7 };
const settings = {
  session: { instructions: 'Be kind, {{claims.name}}.', audio: { output: { voice: 'marin', speed: 1.1 } } },
};

describe('what is imposed on a session', () => {
  it('is what the profile says, for this user, and one object for all where no claim is asked for', () => {
    const profile = profileOf(settings);
    expect(createImposed(profile, { name: 'Ada' }).session).toMatchObject({ instructions: 'Be kind, Ada.' });
    const plain = profileOf({ session: { instructions: 'Be kind.' } });
    const [one, other] = [createImposed(plain, { name: 'Ada' }), createImposed(plain, {})];
    expect(one.session).toBe(other.session);
    expect(one.whole()).toBe(one.session);
  });

  it('is joined on a fresh leg by what the client has set', () => {
    const imposed = createImposed(profileOf(settings), { name: 'Ada' });
    imposed.accepted({ type: 'realtime', audio: { input: { turn_detection: vad } } });
    imposed.accepted({ max_output_tokens: 99, audio: { input: { turn_detection: null } } });
    expect(imposed.whole()).toMatchObject({
      instructions: 'Be kind, Ada.',
      max_output_tokens: 99,
      audio: { input: { turn_detection: null }, output: { voice: 'marin', speed: 1.1 } },
    });
    expect(JSON.stringify(imposed.session)).not.toContain('max_output_tokens');
  });

  it('is what a backend has set since, which the client cannot set any more, whatever it has set before', () => {
    const profile = profileOf({
      ...settings,
      client: { may_update: ['audio.input.turn_detection', 'audio.output.speed'] },
    });
    const imposed = createImposed(profile, {});
    const other = createImposed(profile, {});
    imposed.accepted({ audio: { input: { turn_detection: null } } });
    imposed.patch({ instructions: 'Be brief.', audio: { input: { turn_detection: vad } } });
    expect(imposed.session).toMatchObject({
      instructions: 'Be brief.',
      audio: { input: { turn_detection: vad }, output: { voice: 'marin' } },
    });
    expect(imposed.whole()).toMatchObject({ audio: { input: { turn_detection: vad } } });
    expect(imposed.locks.isLocked('audio.input.turn_detection')).toBe(true);
    expect(imposed.locks.mayUpdate).toEqual(['audio.output.speed']);
    expect(other.locks.isLocked('audio.input.turn_detection')).toBe(false);
    expect(other.session).toMatchObject({ instructions: 'Be kind, .' });
  });

  it('is not changed by who holds what was given', () => {
    const imposed = createImposed(profileOf(settings), {});
    const fields = { audio: { input: { turn_detection: { ...vad } } } };
    imposed.patch(fields);
    fields.audio.input.turn_detection.threshold = 0.1;
    expect(imposed.session).toMatchObject({ audio: { input: { turn_detection: vad } } });
  });
});

describe('the policy of a session', () => {
  it('remembers for a fresh leg what upstream took of the client, and not what it refused', () => {
    const session = bench();
    const update = (fields: JsonObject) => session.up({ type: 'session.update', session: fields });
    update({ audio: { input: { turn_detection: vad } } });
    const refused = update({ max_output_tokens: 5 });
    session.down({ type: 'session.updated', event_id: 'e1', session: effective() });
    session.down({
      type: 'error',
      event_id: 'e2',
      error: { code: 'invalid_value', event_id: refused?.event_id ?? null },
    });
    const { clients } = session.imposed;
    expect(clients).toMatchObject({ audio: { input: { turn_detection: vad } } });
    expect(clients).not.toHaveProperty('max_output_tokens');
  });

  it('holds the client to what a backend has set in the meantime', () => {
    const session = bench();
    session.imposed.patch({ audio: { input: { turn_detection: vad } } });
    expect(session.up({ type: 'session.update', session: { audio: { input: { turn_detection: null } } } })).toBeNull();
    expect(session.answered).toMatchObject([{ type: 'session.updated' }]);
  });
});

describe('the guard of a call', () => {
  it('takes what a backend has set for right, and puts that back', () => {
    const profile = profileOf({ session: { instructions: 'Be kind.', audio: { output: { speed: 1 } } } });
    const imposed = createImposed(profile, {});
    const watch = createWatch(imposed, { type: 'realtime', instructions: 'Be kind.' });
    imposed.patch({ instructions: 'Be brief.' });
    expect(watch.drifted(effective({ instructions: 'Be brief.' }))).not.toContain('instructions');
    expect(watch.drifted(effective({ instructions: 'Be kind.' }))).toContain('instructions');
    expect(watch.remedy(['instructions'])).toMatchObject({ instructions: 'Be brief.' });
  });
});

it('knows which fields can be set after a session has begun', () => {
  const fields = ['instructions', 'audio.input.turn_detection', 'audio.output.voice', 'tracing', 'model'];
  expect(fields.map(settable)).toEqual(['always', 'always', 'before speech', 'once', 'never']);
});

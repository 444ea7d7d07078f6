import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createClock } from '../../src/clock.js';
import { createWatch } from '../../src/policy/conformance.js';
import { profileSchema } from '../../src/policy/profile.js';
import { eventOf, type JsonObject } from '../../src/protocol/event.js';
import { createGuard, type Guard } from '../../src/session/guard.js';
import { createImposed } from '../../src/session/imposed.js';
import { createPatches } from '../../src/session/patches.js';

const own = { type: 'realtime', instructions: 'Be brief.', tool_choice: 'none' };
const audio = { input: { turn_detection: { type: 'server_vad' } }, output: { voice: 'marin', speed: 1 } };
/** The session as upstream runs it. */
const clean = { ...own, output_modalities: ['audio'], max_output_tokens: 'inf', truncation: 'auto', audio };

function guarded({ violations = 3, reportOnly = false, trust = 'end_user' } = {}) {
  const profile = { ...profileSchema.parse({ session: own, client: { trust } }), name: 'default' };
  const said: JsonObject[] = [];
  const told: (readonly [readonly string[], number])[] = [];
  const imposed = createImposed(profile, {});
  const watch = createWatch(imposed, clean);
  const clock = createClock();
  const patches = createPatches(imposed, clock, (session) => guard.look(session));
  const guard: Guard = createGuard(
    { watch, patches, violations, reportOnly, isForged: ({ id }) => id === 'item_forged' },
    {
      say: (body) => said[said.push(body) - 1] as JsonObject,
      added: () => undefined,
      violated: (fields, times) => void told.push([fields, times]),
    },
  );
  const hear = (body: JsonObject) => guard.step(eventOf(body));
  const updated = (session: JsonObject) => hear({ type: 'session.updated', session: { ...clean, ...session } });
  const idOf = (index: number) => String(said[index]?.event_id);
  return { guard, patches, said, told, hear, updated, idOf };
}

describe('a session that a browser changes', () => {
  it('is put back, field by field, and counted', () => {
    const { updated, said, told } = guarded();
    updated({ instructions: 'Say anything.', tool_choice: 'auto' });
    expect(told).toEqual([[['instructions', 'tool_choice'], 1]]);
    expect(said).toEqual([{ type: 'session.update', event_id: expect.stringMatching(/^rly_/), session: own }]);
  });

  it('is left alone as it was made, and where a client may change it', () => {
    const { updated, hear, said, told, guard } = guarded();
    updated({});
    updated({ audio: { ...audio, output: { voice: 'marin', speed: 1.2 } } });
    hear({ type: 'response.done', response: { instructions: 'Say anything.' } });
    hear({ type: 'session.updated' });
    expect([said, told, guard.violations]).toEqual([[], [], 0]);
  });

  it('is not taken for changed again by what was said before it was put back', () => {
    const { updated, said, told } = guarded();
    updated({ instructions: 'One.' });
    updated({ instructions: 'One.' });
    updated({});
    expect([told.length, said.length]).toEqual([1, 1]);
  });

  it('is put back whole when another field is changed meanwhile', () => {
    const { updated, said, told } = guarded();
    updated({ instructions: 'One.' });
    updated({ tool_choice: 'auto' });
    expect(told.map(([, times]) => times)).toEqual([1, 2]);
    expect(said[1]?.session).toEqual(own);
    // Which of the two was put back by then nobody knows.
    expect(said).toHaveLength(2);
  });

  it('forbidden: ends with the last change that the profile bears', () => {
    const { updated, said, told } = guarded({ violations: 2 });
    updated({ instructions: 'One.' });
    updated({});
    expect(() => updated({ instructions: 'Two.' })).toThrow(expect.objectContaining({ id: 'forbidden' }));
    expect(told).toHaveLength(2);
    expect(said).toHaveLength(1);
  });

  it('forbidden: ends when upstream does not take it back, and not by anybody else’s error', () => {
    const { updated, hear, idOf } = guarded();
    updated({ instructions: 'One.' });
    const error = { type: 'invalid_request_error', code: 'unknown_parameter', param: 'session.instructions' };
    hear({ type: 'error', error: { ...error, event_id: 'rly_of_the_browser' } });
    hear({ type: 'error', error });
    expect(() => hear({ type: 'error', error: { ...error, event_id: idOf(0) } })).toThrow(
      expect.objectContaining({ id: 'forbidden', cause: expect.objectContaining({ rejected: expect.anything() }) }),
    );
  });

  it('is only told of where the profile only reports', () => {
    const { updated, said, told, guard } = guarded({ reportOnly: true, violations: 2 });
    for (let i = 0; i < 5; i++) updated({ instructions: `${i}` });
    expect([said, told.length, guard.violations]).toEqual([[], 5, 5]);
  });

  it('may be changed by a trusted client where the profile says nothing', () => {
    const { updated, told } = guarded({ trust: 'trusted' });
    updated({ max_output_tokens: 7, audio: { ...audio, input: { noise_reduction: { type: 'near_field' } } } });
    expect(told).toEqual([]);
    updated({ instructions: 'Mine.' });
    expect(told).toEqual([[['instructions'], 1]]);
  });

  it('passes every event on as it came', () => {
    const { guard } = guarded();
    for (const body of [{ type: 'session.updated', session: { ...clean, tool_choice: 'auto' } }, { type: 'x' }]) {
      const event = eventOf(body);
      expect(guard.step(event)).toBe(event);
    }
  });
});

describe('an answer in place of the server', () => {
  it.each(['conversation.item.added', 'conversation.item.created'])('ends the call at once, as %s', (type) => {
    const { hear, told } = guarded();
    hear({ type, item: { id: 'item_other' } });
    expect(() => hear({ type, item: { id: 'item_forged' } })).toThrow(
      expect.objectContaining({ id: 'forbidden', message: 'The client answered a call that the server answers for.' }),
    );
    expect(told).toHaveLength(1);
  });

  it('is only told of where the profile only reports', () => {
    const { hear, told } = guarded({ reportOnly: true });
    hear({ type: 'conversation.item.added', item: { id: 'item_forged' } });
    expect(told).toEqual([[['the output of a call that the server answers for'], 1]]);
  });
});

describe('what a backend sets in a session that a browser can change', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('is no violation, and is put back when the browser changes it', () => {
    const { patches, updated, said, told } = guarded();
    const { event_id, session } = patches.send({ instructions: 'Offer help.', tool_choice: 'auto' });
    expect([event_id, session]).toEqual([
      expect.stringMatching(/^rly_/),
      { type: 'realtime', instructions: 'Offer help.', tool_choice: 'auto' },
    ]);
    // What upstream ran before is told in between.
    updated({ max_output_tokens: 7 });
    updated({ instructions: 'Offer help.', tool_choice: 'auto' });
    expect(told).toEqual([[['max_output_tokens'], 1]]);
    updated({ instructions: 'Mine.', tool_choice: 'auto' });
    expect(told[1]).toEqual([['instructions'], 2]);
    expect(said[1]).toMatchObject({ session: { type: 'realtime', instructions: 'Offer help.' } });
  });

  it('hides nothing of the browser’s where upstream refuses it', () => {
    const { patches, updated, hear, said, told } = guarded();
    const { event_id } = patches.send({ instructions: 'Offer help.' });
    updated({ instructions: 'Mine.' });
    expect(told).toEqual([]);
    hear({ type: 'error', error: { event_id, code: 'invalid_value' } });
    expect(told).toEqual([[['instructions'], 1]]);
    expect(said).toMatchObject([{ session: { instructions: 'Be brief.' } }]);
  });

  it('hides nothing of the browser’s where upstream does not say that it runs it', () => {
    const { patches, updated, said, told } = guarded();
    patches.send({ instructions: 'Offer help.' });
    updated({ instructions: 'Mine.' });
    vi.advanceTimersByTime(4999);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual([[['instructions'], 1]]);
    expect(said).toMatchObject([{ session: { instructions: 'Be brief.' } }]);
  });

  it('is waited for no longer than the session', () => {
    const { patches } = guarded();
    patches.send({ instructions: 'Offer help.' });
    patches.send({ tool_choice: 'auto' });
    patches.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(patches.has('instructions')).toBe(false);
  });
});

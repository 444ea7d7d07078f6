import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Leg } from '../../src/legs/leg.js';
import type { RealtimeEvent } from '../../src/protocol/event.js';
import { Replies } from '../../src/session/replies.js';

type Told = { type: string; event_id?: string; error?: Record<string, unknown> } & Record<string, unknown>;

let open: boolean;
beforeEach(() => {
  open = true;
});

function replies({ relayEvents = true, mostRefusals = 3 } = {}) {
  const told: Told[] = [];
  const ends: [string, string | undefined][] = [];
  const client = { bufferedBytes: 0, send: (event: RealtimeEvent) => void told.push(event.body as Told) };
  const made = new Replies({
    client: client as unknown as Leg,
    mostBuffered: 1000,
    mostRefusals,
    relayEvents,
    isOpen: () => open,
    end: (id, message) => void ends.push([id, message]),
  });
  return { made, told, ends, client };
}

const refusal = { code: 'event_not_allowed', message: 'Not here.', param: 'x', eventId: 'mine' } as const;

describe('an event that is refused', () => {
  it('is told by its own id, with an id of the relay that no other event has', () => {
    const { made, told } = replies();
    made.refuse(refusal);
    made.refuse({ ...refusal, eventId: null });
    expect(told.map(({ error }) => error?.event_id)).toEqual(['mine', null]);
    expect(told[0]).toMatchObject({
      type: 'error',
      error: { code: 'event_not_allowed', message: 'Not here.', param: 'x' },
    });
    expect(told.map(({ event_id }) => event_id)).toEqual(['event_rly_1', 'event_rly_2']);
  });

  it('ends the session when it is one too many, and says which was the last', () => {
    const { made, told, ends } = replies();
    for (let i = 0; i < 3; i++) made.refuse(refusal);
    expect(made.refusals).toBe(3);
    expect(ends).toEqual([['bad_event', '3 events were refused; the last one: Not here.']]);
    expect(told).toHaveLength(3);
  });

  it('for its rate ends it as that', () => {
    const { made, ends } = replies({ mostRefusals: 1 });
    made.refuse({ ...refusal, code: 'rate_limited' });
    expect(ends[0]?.[0]).toBe('rate_limited');
  });

  it('by bad timing alone is told and not held against the client', () => {
    const { made, told, ends } = replies({ mostRefusals: 1 });
    for (let i = 0; i < 5; i++) made.refuse(refusal, true);
    expect([told.length, made.refusals, ends]).toEqual([5, 0, []]);
  });

  it('after the end is neither told nor counted', () => {
    const { made, told, ends } = replies({ mostRefusals: 1 });
    open = false;
    made.refuse(refusal);
    made.answer({ type: 'session.updated' });
    expect([told, made.refusals, ends]).toEqual([[], 0, []]);
  });
});

it('a client that does not read its answers ends as slow_consumer', () => {
  const { made, ends, client } = replies();
  client.bufferedBytes = 1000;
  made.answer({ type: 'session.updated' });
  expect(ends).toEqual([]);
  client.bufferedBytes = 1001;
  made.answer({ type: 'session.updated' });
  expect(ends).toEqual([['slow_consumer', undefined]]);
});

describe('fields that did not pass', () => {
  it('are named once a second, with the event they were in', () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(5000);
    const { made, told } = replies();
    made.ignored(['voice'], 'mine');
    made.ignored(['tools'], null);
    clock.mockReturnValue(6000);
    made.ignored(['tools', 'model'], null);
    clock.mockRestore();
    expect(told).toEqual([
      { type: 'relay.ignored_fields', event_id: 'mine', fields: ['voice'] },
      { type: 'relay.ignored_fields', event_id: 'event_rly_2', fields: ['tools', 'model'] },
    ]);
  });

  it('are named to no client that knows nothing of the relay', () => {
    const { made, told } = replies({ relayEvents: false });
    made.ignored(['voice'], 'mine');
    made.notify('relay.held', { why: 'rate', seconds: 5 });
    expect(told).toEqual([]);
  });
});

describe('the last thing that a client hears', () => {
  it('is the exit, in its own words or in those given, and when to come back', () => {
    const { made } = replies();
    expect(made.farewell('session_expired', undefined, undefined)?.body).toMatchObject({
      type: 'error',
      event_id: 'event_rly_1',
      error: { code: 'session_expired', event_id: null, message: expect.stringMatching(/\.$/) },
    });
    expect(made.farewell('overloaded', 'Too many.', 1500)?.body).toMatchObject({
      error: { code: 'overloaded', message: 'Too many.', retry_after_ms: 1500 },
    });
  });

  it('is nothing where nothing went wrong', () => {
    expect(replies().made.farewell('normal', undefined, undefined)).toBeNull();
  });
});

import { describe, expect, it } from 'vitest';
import { Buckets } from '../../src/admission/buckets.js';
import { createSaying } from '../../src/control/saying.js';
import type { JsonObject } from '../../src/protocol/event.js';
import type { Registered } from '../../src/session/registry.js';
import { createLog } from '../../src/telemetry/log.js';

interface Sender {
  heard?(response: JsonObject | null): void;
}

const by = { issuer: 'https://issuer.test', subject: 'backend', tenant: null };
const clear: JsonObject = { type: 'input_audio_buffer.clear' };

const ask: JsonObject = { type: 'response.create' };
const response = {
  id: 'resp_1',
  status: 'completed',
  output: [{ type: 'message', content: [{ type: 'output_text', text: 'Yes.' }] }],
};

function saying({ waiting = 0 } = {}) {
  let now = 0;
  let said = 0;
  const hearing: NonNullable<Sender['heard']>[] = [];
  const session = {
    id: 'sess_1',
    buffered: { up: waiting, down: 0 },
    admission: { profile: { control: { may_update: [] }, webrtc: {} } },
    backend: {
      owns: () => false,
      has: () => false,
      unsaid: () => null,
      say: ({ events }: { events: readonly JsonObject[] }, { heard }: Sender) => {
        said += events.length;
        if (heard) hearing.push(heard);
        return { ids: events.map(() => `event_${said}`) };
      },
    },
  } as unknown as Registered;
  const say = createSaying(createLog('silent'), new Buckets(() => now), () => now);
  return {
    pass: (ms: number) => (now += ms),
    said: () => said,
    hearing,
    say: (key: string | null, events: JsonObject[] = [clear], digest = 'd', waitMs = 0, who = by) =>
      say(session, { by: who, isBound: false, events, isSingle: false, key, digest, waitMs }),
  };
}

describe('what backends say in a session', () => {
  it('is remembered by its key for ten minutes, and then is new', async () => {
    const { say, said, pass } = saying();
    expect(await say('k')).toMatchObject({ outcome: 'placed', isReplayed: false });
    pass(599_999);
    expect(await say('k')).toEqual({ outcome: 'placed', ids: ['event_1'], response: null, isReplayed: true });
    expect(await say('k', [clear], 'other')).toEqual({ outcome: 'idempotency_mismatch' });
    pass(1);
    expect(await say('k', [clear], 'other')).toMatchObject({ outcome: 'placed', isReplayed: false });
    expect(said()).toBe(2);
  });

  it('is remembered for the newest 1000 keys', async () => {
    const { say, pass } = saying();
    for (let i = 0; i <= 1000; i++) {
      pass(10);
      await say(`k${i}`);
    }
    expect(await say('k1')).toMatchObject({ isReplayed: true });
    expect(await say('k0')).toMatchObject({ isReplayed: false });
  });

  it('comes at 100 events a second, 1000 at once, and a repeat costs nothing', async () => {
    const { say, said, pass } = saying();
    const list = Array.from({ length: 50 }, () => clear);
    expect(await say('k', list)).toMatchObject({ outcome: 'placed' });
    for (let i = 1; i < 20; i++) expect(await say(null, list)).toMatchObject({ outcome: 'placed' });
    expect(await say(null, list)).toEqual({ outcome: 'too_often', waitMs: 500 });
    expect(await say('k', list)).toMatchObject({ isReplayed: true });
    pass(500);
    expect(await say(null, list)).toMatchObject({ outcome: 'placed' });
    expect(said()).toBe(1050);
  });

  it('is not added to what upstream does not take', async () => {
    const { say, said } = saying({ waiting: 5 * 1024 * 1024 });
    expect(await say(null)).toEqual({ outcome: 'backed_up' });
    expect(said()).toBe(0);
  });
});

describe('an answer that is waited for', () => {
  const told = { id: 'resp_1', status: 'completed', text: 'Yes.', output: response.output };

  it('comes with what was placed, and to whoever sends the same again', async () => {
    const { say, hearing, said } = saying();
    const first = say('k', [ask], 'd', 10_000);
    const second = say('k', [ask], 'd', 10_000);
    hearing[0]?.(response);
    expect(await first).toMatchObject({ response: told, isReplayed: false });
    expect(await second).toMatchObject({ response: told, isReplayed: true });
    expect(await say('k', [ask], 'd', 10_000)).toMatchObject({ response: told, isReplayed: true });
    // Who does not wait is answered as before.
    expect(await say('k', [ask], 'd')).toMatchObject({ response: null, isReplayed: true });
    expect(said()).toBe(1);
  });

  it('is not waited for where none is asked for, none comes, or it takes too long', async () => {
    const { say, hearing } = saying();
    expect(await say(null, [clear], 'd', 10_000)).toMatchObject({ outcome: 'placed', response: null });
    expect(hearing).toEqual([]);
    const refused = say(null, [ask], 'd', 10_000);
    hearing[0]?.(null);
    expect(await refused).toMatchObject({ outcome: 'placed', response: null });
    expect(await say(null, [ask], 'd', 5)).toMatchObject({ outcome: 'placed', response: null });
  });

  it('is waited for by eight at once of one who asks, and the others are answered at once', async () => {
    const { say, hearing, pass } = saying();
    const waiting = Array.from({ length: 8 }, () => say(null, [ask], 'd', 10_000));
    expect(await say(null, [ask], 'd', 5)).toMatchObject({ outcome: 'placed', response: null });
    hearing[8]?.(response);
    expect(await say(null, [ask], 'd', 10_000)).toMatchObject({ outcome: 'placed', response: null });
    // Somebody else of the same tenant waits all the same.
    const other = say(null, [ask], 'd', 10_000, { ...by, subject: 'other' });
    hearing[10]?.(response);
    expect(await other).toMatchObject({ response: told });
    hearing[0]?.(response);
    expect(await waiting[0]).toMatchObject({ response: told });
    pass(1000);
    const next = say(null, [ask], 'd', 10_000);
    for (const hear of hearing) hear(response);
    expect(await next).toMatchObject({ response: told });
    await Promise.all(waiting);
  });
});

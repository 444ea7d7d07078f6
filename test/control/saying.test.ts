import { describe, expect, it } from 'vitest';
import { Buckets } from '../../src/admission/buckets.js';
import { createSaying } from '../../src/control/saying.js';
import type { JsonObject } from '../../src/protocol/event.js';
import type { Registered } from '../../src/session/registry.js';
import { createLog } from '../../src/telemetry/log.js';

const by = { issuer: 'https://issuer.test', subject: 'backend', tenant: null };
const clear: JsonObject = { type: 'input_audio_buffer.clear' };

function saying({ waiting = 0 } = {}) {
  let now = 0;
  let said = 0;
  const session = {
    id: 'sess_1',
    buffered: { up: waiting, down: 0 },
    admission: { profile: { control: { may_update: [] }, webrtc: {} } },
    backend: {
      owns: () => false,
      has: () => false,
      unsaid: () => null,
      say: ({ events }: { events: readonly JsonObject[] }) => {
        said += events.length;
        return { ids: events.map(() => `event_${said}`) };
      },
    },
  } as unknown as Registered;
  const say = createSaying(createLog('silent'), new Buckets(() => now), () => now);
  return {
    pass: (ms: number) => (now += ms),
    said: () => said,
    say: (key: string | null, events: JsonObject[] = [clear], digest = 'd') =>
      say(session, { by, isBound: false, events, isSingle: false, key, digest }),
  };
}

describe('what backends say in a session', () => {
  it('is remembered by its key for ten minutes, and then is new', () => {
    const { say, said, pass } = saying();
    expect(say('k')).toMatchObject({ outcome: 'placed', isReplayed: false });
    pass(599_999);
    expect(say('k')).toEqual({ outcome: 'placed', ids: ['event_1'], isReplayed: true });
    expect(say('k', [clear], 'other')).toEqual({ outcome: 'idempotency_mismatch' });
    pass(1);
    expect(say('k', [clear], 'other')).toMatchObject({ outcome: 'placed', isReplayed: false });
    expect(said()).toBe(2);
  });

  it('is remembered for the newest 1000 keys', () => {
    const { say, pass } = saying();
    for (let i = 0; i <= 1000; i++) {
      pass(10);
      say(`k${i}`);
    }
    expect(say('k1')).toMatchObject({ isReplayed: true });
    expect(say('k0')).toMatchObject({ isReplayed: false });
  });

  it('comes at 100 events a second, 1000 at once, and a repeat costs nothing', () => {
    const { say, said, pass } = saying();
    const list = Array.from({ length: 50 }, () => clear);
    expect(say('k', list)).toMatchObject({ outcome: 'placed' });
    for (let i = 1; i < 20; i++) expect(say(null, list)).toMatchObject({ outcome: 'placed' });
    expect(say(null, list)).toEqual({ outcome: 'too_often', waitMs: 500 });
    expect(say('k', list)).toMatchObject({ isReplayed: true });
    pass(500);
    expect(say(null, list)).toMatchObject({ outcome: 'placed' });
    expect(said()).toBe(1050);
  });

  it('is not added to what upstream does not take', () => {
    const { say, said } = saying({ waiting: 5 * 1024 * 1024 });
    expect(say(null)).toEqual({ outcome: 'backed_up' });
    expect(said()).toBe(0);
  });
});

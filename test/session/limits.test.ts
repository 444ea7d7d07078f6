import { Buffer } from 'node:buffer';
import { beforeEach, describe, expect, it } from 'vitest';
import { eventOf, type RealtimeEvent, type Refusal } from '../../src/protocol/event.js';
import { createReader } from '../../src/protocol/read.js';
import { bytesPerSecond, createLimits, type Rates } from '../../src/session/limits.js';

const rates: Rates = {
  events_per_second: 10,
  events_burst: 20,
  responses_per_second: 0.5,
  responses_burst: 2,
  audio_realtime_factor: 2,
  audio_burst_seconds: 5,
};
const read = createReader({ direction: 'up', dialect: 'ga', slowBytes: 2 ** 25, eventBytes: 2 ** 25 });
let clock: number;
beforeEach(() => {
  clock = 1_000_000;
});

/** Raw audio of so many seconds, at 24 kHz. */
function sound(seconds: number): RealtimeEvent {
  const audio = Buffer.alloc(Math.ceil((seconds * 48_000) / 3) * 3).toString('base64');
  return read(Buffer.from(`{"type":"input_audio_buffer.append","audio":"${audio}"}`));
}

const clear = () => eventOf({ type: 'input_audio_buffer.clear' });

function limits(more: Partial<Rates> = {}, inputRate = 48_000) {
  const refusals: Refusal[] = [];
  const made = createLimits(
    { ...rates, ...more },
    () => inputRate,
    (refusal) => refusals.push(refusal),
    () => clock,
  );
  const waitMs = (event: RealtimeEvent, bytes = 50) => made.waitMs(event, bytes, clock);
  /** How many of these pass before one has to wait. */
  const passing = (event: () => RealtimeEvent, bytes?: number) => {
    let count = 0;
    while (count < 5000 && waitMs(event(), bytes) === 0) count++;
    return count;
  };
  return { ...made, waitMs, passing, refusals };
}

describe('a client that sends more than its rate', () => {
  it('may send its burst at once, waits then, and is told how long', () => {
    const { waitMs, passing } = limits();
    expect(passing(clear)).toBe(20);
    expect(waitMs(clear())).toBe(110);
    clock += 109;
    expect(waitMs(clear())).toBe(0);
    expect(waitMs(clear())).toBeGreaterThan(0);
  });

  it('is never refused, and gains nothing by waiting longer than its burst', () => {
    const { passing, refusals } = limits();
    passing(clear);
    clock += 3_600_000;
    expect(passing(clear)).toBe(20);
    expect(refusals).toEqual([]);
  });

  it('uses nothing up with an event that has to wait', () => {
    const { waitMs, passing } = limits();
    passing(clear);
    const first = waitMs(clear());
    for (let i = 0; i < 100; i++) expect(waitMs(clear())).toBe(first);
  });

  it('waits for bytes that were read and are no event', () => {
    const { wasted, waitMs } = limits();
    expect(wasted(100, clock)).toBe(0);
    expect(wasted(2 * 1024 * 1024, clock)).toBeGreaterThan(0);
    expect(waitMs(clear(), 20_000)).toBeGreaterThan(0);
    clock += 1000;
    expect(waitMs(clear(), 20_000)).toBe(0);
  });

  it('waits with what has to be parsed after 2 MiB, at 512 KiB a second', () => {
    const { passing, waitMs } = limits({ events_burst: 1000 });
    expect(passing(clear, 256 * 1024)).toBe(8);
    expect(waitMs(clear(), 256 * 1024)).toBe(Math.ceil((16 / 512) * 1000) + 10);
  });
});

describe('speech', () => {
  it('passes at the pace at which it is spoken for as long as it is spoken', () => {
    const { waitMs } = limits();
    for (let tick = 0; tick < 3600; tick++) {
      clock += 100;
      expect(waitMs(sound(0.1))).toBe(0);
    }
  });

  it('is held when it comes faster than the factor allows, after its burst', () => {
    const { waitMs, passing } = limits();
    expect(passing(() => sound(1))).toBe(5);
    const wait = waitMs(sound(1));
    expect(wait).toBe(60);
    clock += wait;
    expect(waitMs(sound(1))).toBe(0);
    // An event that overdraws passes whole; the next one makes up for it.
    expect(waitMs(sound(0.1))).toBeGreaterThan(400);
  });

  it('that was held back by the net may come at once, up to ten minutes of it', () => {
    const { waitMs, passing } = limits();
    clock += 60_000;
    expect(passing(() => sound(10))).toBe(13);
    expect(waitMs(sound(0.1))).toBeGreaterThan(0);
    clock += 24 * 3_600_000;
    expect(passing(() => sound(60))).toBe(10);
  });

  it('counts by the format of the session', () => {
    const phone = limits({}, bytesPerSecond({ type: 'audio/pcmu' }));
    // A second of 24 kHz PCM16 has the bytes of six seconds of G.711.
    expect(phone.passing(() => sound(1))).toBe(1);
    expect([{ type: 'audio/pcma' }, { type: 'audio/pcm' }, null, 'x'].map(bytesPerSecond)).toEqual([
      8000, 48_000, 48_000, 48_000,
    ]);
  });

  it('in as small pieces as a page has them is not held for their number', () => {
    const { waitMs } = limits({ events_per_second: 1, events_burst: 1 });
    const quantum = sound(128 / 24_000);
    for (let piece = 0; piece < 1870; piece++) {
      clock += 128 / 24;
      expect(waitMs(quantum)).toBe(0);
    }
  });

  it('is held for its number over a thousand a second', () => {
    const { passing } = limits();
    const empty = read(Buffer.from('{"type":"input_audio_buffer.append","audio":""}'));
    expect(passing(() => empty)).toBe(1000);
  });
});

describe('a request for a response over its rate', () => {
  it('is refused by its id, and passes when there is room again', () => {
    const { responses, refusals } = limits();
    const create = eventOf({ type: 'response.create', event_id: 'mine' });
    expect([responses(create), responses(create), responses(create)]).toEqual([create, create, null]);
    expect(refusals).toEqual([expect.objectContaining({ code: 'rate_limited', eventId: 'mine', param: null })]);
    clock += 2011;
    expect(responses(create)).toBe(create);
  });

  it('has no id that the client did not give it, and holds up nothing else', () => {
    const { responses, refusals } = limits({ responses_burst: 1 });
    responses(eventOf({ type: 'response.create' }));
    responses(eventOf({ type: 'response.create', event_id: 7 }));
    expect(refusals[0]?.eventId).toBeNull();
    const cancel = eventOf({ type: 'response.cancel' });
    expect(responses(cancel)).toBe(cancel);
  });
});

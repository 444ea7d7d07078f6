import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createClock } from '../../src/clock.js';
import { createDrain } from '../../src/session/drain.js';
import { createTurns } from '../../src/session/pending.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function draining() {
  const is = { holding: false, owing: false, written: true };
  const ends: number[] = [];
  const turns = createTurns();
  turns.configured({ type: 'realtime', audio: { input: { turn_detection: { type: 'server_vad' } } } });
  const drain = createDrain({
    clock: createClock(),
    turns,
    isOwing: () => is.owing,
    isHolding: () => is.holding,
    isWritten: () => is.written,
    over: () => void ends.push(performance.now()),
  });
  return { is, ends, turns, drain };
}

describe('the end of a drain', () => {
  it('comes only when the client has been written all of the answer, however slowly it reads', () => {
    const { is, ends, turns, drain } = draining();
    turns.down('response.created', { response: { id: 'resp_1' } });
    is.written = false;
    drain.look();
    expect(vi.getTimerCount()).toBe(0);
    turns.down('response.done', { response: { id: 'resp_1', status: 'completed', output: [] } });
    drain.look();
    vi.advanceTimersByTime(5000);
    expect(ends).toEqual([]);
    is.written = true;
    vi.advanceTimersByTime(25);
    expect(ends).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('comes only when what was held has had the time to be heard', () => {
    const { is, ends, drain } = draining();
    is.holding = true;
    drain.look();
    is.holding = false;
    vi.advanceTimersByTime(1000);
    drain.look();
    expect(ends).toEqual([]);
    vi.advanceTimersByTime(1000);
    drain.look();
    expect(ends).toHaveLength(1);
  });

  it('does not come for a session that has ended otherwise', () => {
    const { is, ends, drain } = draining();
    is.written = false;
    drain.look();
    drain.stop();
    is.written = true;
    vi.advanceTimersByTime(1000);
    drain.look();
    expect(ends).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

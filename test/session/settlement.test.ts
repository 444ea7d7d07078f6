import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createClock } from '../../src/clock.js';
import { Settlements } from '../../src/session/settlement.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** The rest of a session that has these responses running. */
function rest(...ids: string[]) {
  const running = new Set(ids);
  const cancelled: string[] = [];
  const ends: boolean[] = [];
  return {
    running,
    cancelled,
    ends,
    isUnsettled: () => running.size > 0,
    cancel: (id: string) => void cancelled.push(id),
    settled: (complete: boolean) => void ends.push(complete),
  };
}

describe('a settlement', () => {
  it('cancels every response once, those that begin later included, and ends when all have ended', () => {
    const settlements = new Settlements(10, createClock());
    const one = rest('a', 'b');
    const settlement = settlements.begin(one);
    expect(one.cancelled).toEqual(['a', 'b']);
    one.running.add('c');
    settlement?.heard();
    settlement?.heard();
    expect(one.cancelled).toEqual(['a', 'b', 'c']);
    one.running.clear();
    settlement?.heard();
    settlement?.finish();
    expect(one.ends).toEqual([true]);
    expect(settlements.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is over two seconds after the last cancel that is not obeyed, incomplete', () => {
    const settlements = new Settlements(10, createClock());
    const one = rest('a');
    const settlement = settlements.begin(one);
    vi.advanceTimersByTime(1500);
    one.running.delete('a');
    one.running.add('b');
    settlement?.heard();
    vi.advanceTimersByTime(1999);
    expect(one.ends).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(one.ends).toEqual([false]);
    expect(settlements.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is over after ten seconds when nothing runs and something is still to come, incomplete', () => {
    const settlements = new Settlements(10, createClock());
    const one = { ...rest(), isUnsettled: () => true };
    settlements.begin(one);
    vi.advanceTimersByTime(9_999);
    expect(one.ends).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(one.ends).toEqual([false]);
    expect(settlements.size).toBe(0);
  });

  it('is not begun over the limit, nor after the relay has closed', async () => {
    const settlements = new Settlements(2, createClock());
    expect([1, 2, 3].map(() => settlements.begin(rest('a')) !== null)).toEqual([true, true, false]);
    await settlements.close(0);
    expect(settlements.size).toBe(0);
    expect(settlements.begin(rest('a'))).toBeNull();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('has the time to drain, and the relay waits no longer than that, or than it is needed', async () => {
    const slow = new Settlements(2, createClock());
    const never = { ...rest(), isUnsettled: () => true };
    slow.begin(never);
    const closed = slow.close(3000);
    await vi.advanceTimersByTimeAsync(2999);
    expect(never.ends).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await closed;
    expect(never.ends).toEqual([false]);

    const quick = new Settlements(2, createClock());
    const soon = rest('a');
    const settlement = quick.begin(soon);
    const waited = quick.close(3000);
    soon.running.clear();
    settlement?.heard();
    await waited;
    expect(soon.ends).toEqual([true]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

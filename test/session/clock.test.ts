import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createClock, guarded } from '../../src/clock.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

it('does each thing when it is due, with one timer for all of them', () => {
  const clock = createClock();
  const done: string[] = [];
  for (const ms of [300, 100, 200, 100]) clock.at(ms, () => done.push(`${ms} at ${performance.now() - started}`));
  const started = performance.now();
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(99);
  expect(done).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(done).toEqual(['100 at 100', '100 at 100']);
  vi.advanceTimersByTime(1000);
  expect(done).toEqual(['100 at 100', '100 at 100', '200 at 200', '300 at 300']);
  expect(vi.getTimerCount()).toBe(0);
});

it('does nothing of what is taken back, however it stands among the others, and keeps no timer for it', () => {
  const clock = createClock();
  const done: number[] = [];
  // In no order, so that some that are taken back stand in the middle of the heap.
  const delays = Array.from({ length: 200 }, (_, i) => (i * 7919) % 1000);
  const cancels = delays.map((ms) => clock.at(ms, () => done.push(ms)));
  cancels.forEach((cancel, i) => {
    if (i % 3 === 0) cancel();
  });
  vi.advanceTimersByTime(1000);
  expect(done).toEqual(delays.filter((_, i) => i % 3 !== 0).sort((a, b) => a - b));
  for (const cancel of cancels) cancel();
  const only = clock.at(50, () => done.push(50));
  expect(vi.getTimerCount()).toBe(1);
  only();
  expect(vi.getTimerCount()).toBe(0);
});

it('lets what is put on while it rings wait for its own turn', () => {
  const clock = createClock();
  const done: string[] = [];
  const again = (): void => {
    done.push('again');
    if (done.length < 3) clock.at(0, again);
  };
  clock.at(10, again);
  const taken = clock.at(10, () => done.push('taken back'));
  clock.at(5, () => taken());
  vi.advanceTimersByTime(10);
  expect(done).toEqual(['again']);
  vi.advanceTimersByTime(2);
  expect(done).toEqual(['again', 'again', 'again']);
});

it('goes on with the others when one throws', () => {
  const clock = createClock();
  const done: string[] = [];
  clock.at(10, () => {
    throw new Error('unforeseen');
  });
  clock.at(10, () => done.push('the other'));
  expect(() => vi.advanceTimersByTime(10)).toThrow('unforeseen');
  vi.advanceTimersByTime(1);
  expect(done).toEqual(['the other']);
});

it('tells whoever is guarded what was thrown, and goes on', () => {
  const clock = createClock();
  const failed: unknown[] = [];
  const done: string[] = [];
  const own = guarded(clock, (error) => failed.push(error));
  const cause = new Error('broken');
  own.at(10, () => {
    throw cause;
  });
  own.at(20, () => done.push('own'));
  own.at(20, () => done.push('taken back'))();
  clock.at(20, () => done.push('another'));
  vi.advanceTimersByTime(20);
  expect(failed).toEqual([cause]);
  expect(done).toEqual(['own', 'another']);
});

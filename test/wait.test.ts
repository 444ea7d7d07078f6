import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { inTime } from '../src/wait.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('waits for what comes in time, whatever becomes of it, and leaves no timer', async () => {
  expect(await inTime(Promise.resolve(), 50)).toBe(true);
  expect(await inTime(Promise.reject(new Error('failed')), 50)).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

it('waits no longer than it may', async () => {
  const waited = inTime(new Promise(() => undefined), 50);
  await vi.advanceTimersByTimeAsync(49);
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(await waited).toBe(false);
});

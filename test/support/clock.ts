/** Time for tests of what is a matter of time: the relay's clocks and ticks go as told, sockets stay real. */

import { onTestFinished, vi } from 'vitest';

export interface HeldTime {
  /** Lets so many seconds pass at once, by both clocks, and the relay look once. */
  pass(seconds: number): Promise<void>;
  /** Lets time pass second by second, with room for what the sockets have to say. */
  live(seconds: number): Promise<void>;
  /** Sets the wall clock forward, or back: no time passes. */
  set(seconds: number): void;
}

/** Holds time until the test is over; the relay must be started after this. */
export function holdTime(now: Date = new Date()): HeldTime {
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'], now });
  const real = performance.now.bind(performance);
  let ahead = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => real() + ahead);
  onTestFinished(() => {
    clock.mockRestore();
    vi.useRealTimers();
  });
  const set = (seconds: number) => void vi.setSystemTime(Date.now() + seconds * 1000);
  const pass = async (seconds: number) => {
    ahead += seconds * 1000;
    set(seconds - 1);
    vi.advanceTimersByTime(1000);
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    set,
    pass,
    async live(seconds) {
      for (let second = 0; second < seconds; second++) await pass(1);
    },
  };
}

import { describe, expect, it } from 'vitest';
import { append, audioDelta, bareTextDelta, isWhole } from '../../bench/events.js';
import { frame, frameCounter, Order, round, stamp } from '../../bench/frames.js';

/** The faults a receiver sees in these frames. */
function faultsIn(frames: readonly Buffer[]): number {
  const order = new Order();
  const count = frameCounter((_opcode, _length, start) => order.next(start));
  for (const each of frames) count(each);
  return order.faults;
}

describe('what the benchmark checks of arriving events', () => {
  const numbered = round((id) => frame(append(id), true));

  it('finds nothing wrong with rounds in order', () => {
    expect(faultsIn([...numbered, ...numbered, ...numbered])).toBe(0);
  });

  it('sees an event that is missing, comes twice or too early', () => {
    const [first, second, third, ...rest] = numbered as [Buffer, Buffer, Buffer, ...Buffer[]];
    expect(faultsIn([first, third, ...rest])).toBeGreaterThan(0);
    expect(faultsIn([first, second, second, third, ...rest])).toBeGreaterThan(0);
    expect(faultsIn([first, third, second, ...rest])).toBeGreaterThan(0);
  });

  it('sees time stamps that do not rise', () => {
    const stamped = Array.from({ length: 3 }, () => frame(append(stamp()), true));
    expect(faultsIn(stamped)).toBe(0);
    expect(faultsIn(stamped.toReversed())).toBeGreaterThan(0);
  });

  it.each([
    ['an append', append('n1')],
    ['an audio delta', audioDelta(1, 'n1')],
    ['words', bareTextDelta(1, 'n1')],
    ['an audio delta that was renamed', audioDelta(1, 'n1').replace('output_audio', 'audio')],
  ])('tells %s from one with another payload', (_, event) => {
    expect(isWhole(Buffer.from(event))).toBe(true);
    expect(isWhole(Buffer.from(event.replace(/.(.)"\}$/, 'x$1"}')))).toBe(false);
    expect(isWhole(Buffer.from(event.replace(/.."\}$/, '"}')))).toBe(false);
  });
});

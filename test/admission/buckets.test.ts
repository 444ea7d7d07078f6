import { describe, expect, it } from 'vitest';
import { Buckets } from '../../src/admission/buckets.js';

const rate = { perSecond: 2, burst: 3 };

describe('a bucket', () => {
  it('takes a burst, says how long until there is room again, and leaks', () => {
    let now = 0;
    const buckets = new Buckets(() => now);
    expect([1, 2, 3, 4, 5].map(() => buckets.add('a', rate))).toEqual([0, 0, 0, 500, 500]);
    expect(buckets.add('b', rate)).toBe(0);
    now += 499;
    expect(buckets.add('a', rate)).toBe(1);
    now += 1;
    expect([buckets.add('a', rate), buckets.add('a', rate)]).toEqual([0, 500]);
    now += 60_000;
    expect([1, 2, 3, 4].map(() => buckets.add('a', rate))).toEqual([0, 0, 0, 500]);
  });

  it('that is full stays full, whoever comes with how many other names', () => {
    const buckets = new Buckets(() => 0);
    for (let i = 0; i < 3; i++) buckets.add('flooder', rate);
    const before = performance.now();
    for (let i = 0; i < 100_000; i++) buckets.add(`name-${i}`, rate);
    expect(performance.now() - before).toBeLessThan(3000);
    expect(buckets.add('flooder', rate)).toBe(500);
  });
});

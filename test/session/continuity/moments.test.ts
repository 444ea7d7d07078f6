import { expect, it } from 'vitest';
import { Failures, Losses } from '../../../src/session/continuity/losses.js';
import { momentsOf } from '../../../src/session/continuity/moments.js';

it('a leg is replaced minutes before its end, and in short sessions in this order all the same', () => {
  expect(momentsOf(3_600_000, 0)).toEqual({ dial: 122_500, soft: 120_000, firm: 45_000, hard: 20_000, cut: 5000 });
  expect(momentsOf(3_600_000, 1).dial).toBe(180_000);
  for (const seconds of [6, 20, 60, 600, 1800]) {
    for (const random of [0, 0.5, 1]) {
      const { dial, soft, firm, hard, cut } = momentsOf(seconds * 1000, random);
      expect(dial).toBeLessThan(seconds * 1000);
      expect(dial).toBeGreaterThanOrEqual(soft + 1500);
      expect([soft >= firm, firm >= hard, hard > cut, cut >= 500, hard >= 1500, soft >= 2000]).not.toContain(false);
    }
  }
});

it('three legs are lost in a minute, and twenty in a session', () => {
  const losses = new Losses();
  expect([0, 1000, 2000, 3000].map((at) => losses.add(at))).toEqual([true, true, true, false]);
  const slow = new Losses();
  const added = Array.from({ length: 21 }, (_, index) => slow.add(index * 61_000));
  expect(added.filter(Boolean)).toHaveLength(20);
  expect(added[20]).toBe(false);
});

it('two answers in a row that fail by trouble of upstream are a reason, and a third is none', () => {
  const failed = { status: 'failed', status_details: { error: { type: 'server_error' } } };
  const failures = new Failures();
  const all = [failed, { status: 'completed' }, failed, failed, failed, { status: 'cancelled' }, failed, failed];
  expect(all.map((response) => failures.ended(response))).toEqual([
    false,
    false,
    false,
    true,
    false,
    false,
    false,
    true,
  ]);
  const filtered = {
    status: 'failed',
    status_details: { error: { type: 'invalid_request_error', code: 'content_filter' } },
  };
  expect([filtered, filtered].map((response) => failures.ended(response))).toEqual([false, false]);
});

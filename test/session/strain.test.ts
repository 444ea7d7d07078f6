import { describe, expect, it } from 'vitest';
import { choose, chooseByBytes } from '../../src/session/shedding.js';
import { calm, isBusy, judge, type Load, shareToShed, tellsBusy } from '../../src/session/strain.js';

const limits = { busy_delay_ms: 200, busy_percent: 90 };

/** The judgement after looks with these delays (ms) or utilisations, a second apart. */
function looked(delays: readonly number[], utilisation = 0, given = limits): { load: Load; last: number } {
  let load = calm;
  delays.forEach((delayMs, second) => {
    load = judge(load, { delayMs, utilisation, lateMs: 0 }, given, second * 1000);
  });
  return { load, last: delays.at(-1) ?? 0 };
}

const share = ({ load, last }: ReturnType<typeof looked>) =>
  shareToShed(load, { delayMs: last, utilisation: 1, lateMs: 0 });

describe('the judgement of load', () => {
  it('is busy after three looks in a row over a limit, and not any more after one below', () => {
    expect(isBusy(looked([300, 300]).load)).toBe(false);
    expect(isBusy(looked([300, 300, 300]).load)).toBe(true);
    expect(isBusy(looked([300, 300, 100, 300, 300]).load)).toBe(false);
    expect(isBusy(looked([300, 300, 300, 100]).load)).toBe(false);
    expect(isBusy(looked([0, 0, 0], 0.95).load)).toBe(true);
    expect(isBusy(looked([0, 0, 0], 0.85).load)).toBe(false);
  });

  it('knows no limit where it is 0', () => {
    const off = { busy_delay_ms: 0, busy_percent: 0 };
    expect(isBusy(looked([5000, 5000, 5000, 5000], 1, off).load)).toBe(false);
    expect(share(looked([5000, 5000, 5000, 5000], 1, off))).toBe(0);
  });

  it('tells balancers that it is busy for 30 seconds at a time', () => {
    const { load } = looked(Array(60).fill(300));
    expect(load.busySince).toBe(2000);
    expect(tellsBusy(load, 32_000)).toBe(true);
    expect(tellsBusy(load, 32_001)).toBe(false);
    expect(isBusy(load)).toBe(true);
  });

  it('sheds nobody for one standstill, however long, and more the later everybody is', () => {
    expect(share(looked([60_000]))).toBe(0);
    expect(share(looked([60_000, 100, 60_000, 60_000]))).toBe(0);
    expect(share(looked([1900, 1900, 1900, 1900]))).toBe(0);
    expect(share(looked([2050, 2050, 2050]))).toBe(0.05);
    expect(share(looked([3000, 3000, 3000]))).toBeCloseTo(1 / 3);
    expect(share(looked([32_000, 32_000, 32_000]))).toBe(0.5);
  });
});

describe('the choice of who is shed', () => {
  const one = (user: string, weight: number, stillMs = 0) => ({ user, weight, stillMs });

  it('is the newest while nobody stands out', () => {
    const sessions = [one('a', 10), one('b', 12), one('c', 9)];
    expect(choose(sessions).victim).toBe(sessions[2]);
    expect(choose([one('a', 10)]).victim).toMatchObject({ user: 'a' });
  });

  it('is of the user whose sum stands out the session that has not got on for longest', () => {
    const sessions = [one('evil', 10, 5), one('a', 1), one('evil', 10, 90), one('evil', 10, 20), one('b', 1)];
    const { victim, heaviest } = choose(sessions);
    expect(victim).toBe(sessions[2]);
    expect(heaviest).toEqual({ user: 'evil', weight: 30 });
    expect(choose([one('evil', 10, 0), one('honest', 0, 0)]).victim.user).toBe('evil');
  });

  it('for bytes is nobody who holds less than others, however new', () => {
    const sessions = [one('a', 100), one('b', 110), one('c', 105), one('honest', 2)];
    expect(chooseByBytes(sessions).victim.user).toBe('c');
  });
});

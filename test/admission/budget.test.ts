import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dailyBudget, type QuotaWarning } from '../../src/admission/budget.js';
import { tenantKey, userKey } from '../../src/auth/principal.js';
import type { RelayError } from '../../src/errors.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store } from '../../src/store/store.js';

const day = 86_400_000;
const noon = Date.UTC(2026, 2, 1, 12);
const alice = { issuer: 'https://a.test', tenant: 'acme', subject: 'alice' };
let clock: number;
let store: Store;
const now = () => clock;

beforeEach(() => {
  clock = noon;
  store = new MemoryStore({ now });
});
afterEach(() => store.close());

type Limits = Parameters<typeof dailyBudget>[0];
let holders = 0;

/** A session of a user of acme that is admitted and not open yet. */
async function admitted(limits: Limits, subject = 'alice', from: Pick<Store, 'settle'> = store) {
  const daily = dailyBudget(limits, { ...alice, subject }, now);
  const holder = `${holders++}`;
  const place = { purpose: 'sessions' as const, group: null, key: holder, limit: 1, ttlSeconds: 60 };
  const entered = await store.enter({ place, holds: daily.holds, holder, owner: '1' });
  if (entered.outcome === 'spent') throw daily.refusal(entered);
  if (entered.outcome !== 'in') throw new Error(entered.outcome);
  const leave = () => store.leave(holder);
  const renew = () => store.enter({ place, holds: [], holder, owner: '1' });
  return { budget: daily.open(from, holder, entered), leave, renew };
}

async function open(limits: Limits, subject?: string, from?: Pick<Store, 'settle'>) {
  const { budget, leave, renew } = await admitted(limits, subject, from);
  const warnings: QuotaWarning[] = [];
  const spent: RelayError[] = [];
  budget.start({ nearlySpent: (warning) => warnings.push(warning), spent: (error) => spent.push(error) }, clock);
  return { budget, warnings, spent, leave, renew };
}

/** What is used of a budget today. */
async function counter(name: string, scope = `user:${userKey(alice)}`): Promise<number> {
  const look = {
    counter: `${name}:${scope}`,
    group: null,
    limit: 1,
    most: 0,
    least: 0,
    isExact: false,
    total: 0,
    told: 0,
  };
  return (await store.settle('who only looks', [look])).reserved[0]?.used ?? Number.NaN;
}
const tenantScope = `tenant:${tenantKey(alice)}`;

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the budgets of a session', () => {
  it('cost the store nothing where none is set', async () => {
    const untouched = { settle: () => Promise.reject(new Error('asked')) };
    const { budget, spent } = await open({}, 'alice', untouched);
    budget.tokens(1e9);
    budget.tick(noon + 1e9);
    budget.stop(noon + 1e9);
    budget.close();
    await settled();
    expect(spent).toEqual([]);
  });

  it('are charged with exactly what was used', async () => {
    const { budget } = await open({ tokens_per_day: 100_000, minutes_per_day: 60, sessions_per_day: 5 });
    for (let second = 1; second <= 95; second++) {
      clock = noon + second * 1000;
      budget.tick(clock);
      budget.tokens(17);
      await settled();
    }
    clock += 300;
    budget.stop(clock);
    budget.tokens(1000);
    budget.close();
    await settled();
    expect(await counter('tokens_per_day')).toBe(95 * 17 + 1000);
    expect(await counter('minutes_per_day')).toBe(96);
    expect(await counter('sessions_per_day')).toBe(1);
  });

  it('are charged exactly, too, by many sessions at once, and are spent once for each', async () => {
    const sessions = await Promise.all(Array.from({ length: 10 }, () => open({ tokens_per_day: 1000 })));
    for (let round = 0; round < 15; round++) {
      for (const { budget, spent } of sessions) if (spent.length === 0) budget.tokens(10);
      await settled();
    }
    for (const { budget } of sessions) budget.close();
    await settled();
    // Each may have been at its last turn when the budget ran out.
    const used = await counter('tokens_per_day');
    expect(used).toBeGreaterThanOrEqual(1000);
    expect(used).toBeLessThanOrEqual(1000 + 10 * 10);
    expect(sessions.map(({ spent }) => spent.length)).toEqual(Array(10).fill(1));
    expect(sessions[0]?.spent[0]).toMatchObject({ id: 'quota_exceeded', retryAfterMs: day / 2 });
  });

  it('warn once at 80 %, with what is really used', async () => {
    const { budget, warnings } = await open({ tokens_per_day: 1000 });
    budget.tokens(799);
    await settled();
    expect(warnings).toEqual([]);
    budget.tokens(1);
    await settled();
    budget.tokens(50);
    await settled();
    expect(warnings).toEqual([
      { budget: 'tokens_per_day', scope: 'user', used: 800, limit: 1000, resets_at: Date.UTC(2026, 2, 2) / 1000 },
    ]);
  });

  it('are those of the new day after midnight, where what was not settled counts', async () => {
    const { budget, spent, renew } = await open({ tokens_per_day: 1000 });
    budget.tokens(995);
    await settled();
    for (let waited = 0; waited < day / 2; waited += 50_000) {
      clock = noon + waited;
      await renew();
    }
    clock = noon + day / 2;
    await renew();
    budget.tokens(7);
    await settled();
    budget.close();
    await settled();
    expect(spent).toEqual([]);
    expect(await counter('tokens_per_day')).toBe(7);
  });

  it('are given back whole by a session that never started', async () => {
    const { leave } = await admitted({ sessions_per_day: 1, minutes_per_day: 1, tokens_per_day: 1 });
    // Somebody else's may come back: that is no reason to stay away until midnight.
    await expect(open({ sessions_per_day: 1 })).rejects.toMatchObject({ id: 'quota_exceeded', retryAfterMs: 5000 });
    await leave();
    for (const name of ['sessions_per_day', 'minutes_per_day', 'tokens_per_day']) expect(await counter(name)).toBe(0);
    await open({ sessions_per_day: 1 });
    await expect(open({ sessions_per_day: 1 })).rejects.toMatchObject({ retryAfterMs: day / 2 });
  });

  it('are counted once by a session that tells its last after it has left', async () => {
    const { budget, leave } = await open({ tokens_per_day: 1000, sessions_per_day: 3 });
    budget.tokens(50);
    await settled();
    await leave();
    budget.tokens(70);
    budget.close();
    await settled();
    expect(await counter('tokens_per_day')).toBe(120);
    expect(await counter('sessions_per_day')).toBe(1);
    // Nothing is held any more: another one may have all that is left.
    expect((await open({ tokens_per_day: 121 })).spent).toEqual([]);
  });

  it.each([100, 1000])(
    'of a tenant let %i sessions talk that have not spent them, and add up exactly',
    async (count) => {
      const limits = { tenant: { tokens_per_day: 100_000, minutes_per_day: 10_000, sessions_per_day: count } };
      const sessions = await Promise.all(Array.from({ length: count }, (_, i) => open(limits, `user-${i}`)));
      await settled();
      for (let round = 0; round < 5; round++) {
        clock += 1000;
        for (const { budget } of sessions) {
          budget.tick(clock);
          budget.tokens(19);
        }
        await settled();
      }
      expect(sessions.flatMap(({ spent }) => spent)).toEqual([]);
      for (const { budget, leave } of sessions) {
        budget.stop(clock);
        budget.close();
        await leave();
      }
      await settled();
      expect(await counter('tokens_per_day', tenantScope)).toBe(count * 95);
      expect(await counter('minutes_per_day', tenantScope)).toBe(count * 5);
      expect(await counter('sessions_per_day', tenantScope)).toBe(count);
      await expect(open(limits)).rejects.toMatchObject({ id: 'quota_exceeded' });
    },
  );

  it('of sessions are exact at any race, those of tokens refuse nobody before all is used', async () => {
    const limits = { sessions_per_day: 7, tenant: { tokens_per_day: 3 } };
    const opened = await Promise.allSettled(Array.from({ length: 50 }, () => open(limits)));
    expect(opened.filter(({ status }) => status === 'fulfilled')).toHaveLength(7);
    await settled();
    expect(await counter('sessions_per_day')).toBe(7);
    const [first] = opened;
    if (first?.status !== 'fulfilled') throw new Error('not in');
    first.value.budget.tokens(3);
    await settled();
    expect(first.value.spent).toMatchObject([{ id: 'quota_exceeded' }]);
    await expect(open(limits, 'bob')).rejects.toMatchObject({ id: 'quota_exceeded', message: /tenant/ });
  });

  it('end a session for which others hold all that is left only after a minute, and not before', async () => {
    const limits = { tenant: { tokens_per_day: 2 } };
    const holders = [await open(limits, 'ann'), await open(limits, 'ben')];
    const { budget, spent, renew } = await open(limits, 'carl');
    for (let second = 1; second <= 61; second++) {
      clock = noon + second * 1000;
      for (const one of [...holders, { renew }]) await one.renew();
      budget.tick(clock);
      await settled();
    }
    expect(spent).toEqual([]);
    clock += 1000;
    budget.tick(clock);
    await settled();
    expect(spent).toMatchObject([{ id: 'quota_exceeded' }]);
    expect(await counter('tokens_per_day', tenantScope)).toBe(0);
  });

  it('are told every 20 seconds, so that a process that is killed has little to forget', async () => {
    const { budget } = await open({ tokens_per_day: 100_000 });
    budget.tokens(3);
    for (let second = 1; second < 20; second++) budget.tick(noon + second * 1000);
    expect(await counter('tokens_per_day')).toBe(0);
    budget.tick(noon + 20_000);
    await expect.poll(() => counter('tokens_per_day')).toBe(3);
  });

  it('go on as soon as something comes back', async () => {
    const limits = { tenant: { tokens_per_day: 1 } };
    const holder = await open(limits, 'ann');
    const { budget, spent, renew } = await open(limits, 'carl');
    clock += 30_000;
    await renew();
    await holder.leave();
    budget.tick(clock);
    await settled();
    clock += 45_000;
    budget.tick(clock);
    await settled();
    expect(spent).toEqual([]);
  });

  it('do not end a session because the store is out of reach, and catch up when it is back', async () => {
    let down = false;
    const shaky: Pick<Store, 'settle'> = {
      settle: (...args) => (down ? Promise.reject(new Error('down')) : store.settle(...args)),
    };
    const { budget, spent } = await open({ tokens_per_day: 1000 }, 'alice', shaky);
    down = true;
    budget.tokens(2000);
    await settled();
    expect(spent).toEqual([]);
    down = false;
    budget.tokens(1);
    await settled();
    expect(spent).toHaveLength(1);
    expect(await counter('tokens_per_day')).toBe(2001);
  });
});

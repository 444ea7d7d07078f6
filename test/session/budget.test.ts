import { beforeEach, describe, expect, it } from 'vitest';
import { userKey } from '../../src/auth/principal.js';
import type { RelayError } from '../../src/errors.js';
import { openBudget, type QuotaWarning } from '../../src/session/budget.js';
import { createMemoryStore, type Store } from '../../src/store/store.js';

const day = 86_400_000;
const noon = Date.UTC(2026, 2, 1, 12);
const alice = { issuer: 'https://a.test', tenant: 'acme', subject: 'alice' };
let clock: number;
let store: Store;
const now = () => clock;

beforeEach(() => {
  clock = noon;
  store = createMemoryStore({ now });
});

async function open(limits: Parameters<typeof openBudget>[1], from: Pick<Store, 'draw' | 'charge'> = store) {
  const budget = await openBudget(from, limits, alice, now);
  const warnings: QuotaWarning[] = [];
  const spent: RelayError[] = [];
  budget.start({ nearlySpent: (warning) => warnings.push(warning), spent: (error) => spent.push(error) }, clock);
  return { budget, warnings, spent };
}

async function counter(name: string, at = '2026-03-01'): Promise<number> {
  return store.charge(`${name}:user:${at}:${userKey(alice)}`, 0, noon + day);
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the budgets of a session', () => {
  it('cost the store nothing where none is set', async () => {
    const untouched = {
      draw: () => Promise.reject(new Error('asked')),
      charge: () => Promise.reject(new Error('asked')),
    };
    const { budget, spent } = await open({}, untouched);
    budget.tokens(1e9);
    budget.tick(noon + 1e9);
    budget.stop(noon + 1e9);
    budget.close();
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

  it('are those of the new day after midnight, and the rest goes back to the old one', async () => {
    const { budget, spent } = await open({ tokens_per_day: 1000 });
    budget.tokens(995);
    await settled();
    clock += day / 2;
    budget.tokens(7);
    await settled();
    budget.close();
    await settled();
    expect(spent).toEqual([]);
    expect(await counter('tokens_per_day')).toBeLessThanOrEqual(1000);
    const total = (await counter('tokens_per_day')) + (await counter('tokens_per_day', '2026-03-02'));
    expect(total).toBe(1002);
  });

  it('are given back whole by a session that never started', async () => {
    const budget = await openBudget(store, { sessions_per_day: 1, minutes_per_day: 1, tokens_per_day: 1 }, alice, now);
    await expect(open({ sessions_per_day: 1 })).rejects.toMatchObject({ id: 'quota_exceeded' });
    budget.abandon();
    budget.abandon();
    await settled();
    for (const name of ['sessions_per_day', 'minutes_per_day', 'tokens_per_day']) expect(await counter(name)).toBe(0);
  });

  it('do not end a session because the store is out of reach, and catch up when it is back', async () => {
    let down = false;
    const shaky: Pick<Store, 'draw' | 'charge'> = {
      draw: (...args) => (down ? Promise.reject(new Error('down')) : store.draw(...args)),
      charge: (...args) => (down ? Promise.reject(new Error('down')) : store.charge(...args)),
    };
    const { budget, spent } = await open({ tokens_per_day: 1000 }, shaky);
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

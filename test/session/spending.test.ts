import { beforeEach, describe, expect, it } from 'vitest';
import { dailyBudget } from '../../src/admission/budget.js';
import type { RelayError } from '../../src/errors.js';
import type { JsonObject } from '../../src/protocol/event.js';
import { Account } from '../../src/session/spending.js';
import type { Settled, Total } from '../../src/store/store.js';

const noon = Date.UTC(2026, 2, 1, 12);
const dayEnds = noon + 43_200_000;
const alice = { issuer: 'https://a.test', tenant: null, subject: 'alice' };

let running: Set<string> | null;
beforeEach(() => {
  running = new Set();
});

/** An account with one budget of 100 tokens, of which 10 are held; the store is asked and answers as told. */
function account({ isSpent = true } = {}) {
  const daily = dailyBudget({ tokens_per_day: 100 }, alice, () => noon);
  const settled: (readonly Total[])[] = [];
  const store = {
    settle: async (_holder: string, totals: readonly Total[]): Promise<Settled> => {
      settled.push(totals);
      return { reserved: [{ used: 90, held: isSpent ? 0 : 50, isSpent }], dayEnds };
    },
  };
  const budget = daily.open(store, 'sess_1', {
    outcome: 'in',
    reserved: [{ used: 0, held: 10, isSpent: false }],
    dayEnds,
  });
  const warned: JsonObject[] = [];
  const cancelled: string[] = [];
  const ends: RelayError[] = [];
  const made = new Account(budget, {
    warn: (warning) => void warned.push(warning),
    turns: () => running && { running },
    cancel: (id) => void cancelled.push(id),
    end: (error) => void ends.push(error),
  });
  const heard = () => new Promise((resolve) => setImmediate(resolve));
  return { made, settled, warned, cancelled, ends, heard };
}

describe('the account of a session', () => {
  it('quota_exceeded: ends it at once when a budget is used up and nothing runs', async () => {
    const { made, ends, cancelled, heard } = account();
    made.start(0);
    made.charge(10);
    await heard();
    expect(ends.map(({ id }) => id)).toEqual(['quota_exceeded']);
    expect(cancelled).toEqual([]);
  });

  it('cuts the answers that run short, and ends with them', async () => {
    const { made, ends, cancelled, heard } = account();
    running?.add('resp_1').add('resp_2');
    made.start(0);
    made.charge(10);
    await heard();
    expect(cancelled).toEqual(['resp_1', 'resp_2']);
    made.tick(performance.now());
    expect(ends).toEqual([]);
    running?.clear();
    made.charge(3);
    // The event that says so is passed on first.
    expect(ends).toEqual([]);
    await heard();
    expect(ends.length).toBeGreaterThan(0);
  });

  it('waits for an answer that does not stop no longer than five seconds', async () => {
    const { made, ends, heard } = account();
    running?.add('resp_1');
    made.start(0);
    made.charge(10);
    await heard();
    made.tick(performance.now() + 4900);
    expect(ends).toEqual([]);
    made.tick(performance.now() + 5100);
    expect(ends.map(({ id }) => id)).toEqual(['quota_exceeded']);
  });

  it('warns of a budget that is nearly used up, and goes on while there is something left', async () => {
    const { made, ends, warned, heard } = account({ isSpent: false });
    made.start(0);
    made.charge(10);
    await heard();
    expect(warned).toEqual([expect.objectContaining({ budget: 'tokens_per_day', used: 90, limit: 100 })]);
    made.tick(1000);
    expect(ends).toEqual([]);
  });

  it('ends one that has no upstream yet', async () => {
    running = null;
    const { made, ends, heard } = account();
    made.start(0);
    made.charge(10);
    await heard();
    expect(ends).toHaveLength(1);
  });

  it('tells what was used after the end as well, and asks for no more', async () => {
    const { made, settled, heard } = account({ isSpent: false });
    made.start(0);
    made.stop(1000);
    made.charge(5);
    made.close();
    await heard();
    expect(settled.at(-1)).toEqual([expect.objectContaining({ total: 5, most: 0 })]);
    made.close();
    await heard();
    expect(settled).toHaveLength(1);
  });
});

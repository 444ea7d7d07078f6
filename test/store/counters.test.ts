import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore, type Store } from '../../src/store/store.js';

let clock: { ms: number };
let store: Store;
const until = 1_760_000_100_000;
const create = (maxEntries?: number): Store =>
  createMemoryStore({ now: () => clock.ms, ...(maxEntries !== undefined && { maxEntries }) });
const taken = async (key: string, limit: number, amount: number) =>
  (await store.draw([{ key, limit, amount }], until))[0]?.taken;

beforeEach(() => {
  clock = { ms: 1_760_000_000_000 };
  store = create();
});
afterEach(() => store.close());

describe('a counter', () => {
  it('gives as much as its limit leaves, and then nothing', async () => {
    expect(await store.draw([{ key: 'a', limit: 10, amount: 7 }], until)).toEqual([{ taken: 7, used: 7 }]);
    expect(await store.draw([{ key: 'a', limit: 10, amount: 7 }], until)).toEqual([{ taken: 3, used: 10 }]);
    expect(await store.draw([{ key: 'a', limit: 10, amount: 7 }], until)).toEqual([{ taken: 0, used: 10 }]);
    expect(await store.draw([{ key: 'a', limit: 5, amount: 1 }], until)).toEqual([{ taken: 0, used: 10 }]);
  });

  it('is drawn from by exactly one of many who ask at once for the last part', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => taken('a', 1, 1)));
    expect(all.filter((one) => one === 1)).toHaveLength(1);
  });

  it('gives nothing when another one of the same draw is used up', async () => {
    await store.charge('b', 3, until);
    const draws = [
      { key: 'a', limit: 10, amount: 1 },
      { key: 'b', limit: 3, amount: 1 },
    ];
    expect(await store.draw(draws, until)).toEqual([
      { taken: 0, used: 0 },
      { taken: 0, used: 3 },
    ]);
    expect(await taken('a', 10, 10)).toBe(10);
  });

  it('is charged beyond its limit, gets back what was not used, and never falls below 0', async () => {
    expect(await taken('a', 10, 10)).toBe(10);
    expect(await store.charge('a', 5, until)).toBe(15);
    expect(await taken('a', 10, 1)).toBe(0);
    expect(await store.charge('a', -7, until)).toBe(8);
    expect(await taken('a', 10, 9)).toBe(2);
    expect(await store.charge('a', -99, until)).toBe(0);
    expect(await store.charge('unknown', -1, until)).toBe(0);
  });

  it('is forgotten when its time is over', async () => {
    expect(await taken('a', 1, 1)).toBe(1);
    clock.ms = until - 1;
    expect(await taken('a', 1, 1)).toBe(0);
    clock.ms = until;
    expect(await taken('a', 1, 1)).toBe(1);
  });

  it.each([Number.NaN, 0, -1, Number.NEGATIVE_INFINITY])(
    'gives nothing for an amount or limit of %d',
    async (wrong) => {
      expect(await taken('a', 10, wrong)).toBe(0);
      expect(await taken('a', wrong, 1)).toBe(0);
      expect(await taken('a', 10, 10)).toBe(10);
    },
  );

  it('cannot be made endless', async () => {
    await expect(store.charge('a', Number.POSITIVE_INFINITY, until)).rejects.toThrow(RangeError);
    await expect(store.charge('a', Number.NaN, until)).rejects.toThrow(RangeError);
  });

  it('has no room beyond the bound until others are over, and then has', async () => {
    store = create(1);
    for (const key of ['a', 'b', 'c', 'd', 'e']) expect(await taken(key, 1, 1)).toBe(1);
    await expect(taken('f', 1, 1)).rejects.toMatchObject({ id: 'overloaded' });
    await expect(store.charge('f', 1, until)).rejects.toMatchObject({ id: 'overloaded' });
    expect(await store.charge('e', 1, until)).toBe(2);
    clock.ms = until;
    expect(await store.draw([{ key: 'f', limit: 1, amount: 1 }], until + 1000)).toEqual([{ taken: 1, used: 1 }]);
  });

  it('rejects with draining after the store was closed', async () => {
    await store.close();
    await expect(taken('a', 1, 1)).rejects.toMatchObject({ id: 'draining' });
    await expect(store.charge('a', 1, until)).rejects.toMatchObject({ id: 'draining' });
  });

  it('never gives more than its limit, whatever is drawn and given back in whatever order', async () => {
    const step = fc.record({ amount: fc.integer({ min: 1, max: 20 }), back: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 50 }), fc.array(step, { maxLength: 30 }), async (limit, steps) => {
        const own = create();
        let out = 0;
        for (const { amount, back } of steps) {
          if (back) {
            const returned = Math.min(out, amount);
            await own.charge('a', -returned, until);
            out -= returned;
          } else {
            const [drawn] = await own.draw([{ key: 'a', limit, amount }], until);
            out += drawn?.taken ?? 0;
            expect(drawn?.used).toBe(out);
          }
          expect(out).toBeLessThanOrEqual(limit);
        }
        await own.close();
      }),
    );
  });
});

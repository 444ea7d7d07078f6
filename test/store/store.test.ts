import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { MemoryStore, type Room } from '../../src/store/memory.js';
import { endOfDay } from '../../src/store/redis/calls.js';
import type { Entry, Purpose, Reservation, Store, Total } from '../../src/store/store.js';
import { remoteStore } from '../support/line.js';
import { age, hasRedis, redisStore, startRedis } from '../support/redis.js';

let clock: { ms: number };
beforeEach(() => {
  clock = { ms: Date.UTC(2026, 2, 1, 12) };
});

/** A form of the store, and how time goes by for it. */
interface Form {
  readonly create: (room?: Partial<Room>) => Promise<Store>;
  readonly pass: (ms: number) => Promise<void>;
  /** The end of the day that it is. */
  readonly dayEnds: () => number;
  /** Whether it bounds what it keeps itself. */
  readonly isBounded: boolean;
}

const passing = {
  pass: async (ms: number) => {
    clock.ms += ms;
  },
  dayEnds: () => endOfDay(clock.ms),
  isBounded: true,
};
const redis = hasRedis ? await startRedis() : null;
const prefixes: string[] = [];

/** The same contract in all forms: in this process, at the other end of a line, and in a Redis that is real. */
const forms: readonly (readonly [string, Form])[] = [
  [
    'in memory',
    {
      ...passing,
      async create(room = {}) {
        const store = new MemoryStore({ now: () => clock.ms, room });
        onTestFinished(() => store.close());
        return store;
      },
    },
  ],
  [
    'of another process',
    { ...passing, create: async (room = {}) => remoteStore({ now: () => clock.ms, room }).remote },
  ],
  ...(redis
    ? [
        [
          'in Redis',
          {
            async create(room: Partial<Room> = {}) {
              const { store, prefix } = await redisStore(redis, { now: () => clock.ms, room });
              prefixes.push(prefix);
              return store;
            },
            async pass(ms: number) {
              clock.ms += ms;
              for (const prefix of prefixes) await age(redis, prefix, ms);
            },
            dayEnds: () => endOfDay(Date.now()),
            isBounded: false,
          },
        ] as const,
      ]
    : []),
];

type Wish = Partial<Entry> & { key?: string; limit?: number; ttlSeconds?: number; purpose?: Purpose };

function entry(holder: string, wish: Wish = {}): Entry {
  const { key = 'alice', limit = 3, ttlSeconds = 60, purpose = 'sessions', holds = [], owner = '1' } = wish;
  return { place: { purpose, group: 'u:all', key, limit, ttlSeconds }, holds, holder, owner };
}

const reservation = (counter: string, limit: number, most: number, rest: Partial<Reservation> = {}): Reservation => ({
  counter,
  group: 'u:all',
  limit,
  most,
  least: 1,
  isExact: false,
  ...rest,
});
const told = (of: Reservation, total: number, before = 0): Total => ({ ...of, total, told: before });

describe.each(forms)('a store %s', (_, { create, pass, dayEnds, isBounded }) => {
  afterEach(() => {
    prefixes.length = 0;
  });

  const enter = async (store: Store, holder: string, wish?: Wish) => (await store.enter(entry(holder, wish))).outcome;
  /** What is used of a budget, as one sees who only looks. */
  async function used(store: Store, counter: string): Promise<number> {
    const { reserved } = await store.settle('who only looks', [{ ...reservation(counter, 1, 0), total: 0, told: 0 }]);
    return reserved[0]?.used ?? Number.NaN;
  }

  describe('has places that', () => {
    it('are had by exactly one of many who ask at once for the last', async () => {
      const store = await create();
      for (const holder of ['first', 'second']) await enter(store, holder);
      const outcomes = await Promise.all(Array.from({ length: 50 }, (_, i) => enter(store, `new-${i}`)));
      expect(outcomes.filter((outcome) => outcome === 'in')).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome === 'taken')).toHaveLength(49);
    });

    it('are free again when left, once for each', async () => {
      const store = await create();
      for (const holder of ['a', 'b', 'c']) await enter(store, holder);
      await store.leave('a');
      await store.leave('a');
      await store.leave('nobody');
      expect([await enter(store, 'd'), await enter(store, 'e')]).toEqual(['in', 'taken']);
    });

    it('run out unless they are entered again', async () => {
      const store = await create();
      for (const holder of ['a', 'b']) await enter(store, holder, { limit: 2 });
      await pass(59_000);
      expect(await enter(store, 'a', { limit: 2 })).toBe('in');
      await pass(1000);
      expect([await enter(store, 'c', { limit: 2 }), await enter(store, 'd', { limit: 2 })]).toEqual(['in', 'taken']);
      expect(await enter(store, 'b', { limit: 2 })).toBe('taken');
    });

    it('are counted once for a holder who asks again, and kept when the limit falls', async () => {
      const store = await create();
      for (const holder of ['a', 'a', 'b']) expect(await enter(store, holder, { limit: 2 })).toBe('in');
      expect(await enter(store, 'a', { limit: 1 })).toBe('in');
      expect(await enter(store, 'c', { limit: 2 })).toBe('taken');
    });

    it.each([0, -1])('are never had with a limit of %d', async (limit) => {
      expect(await enter(await create(), 'a', { limit })).toBe('taken');
    });

    it('of one key do not touch another, whatever the keys are called', async () => {
      const store = await create();
      for (const key of ['a', 'b', '__proto__', 'constructor', '']) {
        expect(await enter(store, `of ${key}`, { key, limit: 1 })).toBe('in');
        expect(await enter(store, `more of ${key}`, { key, limit: 1 })).toBe('taken');
      }
    });

    it('of one purpose, and secrets, keep nobody else out when they are full', async () => {
      const store = await create({ sessions: () => 2, keys: 2, secrets: 2 });
      const put = (key: string) => store.put({ key, value: '', ttlSeconds: 60, of: key, limit: 9 });
      for (const key of ['a', 'b']) expect(await put(key)).toBe('kept');
      if (isBounded) expect(await put('c')).toBe('full');
      for (const key of ['a', 'b']) expect(await enter(store, `k${key}`, { key, purpose: 'keys' })).toBe('in');
      expect(await enter(store, 'kc', { key: 'c', purpose: 'keys' })).toBe('full');
      for (const key of ['a', 'b']) expect(await enter(store, key, { key })).toBe('in');
      expect(await enter(store, 'c', { key: 'c' })).toBe('full');
      await store.leave('a');
      expect(await enter(store, 'c', { key: 'c' })).toBe('in');
      await pass(60_000);
      expect(await enter(store, 'd', { key: 'd' })).toBe('in');
      expect(await put('d')).toBe('kept');
    });

    it('are given back with what was held when their owner is no more, and those of others are not', async () => {
      const store = await create();
      const counter = reservation('p', 1, 1, { isExact: true });
      await enter(store, 'a', { owner: '1', holds: [counter], limit: 2 });
      await enter(store, 'b', { owner: '2', limit: 2 });
      await enter(store, 'lasting', { owner: '', key: 'key', purpose: 'keys', limit: 1 });
      expect(await enter(store, 'c', { key: 'other', holds: [counter] })).toBe('spent');
      await store.forget('1');
      await store.forget('');
      expect(await enter(store, 'c', { holds: [counter], limit: 2 })).toBe('in');
      expect(await enter(store, 'd', { limit: 2 })).toBe('taken');
      expect(await enter(store, 'e', { key: 'key', purpose: 'keys', limit: 1 })).toBe('taken');
    });

    it('are never more than the limit, in any order of calls', async () => {
      const step = fc.record({
        call: fc.constantFrom('enter' as const, 'leave' as const, 'wait' as const),
        holder: fc.nat(6),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
          const store = await create();
          const held = new Map<number, number>();
          for (const { call, holder } of steps) {
            for (const [one, end] of held) if (end <= clock.ms) held.delete(one);
            if (call === 'wait') await pass(holder * 1000);
            if (call === 'leave') {
              await store.leave(`${holder}`);
              held.delete(holder);
            }
            if (call === 'enter') {
              const isIn = (await enter(store, `${holder}`, { ttlSeconds: 8 })) === 'in';
              expect(isIn).toBe(held.has(holder) || held.size < 3);
              if (isIn) held.set(holder, clock.ms + 8000);
            }
          }
        }),
        { numRuns: 50 },
      );
    });
  });

  describe('has budgets that', () => {
    it('are taken together with the place, or not at all', async () => {
      const store = await create();
      const [tokens, sessions] = [reservation('tokens', 100, 10), reservation('sessions', 1, 1, { isExact: true })];
      expect(await store.enter(entry('a', { limit: 1, holds: [tokens, sessions] }))).toEqual({
        outcome: 'in',
        reserved: [
          { used: 0, held: 10, isSpent: false },
          { used: 0, held: 1, isSpent: false },
        ],
        dayEnds: dayEnds(),
      });
      // The place is looked at first.
      expect(await enter(store, 'b', { limit: 1, holds: [tokens, sessions] })).toBe('taken');
      expect(await store.enter(entry('b', { holds: [tokens, sessions] }))).toEqual({
        outcome: 'spent',
        counter: 1,
        used: 0,
        dayEnds: dayEnds(),
      });
      await store.leave('a');
      expect(await enter(store, 'b', { limit: 1, holds: [tokens, sessions] })).toBe('in');
    });

    it('are given in parts of what is left, by how many reservation, until all is used', async () => {
      const store = await create();
      const tokens = reservation('tokens', 1000, 100);
      const parts: number[] = [];
      for (let i = 0; i < 20; i++) {
        const entered = await store.enter(entry(`${i}`, { key: `${i}`, holds: [tokens] }));
        if (entered.outcome === 'in') parts.push(entered.reserved[0]?.held ?? 0);
      }
      expect(parts[0]).toBe(100);
      expect(parts).toEqual([...parts].sort((a, b) => b - a));
      expect(Math.min(...parts)).toBeGreaterThan(0);
      expect(parts.reduce((sum, part) => sum + part)).toBeLessThan(1000);
    });

    it('give at least what is worth asking for, or what is left, and nobody is refused for what others hold', async () => {
      const store = await create();
      const seconds = reservation('seconds', 12, 60, { least: 5 });
      const parts: unknown[] = [];
      for (const holder of ['a', 'b', 'c', 'd']) {
        const entered = await store.enter(entry(holder, { key: holder, holds: [seconds] }));
        parts.push(entered.outcome === 'in' && entered.reserved[0]?.held);
      }
      expect(parts).toEqual([5, 5, 2, 0]);
      const { reserved } = await store.settle('d', [told(seconds, 11)]);
      expect(reserved).toEqual([{ used: 11, held: 0, isSpent: false }]);
      expect((await store.settle('d', [told(seconds, 12, 11)])).reserved).toEqual([
        { used: 12, held: 0, isSpent: true },
      ]);
      expect(await enter(store, 'e', { key: 'e', holds: [seconds] })).toBe('spent');
    });

    it('count a total once, however often it is told', async () => {
      const store = await create();
      const tokens = reservation('tokens', 1000, 10);
      await enter(store, 'a', { holds: [tokens] });
      for (let i = 0; i < 3; i++) await store.settle('a', [told(tokens, 70)]);
      expect(await used(store, 'tokens')).toBe(70);
      await store.settle('a', [told(tokens, 75, 70)]);
      await store.leave('a');
      for (let i = 0; i < 3; i++) await store.settle('a', [told(tokens, 80, 75)]);
      expect(await used(store, 'tokens')).toBe(80);
    });

    it('count from the last acknowledged total where nothing is remembered, and hold nothing for who is not in', async () => {
      const store = await create();
      const exact = reservation('tokens', 1000, 1000, { isExact: true });
      const { reserved } = await store.settle('late', [told(exact, 100, 90)]);
      expect(reserved).toEqual([{ used: 10, held: 0, isSpent: false }]);
      await store.settle('late', [told(exact, 100, 90)]);
      expect(await used(store, 'tokens')).toBe(10);
    });

    it('get back what was held and not used', async () => {
      const store = await create();
      const all = reservation('p', 10, 10, { isExact: true, least: 10 });
      await enter(store, 'a', { holds: [all] });
      await store.settle('a', [told(all, 4)]);
      expect(await enter(store, 'b', { key: 'b', holds: [all] })).toBe('spent');
      await store.leave('a');
      const entered = await store.enter(entry('b', { key: 'b', holds: [all] }));
      expect(entered).toMatchObject({ reserved: [{ used: 4, held: 6 }] });
      await pass(60_000);
      expect(await enter(store, 'c', { key: 'b', holds: [all] })).toBe('in');
    });

    it('begin anew with the day, also for who is in', async () => {
      const store = await create();
      const tokens = reservation('tokens', 10, 1);
      await enter(store, 'a', { holds: [tokens], ttlSeconds: 86_400 });
      expect((await store.settle('a', [told(tokens, 10)])).reserved[0]?.isSpent).toBe(true);
      await pass(12 * 3_600_000);
      expect(await store.settle('a', [told(tokens, 13, 10)])).toEqual({
        reserved: [{ used: 3, held: 1, isSpent: false }],
        dayEnds: dayEnds(),
      });
    });

    it.runIf(isBounded)('have no room beyond the bound until the day is over, and then have', async () => {
      const store = await create({ counters: 2 });
      for (const counter of ['a', 'b']) {
        await enter(store, counter, { key: counter, holds: [reservation(counter, 10, 1)] });
        await store.settle(counter, [told(reservation(counter, 10, 1), 1)]);
      }
      expect(await enter(store, 'c', { key: 'c', holds: [reservation('c', 10, 1)] })).toBe('full');
      expect(await enter(store, 'd', { key: 'd', holds: [reservation('a', 10, 1)] })).toBe('in');
      for (const holder of ['a', 'b', 'd']) await store.leave(holder);
      await pass(86_400_000);
      expect(await enter(store, 'c', { key: 'c', holds: [reservation('c', 10, 1)] })).toBe('in');
    });

    it('add up exactly, whoever comes, uses, stops telling and leaves in whatever order', async () => {
      const step = fc.record({
        who: fc.nat(4),
        use: fc.nat(30),
        what: fc.constantFrom('enter' as const, 'settle' as const, 'leave' as const),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
          const store = await create();
          const tokens = reservation('tokens', 100, 20);
          const totals = [0, 0, 0, 0, 0];
          for (const { who, use, what } of steps) {
            if (what === 'enter') await enter(store, `${who}`, { key: `${who}`, holds: [tokens] });
            if (what === 'leave') await store.leave(`${who}`);
            if (what !== 'settle') continue;
            totals[who] = (totals[who] as number) + use;
            const { reserved } = await store.settle(`${who}`, [told(tokens, totals[who] as number)]);
            const [{ used: sum, isSpent } = { used: Number.NaN, isSpent: false }] = reserved;
            expect(sum).toBe(totals.reduce((before, one) => before + one));
            expect(isSpent).toBe(sum >= 100);
          }
        }),
        { numRuns: 50 },
      );
    });
  });

  describe('has one-time texts that', () => {
    const put = (
      store: Store,
      key: string,
      value: string,
      rest: { ttlSeconds?: number; of?: string; limit?: number } = {},
    ) => store.put({ key, value, ttlSeconds: 60, of: 'alice', limit: 9, ...rest });

    it('are looked at by anybody, and had by exactly one of eight who take one at once', async () => {
      const store = await create();
      expect(await put(store, 'secret', 'value')).toBe('kept');
      expect([await store.look('secret'), await store.look('secret')]).toEqual(['value', 'value']);
      const taken = await Promise.all(Array.from({ length: 8 }, () => store.take('secret')));
      expect(taken.filter((value) => value !== null)).toEqual(['value']);
      expect(await store.look('secret')).toBeNull();
    });

    it('run out, to the millisecond', async () => {
      const store = await create();
      for (const key of ['a', 'b']) await put(store, key, key);
      // A Redis of its own clock is aged, which takes a moment.
      const nearly = isBounded ? 59_999 : 59_000;
      await pass(nearly);
      expect([await store.look('a'), await store.take('a')]).toEqual(['a', 'a']);
      await pass(60_000 - nearly);
      expect([await store.look('b'), await store.take('b')]).toEqual([null, null]);
    });

    it('take the place of an earlier one of that key', async () => {
      const store = await create();
      await put(store, 'a', 'old', { limit: 1 });
      expect(await put(store, 'a', 'new', { ttlSeconds: 120, limit: 1 })).toBe('kept');
      await pass(60_000);
      expect([await store.take('a'), await store.take('a')]).toEqual(['new', null]);
    });

    it('may be empty, and are not confused by the names of built-in properties', async () => {
      const store = await create();
      await put(store, 'empty', '');
      expect(await store.take('empty')).toBe('');
      for (const key of ['__proto__', 'constructor', 'never put']) expect(await store.take(key)).toBeNull();
    });

    it('are so many for each owner: taking one or waiting makes room', async () => {
      const store = await create();
      for (const key of ['a', 'b']) await put(store, key, key, { limit: 2 });
      expect(await put(store, 'c', 'c', { limit: 2 })).toBe('taken');
      expect(await put(store, 'c', 'c', { limit: 2, of: 'bob' })).toBe('kept');
      await store.take('a');
      expect([await put(store, 'd', 'd', { limit: 2 }), await put(store, 'e', 'e', { limit: 2 })]).toEqual([
        'kept',
        'taken',
      ]);
      await pass(60_000);
      expect(await put(store, 'e', 'e', { limit: 2 })).toBe('kept');
    });

    it('are bounded in size', async () => {
      const store = await create();
      await expect(put(store, 'a', 'x'.repeat(64 * 1024 + 1))).rejects.toThrow();
      expect(await put(store, 'a', 'x'.repeat(64 * 1024))).toBe('kept');
    });
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a life of %d seconds', async (ttlSeconds) => {
    const store = await create();
    await expect(store.put({ key: 'a', value: '1', ttlSeconds, of: 'a', limit: 1 })).rejects.toThrow();
    await expect(store.enter(entry('a', { ttlSeconds }))).rejects.toThrow();
    expect(await enter(store, 'b', { limit: 1 })).toBe('in');
  });

  it('says that the relay is shutting down once it is closed, and still lets everybody leave', async () => {
    const store = await create();
    await enter(store, 'a');
    await store.close();
    await store.close();
    const draining = { id: 'draining' };
    await expect(store.take('a')).rejects.toMatchObject(draining);
    await expect(store.look('a')).rejects.toMatchObject(draining);
    await expect(store.put({ key: 'a', value: '', ttlSeconds: 1, of: '', limit: 1 })).rejects.toMatchObject(draining);
    await expect(store.enter(entry('b'))).rejects.toMatchObject(draining);
    await store.leave('a');
    await store.forget('1');
  });
});

describe('the store of a process', () => {
  it('tells when its last place for a session is taken, and when there is one again', async () => {
    const filled = vi.fn();
    const limits = { sessions: 1 };
    const store = new MemoryStore({ room: { sessions: () => limits.sessions }, filled });
    onTestFinished(() => store.close());
    await store.enter(entry('a'));
    expect(filled.mock.calls).toEqual([[true]]);
    limits.sessions = 2;
    store.resized();
    await store.enter(entry('b'));
    await store.forget('1');
    expect(filled.mock.calls).toEqual([[true], [false], [true], [false]]);
  });

  it('cannot be made to count what has no end', async () => {
    const store = new MemoryStore();
    onTestFinished(() => store.close());
    const counter = reservation('p', 1, 0);
    await expect(store.settle('a', [told(counter, Number.POSITIVE_INFINITY)])).rejects.toThrow(RangeError);
    await expect(store.settle('a', [told(counter, Number.NaN)])).rejects.toThrow(RangeError);
  });

  it('refuses quickly when it is full, without a search for each refusal', async () => {
    const store = new MemoryStore({ room: { secrets: 50_000 } });
    onTestFinished(() => store.close());
    const put = (key: string) => store.put({ key, value: 'x', ttlSeconds: 60, of: key, limit: 1 });
    for (let i = 0; i < 50_000; i++) await put(`${i}`);
    const before = performance.now();
    for (let i = 0; i < 2000; i++) await put(`more-${i}`);
    expect(performance.now() - before).toBeLessThan(500);
  });

  it('sweeps what ran out with one timer, which ends when it closes', async () => {
    vi.useFakeTimers({ now: clock.ms });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const store = new MemoryStore();
    for (let i = 0; i < 100; i++) {
      await store.put({ key: `${i}`, value: 'x', ttlSeconds: 10, of: `${i}`, limit: 1 });
      await store.enter(entry(`${i}`, { key: `${i}`, ttlSeconds: 10 }));
    }
    expect(vi.getTimerCount()).toBe(1);
    const deleted = vi.spyOn(Map.prototype, 'delete');
    vi.advanceTimersByTime(30_000);
    expect(deleted.mock.calls.length).toBeGreaterThanOrEqual(400);
    deleted.mockRestore();
    expect(store.unusedSecrets).toBe(0);
    await store.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});

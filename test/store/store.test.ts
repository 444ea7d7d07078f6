import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createMemoryStore, type Store } from '../../src/store/store.js';

let clock: { ms: number };
let store: Store;
const create = (maxEntries?: number): Store =>
  createMemoryStore({ now: () => clock.ms, ...(maxEntries !== undefined && { maxEntries }) });

beforeEach(() => {
  clock = { ms: 1_760_000_000_000 };
  store = create();
});
afterEach(() => store.close());

describe('a lease', () => {
  it('is had by exactly one of many who ask at once for the last place', async () => {
    await store.acquire('alice', 'first', 3, 60);
    await store.acquire('alice', 'second', 3, 60);
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => store.acquire('alice', `new-${i}`, 3, 60)));
    expect(results.filter(Boolean)).toHaveLength(1);
  });

  it('is free again when released, and releasing twice frees one place only', async () => {
    await store.acquire('alice', 'a', 2, 60);
    await store.acquire('alice', 'b', 2, 60);
    await store.release('alice', 'a');
    await store.release('alice', 'a');
    await store.release('nobody', 'a');
    expect(await store.acquire('alice', 'c', 2, 60)).toBe(true);
    expect(await store.acquire('alice', 'd', 2, 60)).toBe(false);
  });

  it('runs out unless renewed', async () => {
    await store.acquire('alice', 'a', 2, 60);
    await store.acquire('alice', 'b', 2, 60);
    clock.ms += 59_000;
    expect(await store.renew('alice', 'a', 60)).toBe(true);
    clock.ms += 1000;
    expect(await store.acquire('alice', 'c', 2, 60)).toBe(true);
    expect(await store.acquire('alice', 'd', 2, 60)).toBe(false);
  });

  it('runs out by itself, whatever became of the others of its key', async () => {
    await store.acquire('alice', 'short', 3, 10);
    await store.acquire('alice', 'long', 3, 60);
    await store.release('alice', 'short');
    await store.acquire('alice', 'renewed', 3, 20);
    clock.ms += 19_000;
    expect(await store.renew('alice', 'renewed', 60)).toBe(true);
    clock.ms += 41_000;
    expect(await store.renew('alice', 'long', 60)).toBe(false);
    expect(await store.renew('alice', 'renewed', 60)).toBe(true);
    expect(await store.acquire('alice', 'next', 2, 60)).toBe(true);
    expect(await store.acquire('alice', 'one more', 2, 60)).toBe(false);
  });

  it('that ran out is not brought back by renewing', async () => {
    await store.acquire('alice', 'a', 1, 60);
    clock.ms += 60_000;
    expect(await store.renew('alice', 'a', 60)).toBe(false);
    expect(await store.renew('nobody', 'a', 60)).toBe(false);
    expect(await store.acquire('alice', 'b', 1, 60)).toBe(true);
  });

  it('is counted once for a holder who asks again, and kept when the limit falls', async () => {
    expect(await store.acquire('alice', 'a', 2, 60)).toBe(true);
    expect(await store.acquire('alice', 'a', 2, 60)).toBe(true);
    expect(await store.acquire('alice', 'b', 2, 60)).toBe(true);
    clock.ms += 30_000;
    expect(await store.acquire('alice', 'a', 1, 60)).toBe(true);
    clock.ms += 59_000;
    expect(await store.renew('alice', 'a', 60)).toBe(true);
  });

  it.each([0, -1, Number.NaN])('is never had with a limit of %d', async (limit) => {
    expect(await store.acquire('alice', 'a', limit, 60)).toBe(false);
  });

  it('of one key does not touch another, whatever the keys are called', async () => {
    for (const key of ['a', 'b', '__proto__', 'constructor', ''])
      expect(await store.acquire(key, key, 1, 60)).toBe(true);
    await store.put('a', 'value', 60);
    expect(await store.acquire('a', 'z', 1, 60)).toBe(false);
    expect(await store.take('a')).toBe('value');
  });

  it('is bounded in number: over it the call rejects, until some run out', async () => {
    const small = create(3);
    await small.acquire('a', '1', 9, 10);
    await small.acquire('b', '2', 9, 60);
    await small.acquire('b', '3', 9, 60);
    await expect(small.acquire('c', '4', 9, 60)).rejects.toMatchObject({ id: 'overloaded' });
    await expect(small.acquire('b', '4', 9, 60)).rejects.toMatchObject({ id: 'overloaded' });
    expect(await small.acquire('b', '3', 9, 60)).toBe(true);
    clock.ms += 10_000;
    expect(await small.acquire('c', '4', 9, 60)).toBe(true);
    await small.release('c', '4');
    expect(await small.acquire('b', '4', 9, 60)).toBe(true);
    await small.close();
  });

  it('never lets more holders in than the limit, in any order of calls', async () => {
    const step = fc.oneof(
      fc.record({ call: fc.constant('acquire' as const), holder: fc.nat(6) }),
      fc.record({ call: fc.constant('renew' as const), holder: fc.nat(6) }),
      fc.record({ call: fc.constant('release' as const), holder: fc.nat(6) }),
      fc.record({ call: fc.constant('wait' as const), holder: fc.nat(6) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const fresh = create(4);
        const held = new Map<number, number>();
        for (const { call, holder } of steps) {
          for (const [one, end] of held) if (end <= clock.ms) held.delete(one);
          const expected = held.has(holder);
          if (call === 'wait') clock.ms += holder * 1000;
          if (call === 'release') {
            await fresh.release('k', `${holder}`);
            held.delete(holder);
          }
          if (call === 'renew') {
            expect(await fresh.renew('k', `${holder}`, 8)).toBe(expected);
            if (expected) held.set(holder, clock.ms + 8000);
          }
          if (call === 'acquire') {
            const admitted = await fresh.acquire('k', `${holder}`, 3, 8);
            expect(admitted).toBe(expected || held.size < 3);
            if (admitted) held.set(holder, clock.ms + 8000);
          }
        }
        await fresh.close();
      }),
    );
  });
});

describe('a one-time value', () => {
  it('is had by exactly one of eight who take it at once', async () => {
    await store.put('secret', 'value', 60);
    const taken = await Promise.all(Array.from({ length: 8 }, () => store.take('secret')));
    expect(taken.filter((value) => value !== null)).toEqual(['value']);
  });

  it('runs out, to the millisecond', async () => {
    await store.put('a', '1', 60);
    await store.put('b', '2', 60);
    clock.ms += 59_999;
    expect(await store.take('a')).toBe('1');
    clock.ms += 1;
    expect(await store.take('b')).toBeNull();
  });

  it('takes the place of an earlier one of that key', async () => {
    await store.put('a', 'old', 60);
    await store.put('a', 'new', 120);
    clock.ms += 60_000;
    expect(await store.take('a')).toBe('new');
    expect(await store.take('a')).toBeNull();
  });

  it('may be empty, and is not confused by the names of built-in properties', async () => {
    await store.put('empty', '', 60);
    expect(await store.take('empty')).toBe('');
    for (const key of ['__proto__', 'constructor', 'never put']) expect(await store.take(key)).toBeNull();
  });

  it('is bounded in number: what ran out goes first, then the call rejects and keeps what is there', async () => {
    const small = create(2);
    await small.put('a', '1', 10);
    await small.put('b', '2', 60);
    await expect(small.put('c', '3', 60)).rejects.toMatchObject({ id: 'overloaded' });
    await small.put('b', '2 again', 60);
    clock.ms += 10_000;
    await small.put('c', '3', 60);
    await expect(small.put('d', '4', 60)).rejects.toMatchObject({ id: 'overloaded' });
    expect(await small.take('b')).toBe('2 again');
    await small.put('d', '4', 60);
    expect([await small.take('c'), await small.take('d')]).toEqual(['3', '4']);
    await small.close();
  });

  it('is bounded in size', async () => {
    await expect(store.put('a', 'x'.repeat(64 * 1024 + 1), 60)).rejects.toThrow(RangeError);
    await store.put('a', 'x'.repeat(64 * 1024), 60);
  });

  it('a full store refuses quickly, without a search for each refusal', async () => {
    const large = create(50_000);
    for (let i = 0; i < 50_000; i++) await large.put(`${i}`, 'x', 60);
    const before = performance.now();
    for (let i = 0; i < 2000; i++) await large.put(`more-${i}`, 'x', 60).catch(() => undefined);
    expect(performance.now() - before).toBeLessThan(500);
    await large.close();
  });
});

describe('the store', () => {
  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a life of %d seconds', async (ttl) => {
    await expect(store.put('a', '1', ttl)).rejects.toThrow(RangeError);
    await expect(store.acquire('a', '1', 1, ttl)).rejects.toThrow(RangeError);
    await expect(store.renew('a', '1', ttl)).rejects.toThrow(RangeError);
  });

  it.each([0, 1.5, Number.NaN])('cannot be created for %d entries', (maxEntries) => {
    expect(() => create(maxEntries)).toThrow(RangeError);
  });

  it('sweeps what ran out with one timer, which ends when it closes', async () => {
    vi.useFakeTimers({ now: clock.ms });
    try {
      const swept = createMemoryStore();
      for (let i = 0; i < 100; i++) {
        await swept.put(`${i}`, 'x', 10);
        await swept.acquire(`${i}`, 'x', 1, 10);
      }
      expect(vi.getTimerCount()).toBe(1);
      const deleted = vi.spyOn(Map.prototype, 'delete');
      vi.advanceTimersByTime(30_000);
      expect(deleted.mock.calls.length).toBeGreaterThanOrEqual(200);
      deleted.mockRestore();
      await swept.close();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('forgets everything when it closes, and says that the relay is shutting down', async () => {
    await store.put('a', '1', 60);
    await store.acquire('b', 'x', 1, 60);
    await store.close();
    await store.close();
    await expect(store.take('a')).rejects.toMatchObject({ id: 'draining' });
    await expect(store.put('a', '1', 60)).rejects.toMatchObject({ id: 'draining' });
    await expect(store.acquire('b', 'y', 1, 60)).rejects.toMatchObject({ id: 'draining' });
    expect(await store.renew('b', 'x', 60)).toBe(false);
    await store.release('b', 'x');
  });
});

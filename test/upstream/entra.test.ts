import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { RelayError } from '../../src/errors.js';
import { createTokenCache, type TokenCache, type TokenEvent } from '../../src/upstream/entra.js';

interface Source {
  cache: TokenCache;
  events: TokenEvent[];
  /** Options of every request, oldest first. */
  requests: { abortSignal: AbortSignal; forced?: boolean }[];
  /** Changes how the next requests are answered. */
  answer: (reply: () => unknown) => void;
}

const hour = 3_600_000;
const minute = 60_000;

/** A cache over a source that gives `t1`, `t2`, … of the given life unless told otherwise. */
function source(lifeMs = hour, refreshAfterMs?: number): Source {
  const requests: Source['requests'] = [];
  const events: TokenEvent[] = [];
  let reply: () => unknown = () => ({
    token: `t${requests.length}`,
    expiresOnTimestamp: Date.now() + lifeMs,
    ...(refreshAfterMs === undefined ? {} : { refreshAfterTimestamp: Date.now() + refreshAfterMs }),
  });
  const cache = createTokenCache({
    credential: {
      getToken: (scope, options) => {
        expect(scope).toBe('the-scope');
        requests.push(options);
        return reply() as never;
      },
    },
    scope: 'the-scope',
    onEvent: (event) => events.push(event),
  });
  onTestFinished(() => cache.close());
  return {
    cache,
    events,
    requests,
    answer: (next) => {
      reply = next;
    },
  };
}

const down = () => Promise.reject(new Error('identity is down'));
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('a token', () => {
  it('is fetched once for ten cold calls and the next thousand', async () => {
    const { cache, requests, events } = source();
    const cold = await Promise.all(Array.from({ length: 10 }, () => cache.token()));
    const warm = await Promise.all(Array.from({ length: 1000 }, () => cache.token()));
    expect(new Set([...cold, ...warm])).toEqual(new Set(['t1']));
    expect(requests).toHaveLength(1);
    expect(events).toEqual([{ kind: 'acquired', seconds: 0, expiresAt: Date.now() + hour }]);
    expect(cache.status()).toEqual({ ready: true, expiresAt: Date.now() + hour, lastError: null });
  });

  it('is there before the first call when warmed', async () => {
    const { cache, requests } = source();
    await cache.warm();
    expect(cache.status().ready).toBe(true);
    await cache.warm();
    expect(requests).toHaveLength(1);
  });

  it('is refreshed in the background before its last five minutes, without a call', async () => {
    const { cache, requests } = source();
    await cache.token();
    await pass(hour - 6 * minute - 1);
    expect(requests).toHaveLength(1);
    await pass(minute);
    expect(requests).toHaveLength(2);
    expect(await cache.token()).toBe('t2');
  });

  it('is refreshed when the identity service says so', async () => {
    const { cache, requests } = source(24 * hour, 12 * hour);
    await cache.token();
    await pass(12 * hour - 1000);
    expect(requests).toHaveLength(1);
    await pass(2000);
    expect(requests).toHaveLength(2);
    expect(await cache.token()).toBe('t2');
  });

  it('with five minutes to live is served at once, though a refresh hangs', async () => {
    const { cache, answer, requests } = source();
    await cache.token();
    answer(() => new Promise(() => undefined));
    await pass(hour - 5 * minute);
    expect(requests.length).toBeGreaterThan(1);
    let served: string | null = null;
    void cache.token().then((token) => {
      served = token;
    });
    await pass(0);
    expect(served).toBe('t1');
  });

  it('in its last minutes waits two seconds for a refresh that hangs, then is served still', async () => {
    const { cache, answer } = source();
    await cache.token();
    answer(() => new Promise(() => undefined));
    await pass(hour - 4 * minute);
    const slow = cache.token();
    await pass(2000);
    expect(await slow).toBe('t1');
  });

  it('that the source gives again is asked for again, not in a hurry', async () => {
    const { cache, answer, requests } = source();
    const first = { token: 't1', expiresOnTimestamp: Date.now() + hour };
    answer(() => Promise.resolve(first));
    await cache.token();
    await pass(hour - 5 * minute - 1);
    expect(requests.length).toBe(2);
    await pass(minute);
    expect(requests.length).toBeLessThanOrEqual(2 + 4 + 1);
    await Promise.all(Array.from({ length: 50 }, () => cache.token()));
    expect(requests.length).toBeLessThanOrEqual(2 + 4 + 1);
  });

  it('that the source gives once more while it fetches the next is replaced a minute later', async () => {
    const { cache, answer, requests } = source();
    const old = {
      token: 'old',
      expiresOnTimestamp: Date.now() + 24 * hour,
      refreshAfterTimestamp: Date.now() + 12 * hour,
    };
    answer(() => Promise.resolve(requests.length < 3 ? old : { ...old, token: 'new' }));
    await cache.token();
    await pass(12 * hour + 1000);
    expect([await cache.token(), requests.length]).toEqual(['old', 2]);
    await pass(minute);
    expect([await cache.token(), requests.length]).toEqual(['new', 3]);
  });

  it('of short life is reused, and replaced in its second half', async () => {
    const { cache, requests } = source(2 * minute);
    for (let second = 0; second < 40; second += 1) {
      await cache.token();
      await pass(1000);
    }
    expect(requests).toHaveLength(1);
    await pass(25_000);
    expect(requests).toHaveLength(2);
  });

  it('of a thousand years does not overflow a timer', async () => {
    const { cache, requests } = source(1000 * 365 * 24 * hour);
    await cache.token();
    await pass(30 * 24 * hour);
    expect(requests).toHaveLength(1);
  });
});

describe('an identity outage', () => {
  it('is survived by the token in hand, and over with the first success', async () => {
    const { cache, answer, requests, events } = source();
    await cache.token();
    answer(down);
    await pass(hour - 1000);
    expect(await cache.token()).toBe('t1');
    expect(cache.status()).toMatchObject({ ready: true, lastError: 'Error: identity is down' });
    expect(events.at(-1)).toMatchObject({ kind: 'failed', error: new Error('Error: identity is down') });
    // About six minutes with at most thirty seconds between two attempts, and no storm.
    expect(requests.length).toBeGreaterThan(10);
    expect(requests.length).toBeLessThan(40);
    answer(() => Promise.resolve({ token: 'new', expiresOnTimestamp: Date.now() + hour }));
    await pass(30_000);
    expect(await cache.token()).toBe('new');
    expect(cache.status().lastError).toBeNull();
  });

  it('is upstream_unavailable once the token has run out, with a public message and a cause for the log', async () => {
    const { cache, answer } = source();
    await cache.token();
    answer(down);
    await pass(hour + 1);
    const error: unknown = await cache.token().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RelayError);
    expect(error).toMatchObject({
      id: 'upstream_unavailable',
      message: 'The relay cannot obtain its upstream credential right now.',
      cause: { message: 'Error: identity is down' },
    });
    expect(cache.status().ready).toBe(false);
  });

  it('from the start is retried without a call, and not once per session', async () => {
    const { cache, answer, requests } = source();
    answer(down);
    await cache.warm();
    const outcomes = await Promise.allSettled(Array.from({ length: 100 }, () => cache.token()));
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    for (let session = 0; session < 100; session += 1) await cache.token().catch(() => undefined);
    expect(requests).toHaveLength(1);
    answer(() => Promise.resolve({ token: 'new', expiresOnTimestamp: Date.now() + hour }));
    await pass(1000);
    expect(cache.status()).toMatchObject({ ready: true, lastError: null });
  });

  it('keeps nothing of an error but its text, as the library puts secrets into its errors', async () => {
    const { cache, answer } = source();
    answer(() => Promise.reject(Object.assign(new Error('denied\n  at 1'), { request: { body: 'secret' } })));
    const error = (await cache.token().catch((thrown: unknown) => thrown)) as RelayError;
    expect(error.cause).toBeInstanceOf(Error);
    expect((error.cause as Error).message).toBe('Error: denied at 1');
    expect(Object.keys(error.cause as Error)).toEqual([]);
    expect((error.cause as Error).cause).toBeUndefined();
  });

  it('that hangs is over after ten seconds, and the request is aborted', async () => {
    const { cache, answer, requests } = source();
    answer(() => new Promise(() => undefined));
    const outcome = cache.token().catch((thrown: unknown) => thrown);
    await pass(9999);
    expect(requests[0]?.abortSignal.aborted).toBe(false);
    await pass(1);
    expect(await outcome).toMatchObject({ cause: { message: expect.stringContaining('within 10 s') } });
    expect(requests[0]?.abortSignal.aborted).toBe(true);
  });

  it.each([
    ['no token', null, /no token/],
    ['an empty token', { token: '', expiresOnTimestamp: 9e15 }, /cannot be sent/],
    ['a token with a line break', { token: 'a\r\nb', expiresOnTimestamp: 9e15 }, /cannot be sent/],
    ['a token that has expired', { token: 'a', expiresOnTimestamp: 1 }, /expired/],
    ['a token without expiry', { token: 'a', expiresOnTimestamp: Number.NaN }, /expired/],
  ])('in the form of %s is a failure', async (_name, given, message) => {
    const { cache, answer } = source();
    answer(() => Promise.resolve(given));
    await cache.warm();
    expect(cache.status().lastError).toMatch(message);
  });

  it('in the form of a source that throws is a failure', async () => {
    const { cache, answer } = source();
    answer(() => {
      throw new Error('broken');
    });
    await cache.warm();
    expect(cache.status().lastError).toBe('Error: broken');
  });
});

describe('a token that was refused', () => {
  it('is replaced once for many sessions, by asking the source to forget', async () => {
    const { cache, requests } = source();
    const stale = await cache.token();
    const renewed = await Promise.all(Array.from({ length: 20 }, () => cache.refresh(stale)));
    expect(new Set(renewed)).toEqual(new Set(['t2']));
    expect(await cache.refresh(stale)).toBe('t2');
    expect(requests.map(({ forced }) => forced)).toEqual([false, true]);
  });

  it('is not replaced again and again for an upstream that refuses all of them', async () => {
    const { cache, requests } = source();
    let held = await cache.token();
    for (let session = 0; session < 50; session += 1) held = await cache.refresh(held);
    expect(requests).toHaveLength(2);
    await pass(30_000);
    await cache.refresh(held);
    expect(requests).toHaveLength(3);
  });

  it('and cannot be replaced stays, for what it is worth', async () => {
    const { cache, answer } = source();
    const stale = await cache.token();
    answer(down);
    await expect(cache.refresh(stale)).rejects.toMatchObject({ id: 'upstream_unavailable' });
    expect(await cache.token()).toBe('t1');
  });
});

describe('a closed cache', () => {
  it('has no timers, ends its request and gives nothing', async () => {
    const { cache, answer, requests } = source();
    await cache.token();
    answer(() => new Promise(() => undefined));
    const renewing = cache.refresh('t1').catch((thrown: unknown) => thrown);
    cache.close();
    expect(await renewing).toBeInstanceOf(RelayError);
    expect(requests[1]?.abortSignal.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
    await expect(cache.token()).rejects.toBeInstanceOf(RelayError);
    await expect(cache.refresh('t1')).rejects.toBeInstanceOf(RelayError);
    await cache.warm();
    expect(requests).toHaveLength(2);
    expect(vi.getTimerCount()).toBe(0);
  });
});

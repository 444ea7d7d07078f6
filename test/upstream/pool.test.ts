import { connect } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { RelayError } from '../../src/errors.js';
import { type Authorizer, authorizeWithEntra } from '../../src/upstream/authorizer.js';
import { createTokenCache } from '../../src/upstream/entra.js';
import { exitOf, failureOfError } from '../../src/upstream/failure.js';
import { type DialEvent, UpstreamPool } from '../../src/upstream/pool.js';
import { overtaken, race } from '../../src/upstream/race.js';
import type { UpstreamTarget } from '../../src/upstream/target.js';
import { closedPort, realtime, refusing, target, tcp } from './servers.js';

interface Bench {
  pool: UpstreamPool;
  events: DialEvent[];
  /** Moves the pool's clock. */
  pass(seconds: number): void;
  /** The name of the upstream that was opened, or the refusal. */
  open(signal?: AbortSignal, dialSeconds?: number): Promise<string | RelayError>;
}

function bench(...targets: UpstreamTarget[]): Bench {
  const events: DialEvent[] = [];
  let now = 0;
  const pool = new UpstreamPool(targets, { now: () => now, onDial: (event) => events.push(event) });
  onTestFinished(() => pool.close());
  return {
    pool,
    events,
    pass(seconds) {
      now += seconds * 1000;
    },
    async open(signal = new AbortController().signal, dialSeconds = 5) {
      try {
        const { socket, upstream, attempts } = await pool.open({
          requestId: 'r',
          signal,
          dialSeconds,
          secondDialMs: 100,
        });
        socket.terminate();
        return `${upstream.name} in ${attempts}`;
      } catch (error) {
        expect(error).toBeInstanceOf(RelayError);
        return error as RelayError;
      }
    },
  };
}

const outcomes = (events: DialEvent[]) => events.map(({ upstream, outcome }) => `${upstream} ${outcome}`);

describe('a pool', () => {
  it.each(['EMFILE', 'ENFILE', 'ENOMEM', 'EADDRNOTAVAIL'])(
    'books its own %s on no upstream: overloaded, no second dial, and no circuit opens',
    async (code) => {
      const { pool, events } = bench(target(1, { name: 'one' }), target(2, { name: 'two' }));
      const options = { requestId: 'r', signal: new AbortController().signal, dialSeconds: 5, secondDialMs: 100 };
      const lacking = async (): Promise<never> => {
        throw exitOf(failureOfError(Object.assign(new Error(`connect ${code}`), { code }), 'TCP connection', []));
      };
      for (let i = 0; i < 10; i++) {
        await expect(pool.reach(options, lacking)).rejects.toMatchObject({ id: 'overloaded', retryAfterMs: 2000 });
      }
      expect(outcomes(events)).toEqual(Array(10).fill('one overloaded'));
      expect(events[0]?.failure).toMatchObject({ kind: 'shortage', code });
      expect(await pool.reach(options, async ({ name }) => name)).toEqual({ answer: 'one', attempts: 1 });
    },
  );

  it('takes a credential that could not be asked for as its own shortage', async () => {
    const cause = Object.assign(new Error('connect EMFILE'), { code: 'EMFILE' });
    const credential = { getToken: () => Promise.reject(new AggregateError([new Error('none', { cause })], 'all')) };
    const cache = createTokenCache({ credential, scope: 's' });
    onTestFinished(() => cache.close());
    const { open, events } = bench(target(1, { authorize: authorizeWithEntra(cache) }));
    expect(await open()).toMatchObject({ id: 'overloaded' });
    expect(events[0]?.failure).toMatchObject({ kind: 'shortage', code: 'EMFILE' });
  });

  it('opens on the first upstream while that works', async () => {
    const [one, two] = [await realtime(), await realtime()];
    const { open, events } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    expect([await open(), await open()]).toEqual(['one in 1', 'one in 1']);
    expect(events).toEqual([
      { upstream: 'one', outcome: 'ok', seconds: 0 },
      { upstream: 'one', outcome: 'ok', seconds: 0 },
    ]);
  });

  it.each([400, 401, 404, 429, 500, 503])('goes to the second when the first answers %i', async (status) => {
    const [one, two] = [await refusing({ status }), await realtime()];
    const { open, events } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    expect(await open()).toBe('two in 2');
    expect(events[0]).toMatchObject({ upstream: 'one', status, failure: { status } });
  });

  it('asks the second long before the time of a short dial is over', async () => {
    const [one, two] = [await tcp(), await realtime()];
    const { open, events } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    expect(await open(undefined, 0.05)).toBe('two in 2');
    expect(outcomes(events)).toEqual(['two ok', 'one upstream_timeout']);
  });

  it('tries no more than two of three', async () => {
    const failing = await Promise.all([1, 2, 3].map(() => refusing({ status: 500 })));
    const { open, events } = bench(...failing.map(({ port }, index) => target(port, { name: String(index) })));
    expect(await open()).toMatchObject({ id: 'upstream_failed' });
    expect(outcomes(events)).toEqual(['0 upstream_failed', '1 upstream_failed']);
  });

  it.each([
    ['a reset', 2, async () => tcp((socket) => socket.resetAndDestroy())],
    ['500', 2, async () => refusing({ status: 500 })],
    ['503', 1, async () => refusing({ status: 503 })],
    ['404', 1, async () => refusing({ status: 404 })],
    ['401', 1, async () => refusing({ status: 401 })],
    ['refused TCP', 1, async () => ({ port: await closedPort() })],
  ])('of one upstream meets %s with %i attempt(s)', async (_name, attempts, start) => {
    const { open, events } = bench(target((await start()).port));
    expect(await open()).toBeInstanceOf(RelayError);
    expect(events).toHaveLength(attempts);
  });

  it('of one upstream opens at the second attempt after a reset', async () => {
    const server = await realtime();
    let connections = 0;
    const flaky = await tcp((socket) => {
      if (++connections === 1) {
        socket.resetAndDestroy();
        return;
      }
      const upstream = connect(server.port, '127.0.0.1');
      socket.pipe(upstream).pipe(socket);
      socket.on('close', () => upstream.destroy());
      upstream.on('error', () => socket.destroy());
    });
    expect(await bench(target(flaky.port)).open()).toBe('test in 2');
  });
});

describe('an upstream that is mute', () => {
  it('costs a start the wait for the second, and nothing once its circuit is open', async () => {
    const [one, two] = [await tcp((socket) => socket.resume()), await realtime()];
    const { open, events } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    for (let start = 0; start < 3; start += 1) {
      const began = performance.now();
      expect(await open()).toBe('two in 2');
      expect(performance.now() - began).toBeGreaterThan(99);
      expect(performance.now() - began).toBeLessThan(1000);
    }
    expect([await open(), await open()]).toEqual(['two in 1', 'two in 1']);
    expect(one.sockets).toHaveLength(3);
    expect(events[1]?.failure).toMatchObject({ kind: 'timeout', message: 'Another upstream was quicker (upgrade)' });
    for (const socket of one.sockets) await vi.waitFor(() => expect(socket.destroyed).toBe(true));
  });

  it('is waited for alone when there is no other', async () => {
    const one = await tcp();
    const two = await refusing({ status: 429, headers: { 'retry-after': '60' } });
    const alone = bench(target(one.port));
    expect(await alone.open(undefined, 0.2)).toMatchObject({ id: 'upstream_timeout' });
    const { open, events } = bench(target(two.port, { name: 'two' }), target(one.port, { name: 'one' }));
    await open(undefined, 0.2);
    expect(await open(undefined, 0.2)).toMatchObject({ id: 'upstream_timeout' });
    expect(outcomes(events)).toEqual(['two upstream_unavailable', 'one upstream_timeout', 'one upstream_timeout']);
  });

  it('is left alone after three time-outs, for no longer than after five failures', async () => {
    const { open } = bench(target((await tcp()).port));
    for (let start = 0; start < 3; start += 1)
      expect(await open(undefined, 0.02)).toMatchObject({ id: 'upstream_timeout' });
    expect(await open()).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: 1000 });
  });

  it('together with the other one leaves the reason of who failed last', async () => {
    const [one, two] = [await tcp(), await refusing({ status: 404 })];
    const { open, events } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    expect(await open(undefined, 0.3)).toMatchObject({ id: 'upstream_timeout' });
    expect(outcomes(events)).toEqual(['two upstream_failed', 'one upstream_timeout']);
  });
});

describe('an upstream that is only slow', () => {
  it('still wins when it opens before the second, which is not blamed and left with nothing', async () => {
    const server = await realtime();
    let opened: () => void = () => undefined;
    const slow = await tcp((socket) => {
      socket.pause();
      opened = () => {
        const upstream = connect(server.port, '127.0.0.1');
        socket.pipe(upstream).pipe(socket);
        socket.on('close', () => upstream.destroy());
      };
    });
    const second = await tcp((socket) => {
      socket.resume();
      opened();
    });
    const { open, events } = bench(target(slow.port, { name: 'slow' }), target(second.port, { name: 'second' }));
    expect(await open()).toBe('slow in 2');
    expect(outcomes(events)).toEqual(['slow ok', 'second aborted']);
    await vi.waitFor(() => expect(second.sockets[0]?.destroyed).toBe(true));
    for (let start = 0; start < 6; start += 1) expect(await open()).toBe('slow in 2');
  });

  it('is not blamed while it waits for the credential of the relay', async () => {
    const server = await realtime();
    const waiting: Authorizer = {
      header: () => new Promise(() => undefined),
      renew: async () => null,
      status: () => ({ ready: false, detail: null }),
    };
    const { open, events } = bench(
      target(server.port, { name: 'one', authorize: waiting }),
      target(server.port, { name: 'two' }),
    );
    for (let start = 0; start < 4; start += 1) expect(await open()).toBe('two in 2');
    expect(events.filter(({ upstream }) => upstream === 'one').map(({ failure }) => failure?.kind)).toEqual(
      Array(4).fill('credential'),
    );
  });
});

describe('two attempts side by side', () => {
  const attempt = () => {
    const stops: unknown[] = [];
    let end: (result: { answer: string } | { refusal: RelayError }) => void = () => undefined;
    const result = new Promise<{ answer: string } | { refusal: RelayError }>((resolve) => {
      end = resolve;
    });
    return {
      result,
      stops,
      stop: (reason: unknown) => stops.push(reason),
      end: (given: Parameters<typeof end>[0]) => end(given),
    };
  };

  it('that both succeed keep one answer and let go of the other', async () => {
    const [first, second] = [attempt(), attempt()];
    const discarded: string[] = [];
    const outcome = race({ first, second: () => second, aloneMs: 0, discard: (answer) => discarded.push(answer) });
    await new Promise((resolve) => setTimeout(resolve, 5));
    second.end({ answer: 'two' });
    first.end({ answer: 'one' });
    expect(await outcome).toEqual({ answer: 'two', attempts: 2 });
    expect([discarded, first.stops, second.stops]).toEqual([['one'], [overtaken], []]);
  });

  it('are never three', async () => {
    const first = attempt();
    const refusal = new RelayError('upstream_failed', 'no');
    const seconds: ReturnType<typeof attempt>[] = [];
    const second = () => {
      const one = attempt();
      seconds.push(one);
      return one;
    };
    const outcome = race({ first, second, aloneMs: 0, discard: () => undefined });
    await new Promise((resolve) => setTimeout(resolve, 5));
    first.end({ refusal });
    await new Promise((resolve) => setImmediate(resolve));
    seconds[0]?.end({ refusal });
    expect(await outcome).toEqual({ refusal, attempts: 2 });
    expect(seconds).toHaveLength(1);
  });
});

describe('an upstream that asks to be left alone', () => {
  it('is not dialled until then, and the client is told when that is', async () => {
    const server = await refusing({ status: 429, headers: { 'retry-after': '20' } });
    const { open, events, pass } = bench(target(server.port));
    expect(await open()).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: 20_000 });
    pass(5);
    expect(await open()).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: 15_000 });
    expect(server.seen).toHaveLength(1);
    pass(15);
    await open();
    expect(server.seen).toHaveLength(2);
    expect(events).toHaveLength(2);
  });

  it('is passed over for the next one, and preferred again afterwards', async () => {
    const one = await refusing({ status: 429, headers: { 'retry-after': '20' } });
    const two = await realtime();
    const { open, events, pass } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    expect([await open(), await open()]).toEqual(['two in 2', 'two in 1']);
    pass(20);
    expect(await open()).toBe('two in 2');
    expect(outcomes(events).filter((outcome) => outcome.startsWith('one'))).toHaveLength(2);
  });

  it('is known to be away before anybody dials it, and until when', async () => {
    const server = await refusing({ status: 429, headers: { 'retry-after': '20' } });
    const { open, pool, pass } = bench(target(server.port));
    expect(pool.unavailable()).toBeNull();
    await open();
    expect(pool.unavailable()).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: 20_000 });
    expect(pool.unavailable('ga')).toMatchObject({ retryAfterMs: 20_000 });
    pass(20);
    expect([pool.unavailable(), pool.unavailable()]).toEqual([null, null]);
    expect(pool.unavailable('preview')).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: undefined });
  });

  it('is away for nobody while another is there', async () => {
    const one = await refusing({ status: 429, headers: { 'retry-after': '20' } });
    const two = await realtime();
    const { open, pool } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    await open();
    expect(pool.unavailable()).toBeNull();
  });

  it('with all the others names the earliest of them', async () => {
    const one = await refusing({ status: 429, headers: { 'retry-after': '60' } });
    const two = await refusing({ status: 429, headers: { 'retry-after': '30' } });
    const { open } = bench(target(one.port, { name: 'one' }), target(two.port, { name: 'two' }));
    await open();
    expect(await open()).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: 30_000 });
  });
});

describe('an upstream that keeps failing', () => {
  it('is left alone after five failures, for a second, then longer, up to thirty', async () => {
    const server = await refusing({ status: 404 });
    const { open, pass } = bench(target(server.port));
    for (let failure = 0; failure < 5; failure += 1) expect(await open()).toMatchObject({ id: 'upstream_failed' });
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      expect(await open()).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: seconds * 1000 });
      pass(seconds);
      expect(await open()).toMatchObject({ id: 'upstream_failed' });
    }
    expect(server.seen).toHaveLength(5 + 7);
  });

  it('is probed by one session at a time, and by all once that has opened', async () => {
    const outcomesOfFive = Array.from({ length: 5 }, () => ({ status: 404 }));
    const failing = await refusing(...outcomesOfFive);
    const upstream = { ...target(failing.port) };
    const server = await realtime();
    const { open, pass } = bench(upstream);
    for (let failure = 0; failure < 5; failure += 1) await open();
    Object.assign(upstream, { endpoint: target(server.port).endpoint });
    pass(1);
    const results = await Promise.all([open(), open(), open()]);
    expect(results[0]).toBe('test in 1');
    expect(results.slice(1)).toMatchObject([{ id: 'upstream_unavailable', retryAfterMs: 1000 }, {}]);
    expect(await Promise.all([open(), open()])).toEqual(['test in 1', 'test in 1']);
  });

  it('together in many sessions is left alone for no longer than once', async () => {
    const server = await refusing({ status: 404 });
    const { open } = bench(target(server.port));
    await Promise.all(Array.from({ length: 30 }, () => open()));
    expect(await open()).toMatchObject({ id: 'upstream_unavailable', retryAfterMs: 1000 });
  });

  it('is forgiven by a success in between', async () => {
    let number = 0;
    const server = await refusing({ status: 404 });
    const good = await realtime();
    const upstream = { ...target(server.port) };
    const { open } = bench(upstream);
    while (++number <= 9) {
      Object.assign(upstream, { endpoint: target(number === 5 ? good.port : server.port).endpoint });
      await open();
    }
    expect(await open()).toMatchObject({ id: 'upstream_failed' });
  });
});

describe('a client that leaves', () => {
  it('ends the attempt, makes no second one and says nothing about the upstream', async () => {
    const silent = await tcp();
    const { open, events } = bench(target(silent.port, { name: 'one' }), target(silent.port, { name: 'two' }));
    for (let leaver = 0; leaver < 6; leaver += 1) {
      const leaving = new AbortController();
      const outcome = open(leaving.signal);
      while (silent.sockets.length <= leaver) await new Promise((resolve) => setImmediate(resolve));
      leaving.abort();
      expect(await outcome).toMatchObject({ id: 'normal' });
    }
    expect(outcomes(events)).toEqual(Array.from({ length: 6 }, () => 'one aborted'));
  });

  it('leaves a probe to the next one', async () => {
    const failing = await refusing({ status: 404 });
    const silent = await tcp();
    const upstream = { ...target(failing.port) };
    const { open, pass } = bench(upstream);
    for (let failure = 0; failure < 5; failure += 1) await open();
    pass(1);
    Object.assign(upstream, { endpoint: target(silent.port).endpoint });
    const leaving = new AbortController();
    const outcome = open(leaving.signal);
    while (silent.sockets.length === 0) await new Promise((resolve) => setImmediate(resolve));
    leaving.abort();
    await outcome;
    const good = await realtime();
    Object.assign(upstream, { endpoint: target(good.port).endpoint });
    expect(await open()).toBe('test in 1');
  });
});

describe('a missing credential', () => {
  const deadCache = () => {
    const credential = { getToken: () => Promise.reject(new Error('identity is down')) };
    const cache = createTokenCache({ credential, scope: 's' });
    onTestFinished(() => cache.close());
    return cache;
  };

  it('sends the session to an upstream that needs no such one, and is not held against the upstream', async () => {
    const server = await realtime();
    const shared = authorizeWithEntra(deadCache());
    const { open, events, pool } = bench(
      target(server.port, { name: 'one', authorize: shared }),
      target(server.port, { name: 'two', authorize: shared }),
      target(server.port, { name: 'three' }),
    );
    for (let session = 0; session < 7; session += 1) expect(await open()).toBe('three in 2');
    expect(new Set(outcomes(events))).toEqual(new Set(['one upstream_unavailable', 'three ok']));
    expect(pool.ready()).toEqual({
      ready: true,
      detail: 'one: Error: identity is down; two: Error: identity is down',
    });
  });

  it('everywhere makes the pool not ready, for a reason', async () => {
    const { open, pool } = bench(target(1, { authorize: authorizeWithEntra(deadCache()) }));
    expect(pool.ready()).toEqual({ ready: false, detail: 'test: No Entra token has been obtained yet.' });
    expect(await open()).toMatchObject({ id: 'upstream_unavailable' });
    expect(pool.ready()).toEqual({ ready: false, detail: 'test: Error: identity is down' });
  });
});

describe('a closed pool', () => {
  it('aborts the dials under way and begins no other', async () => {
    const silent = await tcp();
    const { open, pool } = bench(target(silent.port));
    const outcome = open();
    while (silent.sockets.length === 0) await new Promise((resolve) => setImmediate(resolve));
    pool.close();
    expect(await outcome).toMatchObject({ id: 'draining' });
    expect(await open()).toMatchObject({ id: 'draining' });
    expect(silent.sockets).toHaveLength(1);
  });

  it('cannot be made of nothing', () => {
    expect(() => new UpstreamPool([])).toThrow(/At least one/);
  });
});

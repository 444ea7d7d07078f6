import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Ear, Line } from '../../src/cluster/rpc.js';
import { Totals } from '../../src/cluster/totals.js';
import { RelayError } from '../../src/errors.js';
import { answerCall } from '../../src/store/remote.js';
import { createMetrics } from '../../src/telemetry/metrics.js';
import { pair, remoteStore } from '../support/line.js';

const silent: Ear = { heard: () => undefined, asked: async () => null, failed: () => undefined };

describe('a line between two processes', () => {
  it('carries questions, answers and the reasons of refusals, but not the text of a fault', async () => {
    const failed = vi.fn();
    const asked = async (question: unknown) => {
      if (question === 'full') throw new RelayError('overloaded', 'No room.', { retryAfterMs: 7 });
      if (question === 'bug') throw new TypeError('a secret');
      return { question };
    };
    const { near } = pair({}, { asked, failed });
    expect(await near.ask('one')).toEqual({ question: 'one' });
    await expect(near.ask('full')).rejects.toMatchObject({ id: 'overloaded', message: 'No room.', retryAfterMs: 7 });
    const fault = await near.ask('bug').catch((error: RelayError) => error);
    expect(fault).toMatchObject({ id: 'internal' });
    expect(JSON.stringify([fault, (fault as Error).message])).not.toContain('secret');
    expect(failed).toHaveBeenCalledTimes(1);
  });

  it('gives up a question with overloaded after 5 s, and does not mind an answer that comes later', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    let sent: { ask?: number } = {};
    const line = new Line((message) => {
      sent = message;
    }, silent);
    const outcome = line.ask('anybody?').catch((error: RelayError) => error.id);
    await vi.advanceTimersByTimeAsync(4999);
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(await outcome).toBe('overloaded');
    line.receive({ answer: sent.ask, is: 'late' });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('refuses more than 10 000 questions at once, and all of them when the other end is gone', async () => {
    const send = vi.fn();
    const line = new Line(send, silent);
    const outcomes = Array.from({ length: 10_001 }, () => line.ask('?').catch((error: RelayError) => error.id));
    expect(await outcomes.at(-1)).toBe('overloaded');
    expect(send).toHaveBeenCalledTimes(10_000);
    line.close();
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['overloaded']));
    await expect(line.ask('?')).rejects.toMatchObject({ id: 'overloaded' });
    line.tell('?');
    expect(send).toHaveBeenCalledTimes(10_000);
  });

  it.each([
    ['a send that fails later', (_: object, done: (error: Error) => void) => queueMicrotask(() => done(new Error()))],
    [
      'a send that throws',
      () => {
        throw new Error('cannot be cloned');
      },
    ],
  ])('rejects with overloaded on %s', async (_, send) => {
    await expect(new Line(send, silent).ask('?')).rejects.toMatchObject({ id: 'overloaded' });
  });

  it.each([
    ['that is nothing', null],
    ['that is no object', 'text'],
    ['that is empty', {}],
    ['of two kinds', { tell: 1, ask: 2 }],
    ['with a negative number', { ask: -1, of: 1 }],
    ['with no number', { ask: 'x', of: 1 }],
    ['with an unknown error', { answer: 0, error: { id: 'nonsense', message: '' } }],
    ['with an endless error', { answer: 0, error: { id: 'internal', message: 'x'.repeat(1001) } }],
  ])('reports a message %s instead of failing on it', (_, message) => {
    const failed = vi.fn();
    new Line(() => undefined, { ...silent, failed }).receive(message);
    expect(failed).toHaveBeenCalledTimes(1);
  });

  it('reports a notice that its listener fails on', () => {
    const failed = vi.fn();
    const heard = () => {
      throw new Error('no such notice');
    };
    new Line(() => undefined, { ...silent, heard, failed }).receive({ tell: 'x' });
    expect(failed).toHaveBeenCalledTimes(1);
  });
});

describe('a store in another process', () => {
  it.each([
    ['that is nothing', null],
    ['that closes it', { do: 'close' }],
    ['without a key', { do: 'take' }],
    ['with something else', { do: 'take', key: 'k', more: 1 }],
    ['with an endless key', { do: 'take', key: 'x'.repeat(64 * 1024 + 1) }],
    ['for an unknown purpose', { do: 'enter', place: { purpose: 'x', key: '', limit: 1, ttlSeconds: 1 }, holds: [] }],
    ['with a total that is no number', { do: 'settle', holder: 'a', totals: [{ counter: 'p', total: Number.NaN }] }],
    ['of too many budgets', { do: 'settle', holder: 'a', totals: Array(101).fill({ counter: 'p' }) }],
  ])('refuses a call %s', async (_, call) => {
    await expect(answerCall(remoteStore().store, call)).rejects.toThrow();
  });

  it('is closed for one process only', async () => {
    const { store, remote } = remoteStore();
    await store.put({ key: 'v', value: 'value', ttlSeconds: 60, of: '', limit: 1 });
    await remote.close();
    await expect(remote.take('v')).rejects.toMatchObject({ id: 'draining' });
    expect(await store.take('v')).toBe('value');
  });
});

describe('the metrics of all workers', () => {
  function source() {
    const metrics = createMetrics({ process: false });
    metrics.watch({
      isReady: () => false,
      sessionsLimit: () => 0,
      sessions: () => 2,
      bufferedBytes: () => 0,
      sidebands: () => 0,
      revocations: () => 0,
      tokenSeconds: () => new Map(),
    });
    return { metrics, snapshot: () => metrics.registry.getMetricsAsJSON() };
  }
  const sampleOf = (text: string, line: string) =>
    Number(
      text
        .split('\n')
        .find((one) => one.startsWith(`${line} `))
        ?.slice(line.length + 1) ?? Number.NaN,
    );

  it('are sums, the lowest of what runs out, and keep what a dead worker has counted', async () => {
    const own = createMetrics({ process: false });
    const totals = new Totals(() => own.registry.getMetricsAsJSON());
    const [one, two] = [source(), source()];
    for (const each of [one, two]) totals.add(each);
    one.metrics.sessionReady(0.1);
    two.metrics.sessionReady(0.3);
    one.metrics.rateLimit('default', 'tokens', 500);
    two.metrics.rateLimit('default', 'tokens', 300);
    one.metrics.traffic.up.latency.observe(0.0001);
    two.metrics.traffic.up.latency.observe(1);
    const both = await totals.metrics();
    expect(sampleOf(both, 'relay_sessions_active')).toBe(4);
    expect(sampleOf(both, 'relay_sessions_total{outcome="ready"}')).toBe(2);
    expect(sampleOf(both, 'relay_session_ready_seconds_bucket{le="0.2"}')).toBe(1);
    expect(sampleOf(both, 'relay_session_ready_seconds_bucket{le="+Inf"}')).toBe(2);
    expect(sampleOf(both, 'relay_rate_limit_remaining{upstream="default",name="tokens"}')).toBe(300);
    expect(sampleOf(both, 'relay_added_latency_seconds_count{direction="up"}')).toBe(2);

    await totals.remove(two);
    const rest = await totals.metrics();
    expect(sampleOf(rest, 'relay_sessions_active')).toBe(2);
    expect(sampleOf(rest, 'relay_sessions_total{outcome="ready"}')).toBe(2);
    expect(sampleOf(rest, 'relay_rate_limit_remaining{upstream="default",name="tokens"}')).toBe(500);
    await totals.remove(one);
    expect(sampleOf(await totals.metrics(), 'relay_sessions_total{outcome="ready"}')).toBe(2);
  });

  it('are the last known of a worker that does not answer', async () => {
    const own = createMetrics({ process: false });
    const totals = new Totals(() => own.registry.getMetricsAsJSON());
    const { metrics, snapshot } = source();
    metrics.sessionReady(0.1);
    const answers = [snapshot, () => Promise.reject(new RelayError('overloaded', ''))];
    totals.add({ snapshot: () => (answers.shift() ?? snapshot)() });
    for (let scrape = 0; scrape < 2; scrape++) {
      expect(sampleOf(await totals.metrics(), 'relay_sessions_total{outcome="ready"}')).toBe(1);
    }
  });
});

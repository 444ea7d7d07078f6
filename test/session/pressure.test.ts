import { expect, it, onTestFinished, vi } from 'vitest';
import { Pressure } from '../../src/session/pressure.js';
import { SessionRegistry } from '../../src/session/registry.js';
import { createLog } from '../../src/telemetry/log.js';
import { nobody } from '../support/backend.js';

/** A registry with sessions made of numbers, under pressure that is looked at when the test says so. */
function bench(limits: { busy_delay_ms: number; busy_percent: number; buffered_bytes?: number }) {
  const registry = new SessionRegistry(1000);
  const lines: Record<string, unknown>[] = [];
  const shed: string[] = [];
  let descriptors = 0;
  const pressure = new Pressure({
    registry,
    log: createLog('info', { write: (line) => void lines.push(JSON.parse(line)) }),
    metrics: { shed: (want) => void shed.push(want), loopDelayed: () => undefined },
    workers: 1,
    limits: () => limits,
    descriptors: () => ({ open: descriptors * 1000, most: 1000 }),
  });
  const ended: string[] = [];
  onTestFinished(async () => {
    pressure.close();
    await registry.drain(0);
  });
  const add = (id: string, subject: string, session: { bytes?: number; workMs?: number } = {}) => {
    const made = {
      id,
      admission: { principal: { issuer: 'i', tenant: null, subject }, renew: () => undefined } as never,
      isOpen: true,
      get buffered() {
        return { up: 0, down: session.bytes ?? 0 };
      },
      get workMs() {
        return session.workMs ?? 0;
      },
      quietMs: () => 0,
      ask: () => undefined,
      overview: () => null as never,
      backend: nobody,
      taps: { add: () => null },
      tick: () => undefined,
      drain: () => registry.remove(made),
      end(exit: string) {
        ended.push(`${id} ${exit}`);
        registry.remove(made);
      },
    };
    registry.reserve();
    registry.add(made);
    return session;
  };
  const look = (delayMs: number, utilisation = 0) => pressure.look({ delayMs, utilisation, lateMs: 0 });
  return { registry, pressure, add, look, ended, shed, lines, use: (share: number) => (descriptors = share) };
}

const off = { busy_delay_ms: 0, busy_percent: 0 };

it('ends the backlogs of who fills memory until the rest fits, and says who was heaviest', () => {
  const { pressure, add, ended, lines, shed } = bench({ ...off, buffered_bytes: 10_000_000 });
  add('honest-1', 'alice', { bytes: 50_000 });
  for (let i = 0; i < 8; i++) add(`evil-${i}`, 'mallory', { bytes: 2_000_000 });
  add('honest-2', 'bob', { bytes: 60_000 });
  pressure.weigh();
  expect(ended).toHaveLength(4);
  expect(ended.every((one) => /^evil-\d slow_consumer$/.test(one))).toBe(true);
  expect(shed).toEqual(Array(4).fill('memory'));
  expect(lines[0]).toMatchObject({ msg: 'session.shed', want: 'memory', heaviest: { subject: 'mallory' } });
  expect(pressure.ledger.bytes).toBeLessThan(10_000_000);
  pressure.weigh();
  expect(ended).toHaveLength(4);
});

it('counts what other owners keep, and ends nobody who has nothing waiting', () => {
  const { pressure, add, ended } = bench({ ...off, buffered_bytes: 1_000_000 });
  add('honest', 'alice');
  pressure.ledger.add({ name: 'log', bytes: () => 2_000_000 });
  pressure.weigh();
  expect(ended).toEqual([]);
});

it('has other owners let go of what they can before any session ends', () => {
  const { pressure, add, ended } = bench({ ...off, buffered_bytes: 1_000_000 });
  add('honest', 'alice', { bytes: 500_000 });
  let kept = 2_000_000;
  pressure.ledger.add({
    name: 'sidebands',
    bytes: () => kept,
    shed(bytes) {
      const freed = Math.min(kept, bytes);
      kept -= freed;
      return freed;
    },
  });
  pressure.weigh();
  expect(ended).toEqual([]);
  expect(pressure.ledger.bytes).toBeLessThanOrEqual(1_000_000);
});

it('lets nobody new in while the loop is late, and sheds who took its time once it is too late for all', () => {
  const { registry, pressure, add, look, ended, lines } = bench({ busy_delay_ms: 200, busy_percent: 90 });
  const heavy = add('heavy', 'mallory');
  for (let i = 0; i < 9; i++) add(`light-${i}`, `user-${i}`, { workMs: 10 });
  for (let i = 0; i < 3; i++) look(300);
  expect(registry.isShort).toBe(true);
  expect(pressure.isBusy).toBe(true);
  expect(ended).toEqual([]);
  look(2100);
  heavy.workMs = 5000;
  look(2100);
  expect(ended).toEqual([]);
  look(2100);
  expect(ended).toEqual(['heavy overloaded']);
  look(3500);
  // Nobody stands out any more.
  expect(ended.slice(1)).toEqual([
    'light-8 overloaded',
    'light-7 overloaded',
    'light-6 overloaded',
    'light-5 overloaded',
  ]);
  look(100);
  expect(registry.isShort).toBe(false);
  expect(lines.map(({ msg }) => msg).filter((msg) => msg !== 'session.shed')).toEqual(['relay.busy', 'relay.relieved']);
});

it('lets nobody new in while nine tenths of the descriptors are in use', () => {
  const { registry, look, use } = bench(off);
  use(0.95);
  look(0);
  expect(registry.isShort).toBe(true);
  use(0.5);
  look(0);
  expect(registry.isShort).toBe(false);
});

it('remembers who has got on', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const { pressure, add, ended } = bench({ ...off, buffered_bytes: 3_000_000 });
  const moving = add('moving', 'mallory', { bytes: 1_400_000 });
  add('still', 'mallory', { bytes: 1_400_000 });
  add('honest', 'alice', { bytes: 0 });
  pressure.weigh();
  vi.advanceTimersByTime(10_000);
  moving.bytes = 1_300_000;
  pressure.weigh();
  add('more', 'mallory', { bytes: 1_400_000 });
  pressure.weigh();
  expect(ended[0]).toBe('still slow_consumer');
});

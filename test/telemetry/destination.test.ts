import { expect, it } from 'vitest';
import { Destination } from '../../src/telemetry/destination.js';
import { audit, createLog } from '../../src/telemetry/log.js';

/** An output that takes what it is told to take; writes are done when the test says so. */
function disk() {
  const written: string[] = [];
  const state = { error: null as string | null, most: Number.POSITIVE_INFINITY, writes: 0 };
  const take = (bytes: Buffer) => {
    state.writes++;
    if (state.error) throw Object.assign(new Error(state.error), { code: state.error });
    const count = Math.min(bytes.length, state.most);
    written.push(bytes.subarray(0, count).toString('latin1'));
    return count;
  };
  const output = {
    write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, written: number) => void) {
      setImmediate(() => {
        try {
          done(null, take(bytes));
        } catch (error) {
          done(error as NodeJS.ErrnoException, 0);
        }
      });
    },
    wholeBytes: Number.POSITIVE_INFINITY,
    writeNow: take,
  };
  return { state, output, text: () => written.join('') };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

function bench(mostBytes?: number) {
  const { state, output, text } = disk();
  const told: number[] = [];
  const destination = new Destination({
    output,
    recovered: (lines) => told.push(lines),
    ...(mostBytes !== undefined && { mostBytes }),
  });
  return { state, text, told, destination, log: createLog('info', destination) };
}

it('writes the lines of one turn at once, in order, and goes on where a write was cut short', async () => {
  const { state, text, destination, log } = bench();
  state.most = 100;
  for (let i = 0; i < 20; i++) log.info({ i }, 'line');
  expect(state.writes).toBe(0);
  await destination.end();
  const lines = text().trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).i)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  state.most = Number.POSITIVE_INFINITY;
  state.writes = 0;
  for (let i = 0; i < 20; i++) log.info({ i }, 'line');
  await destination.end();
  expect(state.writes).toBe(1);
});

it.each(['ENOSPC', 'EAGAIN', 'EPIPE', 'EIO'])(
  'keeps lines within its bound while writing fails with %s, drops the newest, and says how many when it works again',
  async (code) => {
    const { state, text, told, destination, log } = bench(10_000);
    state.error = code;
    for (let i = 0; i < 1000; i++) {
      log.info({ i }, 'line');
      expect(destination.bytes).toBeLessThanOrEqual(10_000);
      if (i % 100 === 0) await turn();
    }
    expect(text()).toBe('');
    expect(destination.dropped).toBeGreaterThan(500);
    state.error = null;
    await destination.end(1500);
    const kept = text().trim().split('\n');
    expect(kept).toHaveLength(1000 - destination.dropped);
    expect(JSON.parse(kept[0] as string).i).toBe(0);
    expect(told).toEqual([destination.dropped]);
  },
);

it('drops lines of the audit last: others that came before make room', async () => {
  const { state, text, destination, log } = bench(10_000);
  state.error = 'ENOSPC';
  for (let i = 0; i < 200; i++) log.info({ i }, 'line');
  for (let i = 0; i < 30; i++) log.info({ ...audit, i }, 'done');
  for (let i = 0; i < 200; i++) log.info({ i }, 'line');
  expect(destination.bytes).toBeLessThanOrEqual(10_000);
  state.error = null;
  destination.flush();
  const audited = text()
    .split('\n')
    .filter((line) => line.includes('"audit":true'));
  expect(audited.map((line) => JSON.parse(line).i)).toEqual(Array.from({ length: 30 }, (_, i) => i));
  // Also of the audit there is an end.
  state.error = 'ENOSPC';
  for (let i = 0; i < 300; i++) log.info({ ...audit, i }, 'done');
  expect(destination.bytes).toBeLessThanOrEqual(10_000);
});

it('writes the line of a crash at once, behind all that waits, however full it is', () => {
  const { state, text, log } = bench(1000);
  for (let i = 0; i < 20; i++) log.info({ i }, 'line');
  log.fatal('crash');
  expect(text().trim().split('\n').at(-1)).toContain('crash');
  expect(text()).toContain('"i":0');
  // Nothing is thrown, and nobody waits for long, where it cannot be written.
  state.error = 'EAGAIN';
  const started = performance.now();
  log.fatal('crash');
  expect(performance.now() - started).toBeLessThan(1000);
});

it('ends within its time when nothing can be written', async () => {
  const { state, destination, log } = bench();
  state.error = 'ENOSPC';
  log.info('line');
  const started = performance.now();
  await destination.end(50);
  expect(performance.now() - started).toBeLessThan(1000);
});

it('writes nothing that a terminal obeys, and stays JSON', async () => {
  const { text, destination, log } = bench();
  const evil = '\u001b[2J\u009b2J\u202e\u2028\u007f"\\';
  log.info({ evil }, evil);
  await destination.end();
  expect(text().trim()).not.toMatch(/[\p{Cc}\u202e\u2028]/u);
  // It is written in latin1 by the test's disk only where it is ASCII anyway.
  expect(JSON.parse(text())).toMatchObject({ evil, msg: evil });
});

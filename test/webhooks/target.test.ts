import { pino } from 'pino';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Clock } from '../../src/clock.js';
import { keyOf, sign } from '../../src/outbound/sign.js';
import { Backlog, type Message } from '../../src/webhooks/backlog.js';
import { Target } from '../../src/webhooks/target.js';
import { Webhooks } from '../../src/webhooks/webhooks.js';
import { type Post, startReceiver, webhookSecret } from '../support/webhook.js';

const other = 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';

/** The clock of the targets goes as told, that of the sockets by itself. */
function heldServices() {
  const real = performance.now.bind(performance);
  let ahead = 0;
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => real() + ahead);
  onTestFinished(() => spy.mockRestore());
  const waiting: { due: number; work: () => void }[] = [];
  const clock: Clock = {
    at(ms, work) {
      const one = { due: performance.now() + ms, work };
      waiting.push(one);
      return () => void (waiting.includes(one) && waiting.splice(waiting.indexOf(one), 1));
    },
  };
  const outcomes: string[] = [];
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return {
    services: { clock, log, counted: (outcome: string) => void outcomes.push(outcome), proxyFor: () => null },
    outcomes,
    lines,
    waits: () => waiting.map(({ due }) => due - performance.now()),
    pass(ms: number) {
      ahead += ms;
      for (const one of waiting.filter(({ due }) => due <= performance.now())) {
        waiting.splice(waiting.indexOf(one), 1);
        one.work();
      }
    },
  };
}

function content(id: string, { session = 'sess_1', user = 'alice', isUsage = false, size = 0 } = {}) {
  return { id, session, user, isUsage, body: JSON.stringify({ type: 't', data: { seq: 1, x: 'x'.repeat(size) } }) };
}

async function start(answer?: Parameters<typeof startReceiver>[0], room?: ConstructorParameters<typeof Target>[3]) {
  const receiver = await startReceiver(answer);
  const held = heldServices();
  const target = new Target(receiver.url, [webhookSecret], held.services, room);
  onTestFinished(() => target.close(0));
  return { ...held, receiver, target };
}

describe('a target', () => {
  it('tries a message with the same id, each time later, until it is fifteen minutes old', async () => {
    const { receiver, target, outcomes, lines, pass, waits } = await start(() => 503);
    target.send(content('m1'));
    const longest: number[] = [];
    for (let attempt = 1; outcomes.length === 0; attempt++) {
      await receiver.until(() => receiver.posts.length === attempt);
      await vi.waitFor(() => expect(waits().length).toBeGreaterThan(0));
      if (outcomes.length > 0) break;
      longest.push(Math.max(...waits()));
      pass(60_000);
    }
    expect(longest.length).toBeGreaterThanOrEqual(15);
    for (const [index, wait] of longest.entries()) {
      const most = Math.min(60_000, 1000 * 2 ** index);
      expect(wait).toBeGreaterThan(most / 2 - 200);
      expect(wait).toBeLessThanOrEqual(most);
    }
    expect(new Set(receiver.posts.map(({ id }) => id)).size).toBe(1);
    expect(outcomes).toEqual(['failed']);
    pass(0);
    const [line] = lines;
    expect(line).toMatchObject({ msg: 'webhook.undelivered', failed: 1, dropped: 0, id: 'm1' });
    expect(line?.target).toBe(new URL(receiver.url).host);
    expect(target.pending).toBe(0);
    expect(target.bytes).toBe(0);
  });

  it.each([
    ['5', 5000, 5000],
    ['3600', 60_000, 60_000],
    ['nonsense', 0, 1000],
  ])('leaves a receiver alone that says Retry-After: %s', async (retryAfter, least, most) => {
    const { receiver, target, waits } = await start(() => ({ status: 429, retryAfter }));
    target.send(content('m1'));
    await receiver.until(() => receiver.posts.length === 1);
    await vi.waitFor(() => expect(waits()).toHaveLength(1));
    expect(waits()[0]).toBeGreaterThan(least - 500);
    expect(waits()[0]).toBeLessThanOrEqual(most);
  });

  it('pauses for ten minutes after a 410, then one message tries, and usage goes on', async () => {
    let isGone = true;
    const { receiver, target, lines, pass } = await start((_, { id }) => (isGone && id !== 'usage' ? 410 : 204));
    target.send(content('m1'));
    await vi.waitFor(() => expect(lines).toMatchObject([{ msg: 'webhook.paused', seconds: 600 }]));
    for (const id of ['m2', 'm3', 'm4']) target.send(content(id));
    target.send(content('usage', { isUsage: true }));
    await receiver.until(() => receiver.posts.some(({ id }) => id === 'usage'));
    pass(590_000);
    expect(receiver.posts.map(({ id }) => id)).toEqual(['m1', 'usage']);
    pass(11_000);
    await vi.waitFor(() => expect(lines).toHaveLength(2));
    expect(receiver.posts).toHaveLength(3);
    isGone = false;
    pass(601_000);
    await vi.waitFor(() => expect(target.pending).toBe(0));
    expect(new Set(receiver.taken().map(({ type }) => type))).toEqual(new Set(['t']));
    expect(new Set(receiver.posts.map(({ id }) => id)).size).toBe(5);
  });

  it('is signed by two keys while one takes the place of the other', async () => {
    const { receiver, target } = await start();
    target.use([other, webhookSecret]);
    target.send(content('m1'));
    await receiver.until(() => receiver.posts.length === 1);
    const [{ headers, body }] = receiver.posts as [Post];
    const timestamp = Number(headers['webhook-timestamp']);
    expect(headers['webhook-signature']).toBe(
      [other, webhookSecret].map((one) => sign(keyOf(one), 'm1', timestamp, JSON.stringify(body))).join(' '),
    );
  });

  it('hurries at the end, and drops with one line what does not arrive in time', async () => {
    let isUp = false;
    const { receiver, target, outcomes, lines, pass, waits } = await start((_, { id }) =>
      isUp && id !== 'm9' ? 204 : 500,
    );
    for (let i = 1; i <= 9; i++) target.send(content(`m${i}`));
    await receiver.until(() => receiver.posts.length >= 9);
    await vi.waitFor(() => expect(waits().length).toBe(9));
    isUp = true;
    target.hurry();
    expect(Math.max(...waits())).toBeLessThanOrEqual(100);
    pass(100);
    await vi.waitFor(() => expect(target.pending).toBe(1));
    for (let i = 0; i < 8; i++) {
      await vi.waitFor(() => expect(waits().length).toBe(1));
      expect(waits()[0]).toBeLessThanOrEqual(1000);
      pass(1000);
      await receiver.until(() => receiver.posts.filter(({ id }) => id === 'm9').length === i + 3);
    }
    await target.close(1);
    expect(outcomes.toSorted()).toEqual([...Array(8).fill('delivered'), 'dropped']);
    expect(lines.filter(({ msg }) => msg === 'webhook.undelivered')).toMatchObject([{ dropped: 1, failed: 0 }]);
    target.send(content('late'));
    expect(outcomes.at(-1)).toBe('dropped');
  });

  it('waits for no answer of a receiver that hangs longer than it is given', async () => {
    const { receiver, target, outcomes } = await start(() => null);
    target.send(content('m1'));
    await receiver.until(() => receiver.posts.length === 1);
    await target.close(10);
    expect(outcomes).toEqual(['dropped']);
  });

  it('logs once a minute what it loses, with the count', async () => {
    const { target, lines, pass } = await start(() => null, { messages: 8, bytes: 1e6, usage: 1 });
    for (let i = 0; i < 50; i++) target.send(content(`m${i}`));
    pass(0);
    for (let i = 50; i < 80; i++) target.send(content(`m${i}`));
    pass(30_000);
    const counts = () => lines.map(({ dropped }) => dropped);
    expect(lines).toHaveLength(1);
    pass(30_000);
    expect(lines).toHaveLength(2);
    expect(counts().reduce((sum: number, one) => sum + Number(one), 0)).toBe(80 - target.pending);
  });
});

function message(id: string, session: string, user: string, bytes = 10, isUsage = false): Message {
  return { id, session, user, isUsage, body: '', bytes, bornAt: 0, attempts: 0, tries: 0 };
}

describe('a backlog', () => {
  const free = () => false;

  it('holds of one user an eighth, whatever the number of sessions', () => {
    const backlog = new Backlog({ messages: 80, bytes: 1e6, usage: 10 });
    const dropped = Array.from({ length: 40 }, (_, i) => backlog.add(message(`m${i}`, `s${i % 7}`, 'mallory'), free));
    expect(backlog.size).toBe(10);
    expect(dropped.flat()).toHaveLength(30);
    expect(backlog.add(message('a', 'sa', 'alice'), free)).toEqual([]);
  });

  it('drops the newest of who has most waiting when it is full, by number or by bytes', () => {
    for (const bytes of [10, 1000]) {
      const backlog = new Backlog(
        bytes === 10 ? { messages: 16, bytes: 1e6, usage: 9 } : { messages: 1e6, bytes: 16_000, usage: 9 },
      );
      for (let user = 0; user < 15; user++) backlog.add(message(`m${user}`, `s${user}`, `u${user}`, bytes), free);
      backlog.add(message('first', 'busy', 'u15', bytes), free);
      const [dropped] = backlog.add(message('second', 'busy', 'u15', bytes), free);
      expect(dropped?.id).toBe('second');
      expect(backlog.size).toBe(16);
      expect([...backlog].map(({ id }) => id)).toContain('m0');
    }
  });

  it('keeps what is being sent, and room for usage of its own', () => {
    const backlog = new Backlog({ messages: 8, bytes: 1e6, usage: 2 });
    const sent = message('m1', 's1', 'alice');
    backlog.add(sent, free);
    const second = message('m2', 's1', 'alice');
    expect(backlog.add(second, (one) => one === sent)).toEqual([second]);
    for (let i = 0; i < 2; i++) expect(backlog.add(message(`u${i}`, 's1', 'alice', 10, true), free)).toEqual([]);
    expect(backlog.add(message('u2', 's1', 'alice', 10, true), free)).toHaveLength(1);
    for (const one of [...backlog]) backlog.delete(one);
    expect([backlog.size, backlog.bytes]).toEqual([0, 0]);
  });
});

describe('webhooks that are read again', () => {
  const notice = (seq: number) => ({
    ...({ type: 'transcript.item', timestamp: '', session: 'sess_1', user: 'alice' } as const),
    seq,
    data: { seq },
  });

  it('keep what waits for a URL that stays and sign it anew, and drop what waits for one that is gone', async () => {
    let isUp = false;
    const [stays, goes] = await Promise.all([
      startReceiver(() => (isUp ? 204 : 503), webhookSecret),
      startReceiver(() => 503, other),
    ]);
    const held = heldServices();
    const events = ['transcript.item'] as const;
    const webhooks = new Webhooks(
      [
        { url: stays.url, secrets: [webhookSecret], events },
        { url: goes.url, secrets: [other], events },
        { url: goes.url, secrets: [other], events: ['session.usage'] },
      ],
      held.services,
    );
    onTestFinished(() => webhooks.close(0));
    webhooks.send(notice(2));
    await Promise.all([stays, goes].map((one) => one.until(() => one.posts.length === 1)));
    await vi.waitFor(() => expect(held.waits()).toHaveLength(2));
    webhooks.use([{ url: stays.url, secrets: [other, webhookSecret], events: ['session.ended'] }]);
    expect(held.outcomes).toEqual(['dropped']);
    isUp = true;
    webhooks.send(notice(3));
    expect([webhooks.wants('transcript.item'), webhooks.wants('session.ended')]).toEqual([false, true]);
    held.pass(1000);
    await vi.waitFor(() => expect(held.outcomes).toEqual(['dropped', 'delivered']));
    expect(stays.posts.map(({ id }) => id)).toEqual(['sess_1_2', 'sess_1_2']);
    expect(String(stays.posts[1]?.headers['webhook-signature']).split(' ')).toHaveLength(2);
    expect(webhooks.bytes).toBe(0);
  });
});

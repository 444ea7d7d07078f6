import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { keyOf, sign } from '../../src/outbound/sign.js';
import { type UsageRecord, UsageSums } from '../../src/telemetry/usage.js';
import { Delivery } from '../../src/webhooks/delivery.js';
import { proxy } from '../upstream/servers.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const log = pino({ level: 'silent' });

function record(session: string): UsageRecord {
  const { usage } = new UsageSums(() => undefined);
  return {
    session,
    subject: 'alice',
    tenant: null,
    profile: 'default',
    upstream: 'main',
    started_at: '2026-03-01T12:00:00.000Z',
    ended_at: '2026-03-01T12:01:00.000Z',
    minutes: 1,
    input_audio_seconds: 0,
    output_audio_seconds: 0,
    ...usage,
    complete: true,
  };
}

async function start(answer: (post: number) => number | null, options: { maxPending?: number } = {}) {
  const ids: string[] = [];
  const server = createServer((request, response) => {
    ids.push(String(request.headers['webhook-id']));
    const status = answer(ids.length);
    request.resume();
    if (status !== null) response.writeHead(status).end('x'.repeat(100_000));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const outcomes: string[] = [];
  const waiting = new Set<() => void>();
  const delivery = new Delivery(
    { url: `http://127.0.0.1:${port}/`, secret },
    {
      log,
      firstRetryMs: 1,
      ...options,
      counted(outcome) {
        outcomes.push(outcome);
        for (const look of [...waiting]) look();
      },
    },
  );
  onTestFinished(() => delivery.close(0));
  const counted = (count: number) =>
    new Promise<string[]>((resolve) => {
      const look = () => outcomes.length >= count && resolve(outcomes);
      waiting.add(look);
      look();
    });
  return { delivery, ids, outcomes, counted, port };
}

describe('a signature', () => {
  it('is that of the example in the libraries of Standard Webhooks', () => {
    const body = '{"test": 2432232314}';
    const signature = sign(keyOf(secret), 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330, body);
    expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
    expect(keyOf(secret.slice(6))).toEqual(keyOf(secret));
  });
});

describe('the delivery of usage records', () => {
  it('brings every record of many, each under its own id', async () => {
    const { delivery, ids, counted } = await start(() => 200);
    for (let i = 0; i < 50; i++) delivery.send(record(`sess_${i}`));
    expect(await counted(50)).toEqual(Array(50).fill('delivered'));
    expect(new Set(ids).size).toBe(50);
    expect(delivery.pending).toBe(0);
  });

  it('gives a record up after eight attempts', async () => {
    const { delivery, ids, counted } = await start(() => 503);
    delivery.send(record('sess_1'));
    expect(await counted(1)).toEqual(['failed']);
    expect(ids).toEqual(Array(8).fill('usage_sess_1'));
    expect(delivery.pending).toBe(0);
  });

  it('drops what comes when too many wait', async () => {
    const { delivery, outcomes } = await start(() => null, { maxPending: 10 });
    for (let i = 0; i < 25; i++) delivery.send(record(`sess_${i}`));
    expect(outcomes).toEqual(Array(15).fill('dropped'));
    expect(delivery.pending).toBe(10);
    await delivery.close(0);
    expect(outcomes).toEqual(Array(25).fill('dropped'));
    delivery.send(record('late'));
    expect(outcomes).toHaveLength(26);
  });

  it('tries what waits once more when it is closed, and resolves as soon as nothing is left', async () => {
    let isUp = false;
    const { delivery, outcomes, ids } = await start(() => (isUp ? 204 : 500));
    for (let i = 0; i < 5; i++) delivery.send(record(`sess_${i}`));
    await expect.poll(() => ids.length).toBeGreaterThan(5);
    isUp = true;
    const started = performance.now();
    await delivery.close(5000);
    expect(performance.now() - started).toBeLessThan(2000);
    expect(outcomes).toEqual(Array(5).fill('delivered'));
  });

  it('goes through the proxy, which learns nothing but where to', async () => {
    const { ids, port } = await start(() => 200);
    const tunnel = await proxy(port);
    const outcomes: string[] = [];
    const through = new Delivery(
      { url: 'http://hooks.invalid/usage', secret },
      { log, proxy: `http://127.0.0.1:${tunnel.port}`, counted: (outcome) => outcomes.push(outcome) },
    );
    through.send(record('sess_1'));
    await expect.poll(() => outcomes).toEqual(['delivered']);
    expect([ids, tunnel.asked]).toEqual([['usage_sess_1'], ['hooks.invalid:80']]);
    expect(tunnel.heads.join()).not.toContain('webhook-id');
    await through.close(0);
  });

  it('survives a webhook that does not exist', async () => {
    const outcomes: string[] = [];
    const delivery = new Delivery(
      { url: 'http://127.0.0.1:1/', secret },
      { log, firstRetryMs: 1, counted: (outcome) => outcomes.push(outcome) },
    );
    delivery.send(record('sess_1'));
    await expect.poll(() => outcomes).toEqual(['failed']);
    await delivery.close(0);
  });
});

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import type { Emulator } from '../../src/emulator/emulator.js';
import { connect, refused, type TestClient } from '../support/client.js';
import { startIdentity } from '../support/identity.js';
import { metricAt } from '../support/memory.js';
import { relayEnv, serve } from '../support/process.js';
import { jwt, startTestEmulator } from '../support/relay.js';
import { alerts, asSent, board, programAt, recordings, startPrometheus } from './monitoring.js';

const prometheus = programAt('prometheus');
const promtool = programAt('promtool');
const missing = Object.entries({ prometheus, promtool }).filter(([, path]) => path === null);
if (missing.length > 0)
  console.warn(
    `skipped without ${missing.map(([name]) => name).join(' and ')} in PATH; .ci/run shows how to have them`,
  );

/** Expressions that rightly find nothing in a relay at work, and why. */
const empty = new Map([
  ['RelayAbsent', 'there is a relay'],
  ['RelayInternalErrors', 'the relay has no fault that can be provoked'],
  ['RelayCertificateNearExpiry', 'this one speaks no TLS'],
  ['Certificate lifetime', 'likewise'],
  ['Rate limit remaining', 'Azure reports none, and the emulator is like Azure'],
  ['RelayUsageRecordsFailing', 'a record is given up after eight attempts, which take over a minute'],
  ...[
    'RelayStoreDown',
    'RelayStoreSlow',
    'RelayStoreEmptied',
    'RelayOverLimit',
    'Redis',
    'Time of Redis',
    'Redis away',
  ].map((name) => [name, 'only a relay with Redis has these'] as const),
]);

const ends = 'relay_session_ends_total';
const patience = { timeout: 20_000, interval: 100 };
const folder = fileURLToPath(new URL('../../deploy/prometheus/', import.meta.url));

describe.skipIf(promtool === null)('promtool', () => {
  const tool = (...args: string[]) => execFileSync(promtool as string, args, { cwd: folder, stdio: 'pipe' }).toString();

  it('finds nothing wrong with the configuration and the rules', () => {
    expect(tool('check', 'config', 'prometheus.yml')).toContain(`${alerts.length} rules found`);
  });

  it('sees every alert fire when it should and stay quiet when it should', { timeout: 60_000 }, () => {
    expect(tool('test', 'rules', 'alerts.test.yml')).toContain('SUCCESS');
  });
});

describe.skipIf(prometheus === null)('a Prometheus that scrapes a relay under load', () => {
  it('answers every expression of the board and the rules with data', { timeout: 90_000 }, async () => {
    const { ops, recover, strain } = await startStrainedRelay();
    const { query, failedRules } = await startPrometheus(prometheus as string, new URL(ops).host);
    const seen = (expr: string) => vi.waitFor(async () => expect(await query(expr), expr).toEqual([1]), patience);

    await seen('count(rate(relay_entra_token_seconds_count{outcome="failed"}[1m]) > 0) > bool 0');
    await recover();
    // A histogram has a quantile only once its buckets have grown between two scrapes.
    await strain(1);
    await seen('sum(relay_session_ends_total{reason="slow_consumer"}) == bool 1');
    await strain(2);
    await seen('sum(relay_session_ends_total{reason="slow_consumer"}) == bool 2');

    const asked = [
      ...board.panels.flatMap(({ title, targets = [] }) =>
        targets.map(({ expr }) => ({ of: title, expr: asSent(expr) })),
      ),
      ...recordings.flatMap(({ record, expr }) => [record, expr].map((each) => ({ of: record, expr: each }))),
      ...alerts.map(({ alert, expr }) => ({ of: alert, expr: withoutThresholds(expr) })),
    ].filter(({ of }) => !empty.has(of));
    const without = async () => {
      const found = await Promise.all(
        asked.map(async ({ of, expr }) => {
          const values = await query(expr);
          return values.every((value) => Number.isNaN(value)) ? [`${of}: nothing from ${expr}`] : [];
        }),
      );
      return found.flat();
    };
    // The recording rules are evaluated after the scrape they look at.
    await vi.waitFor(async () => expect(await without()).toEqual([]), patience);
    const names = [...alerts.map(({ alert }) => alert), ...board.panels.map(({ title }) => title)];
    expect([...empty.keys()].filter((name) => !names.includes(name))).toEqual([]);
    for (const { expr } of board.annotations.list) await query(expr);
    for (const { expr } of alerts) await query(expr);
    expect(await failedRules()).toEqual([]);
    expect(await query('ALERTS{alertname="RelayInternalErrors"}')).toEqual([]);
  });
});

/** What an alert looks at, whatever the value. */
function withoutThresholds(expr: string): string {
  return expr.replace(/\s+(?:==|<=|>=|<|>)\s+[\d.]+(?: \* 1024)*(?=\s|\)|$)/g, '');
}

/** A webhook that takes everything. */
async function startWebhook(): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/usage`;
}

/** A relay with Entra in a process of its own, and what makes it count everything it can count. */
async function startStrainedRelay() {
  const emulator = await startTestEmulator();
  const identity = await startIdentity();
  onTestFinished(() => identity.close());
  identity.fail('refuses');
  const { ops, url, line } = await serve(
    relayEnv(emulator.url, {
      ...identity.env,
      AZURE_OPENAI_API_KEY: '',
      USAGE_WEBHOOK_URL: await startWebhook(),
      RELAY_CONFIG: fileURLToPath(new URL('strained.yaml', import.meta.url)),
    }),
  );
  await line((text) => text.includes('identity.failed'));
  return {
    ops,
    async recover() {
      identity.fail(null);
      await vi.waitFor(async () => expect((await fetch(`${ops}/readyz`)).status).toBe(200), patience);
    },
    strain: (round: number) => strain(url.replace('http', 'ws'), ops, emulator, round),
  };
}

const doors = {
  ga: '/openai/v1/realtime?model=x',
  preview: '/openai/realtime?api-version=2025-04-01-preview&deployment=x',
};

async function strain(address: string, ops: string, { control }: Emulator, round: number): Promise<void> {
  const tokenOf = (subject: string, profile = 'default') =>
    signToken({ ...jwt, subject: `${subject}-${round}`, profile, ttlSeconds: 600 });
  const join = (subject: string, door: keyof typeof doors = 'ga', profile = 'default') =>
    connect(`${address}${doors[door]}`, { headers: { Authorization: `Bearer ${tokenOf(subject, profile)}` } });
  const open = async (subject: string, door?: keyof typeof doors) => {
    const client = await join(subject, door);
    await client.next('session.created');
    return client;
  };
  const leave = async (client: TestClient) => {
    client.ws.close();
    await client.closed;
  };

  for (const door of ['ga', 'preview'] as const) {
    // The round before ended with an upstream that wants to be left alone for a second.
    const client = await vi.waitFor(() => open('talker', door), patience);
    client.send({ type: 'input_audio_buffer.append', audio: Buffer.alloc(9600).toString('base64') });
    client.send({ type: 'transcription_session.update' });
    client.send({ type: 'response.create' });
    await client.next('response.done');
    await leave(client);
  }
  for (const token of ['nobody', signToken({ ...jwt, subject: 'late', ttlSeconds: -60 })]) {
    await refused(`${address}${doors.ga}`, { headers: { Authorization: `Bearer ${token}` } });
  }

  control.script({ functionCall: { name: 'lookup' } });
  const asking = await open('asking');
  asking.send({ type: 'response.create' });
  for (let response = 0; response < 2; response++) await asking.next('response.done');
  await leave(asking);

  control.script({ status: 'failed', reason: 'server_error' });
  const failed = await open('failed');
  failed.send({ type: 'response.create' });
  await failed.next('response.done');
  await leave(failed);

  const lasting = await join('lasting', 'ga', 'lasting');
  await lasting.next('session.created');
  control.faults.strike('die_mid_response');
  await vi.waitFor(async () => {
    const replaced = { trigger: 'reset', outcome: 'ok' };
    expect(await metricAt(ops, 'relay_replacements_total', replaced)).toBe(round);
  }, patience);
  await leave(lasting);

  const crowd = [];
  for (let place = 0; place < 4; place++) crowd.push(await open('crowd'));
  await refused(`${address}${doors.ga}`, { headers: { Authorization: `Bearer ${tokenOf('one too many')}` } });
  for (const client of crowd) await leave(client);

  const stalled = await open('stalled');
  control.faults.arm('flood');
  stalled.ws.pause();
  stalled.send({ type: 'response.create' });
  // The fault strikes whichever response comes first.
  await vi.waitFor(() => expect(control.faults.list()).toEqual([]));

  for (const fault of ['refuse_403', 'hang', 'reject_update', 'die_mid_response', 'refuse_429'] as const) {
    control.faults.arm(fault, fault === 'refuse_429' ? 2 : 1);
    const client = await join(fault);
    if (fault === 'die_mid_response') client.send({ type: 'response.create' });
    await client.closed;
    control.faults.clear();
  }
  await vi.waitFor(async () => expect(await metricAt(ops, ends, { reason: 'slow_consumer' })).toBe(round), patience);
  stalled.ws.terminate();
}

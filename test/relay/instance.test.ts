import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { version } from '../../src/version.js';
import { metricAt } from '../support/memory.js';
import { relayEnv, serve } from '../support/process.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const patience = { timeout: 10_000, interval: 50 };

const reloads = 'relay_config_reloads_total';

it('tells its build, its limit, and how its changed file was read', async () => {
  const relay = await startTestRelay({ upstream: 'http://127.0.0.1:1', yaml: 'limits: { sessions: 40 }' });
  const becomes = (name: string, labels: Record<string, string>, value: number) =>
    vi.waitFor(async () => expect(await relay.metric(name, labels)).toBe(value), patience);
  expect(await relay.metric('relay_build_info', { version, node: process.versions.node })).toBe(1);
  expect(await relay.metric('relay_sessions_limit')).toBe(40);

  relay.rewrite('limits: { sessions: 60 }');
  relay.relay.reload();
  await becomes(reloads, { outcome: 'reloaded' }, 1);
  expect(await relay.metric('relay_sessions_limit')).toBe(60);
  relay.rewrite('limits: { sessions: many }');
  relay.relay.reload();
  await becomes(reloads, { outcome: 'rejected' }, 1);
  relay.rewrite('limits: { sessions: 60 } ');
  relay.relay.reload();
  await becomes(reloads, { outcome: 'unchanged' }, 1);
  expect(await relay.metric(reloads)).toBe(3);
  expect(await relay.metric('relay_sessions_limit')).toBe(60);
});

it('tells these once for several processes', { timeout: 30_000 }, async () => {
  const emulator = await startTestEmulator();
  const folder = mkdtempSync(join(tmpdir(), 'relay-instance-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'relay.yaml');
  writeFileSync(file, 'limits: { sessions: 40 }');
  const relay = await serve(relayEnv(emulator.url, { RELAY_CONFIG: file, RELAY_WORKERS: '2' }));
  const metric = (name: string, labels: Record<string, string> = {}) => metricAt(relay.ops, name, labels);
  expect(await metric('relay_build_info')).toBe(1);
  expect(await metric('relay_sessions_limit')).toBe(40);
  expect((await fetch(`${relay.ops}/readyz`)).status).toBe(200);
  expect(await metric('relay_ready')).toBe(1);
  writeFileSync(file, 'limits: { sessions: 60 }');
  relay.child.kill('SIGHUP');
  await vi.waitFor(async () => expect(await metric('relay_sessions_limit')).toBe(60), patience);
  expect(await metric(reloads)).toBe(await metric(reloads, { outcome: 'reloaded' }));
  expect(await metric(reloads)).toBe(1);
});

it('is ready as long as nobody has asked for a session upstream, and opens none for being scraped', async () => {
  const relay = await startTestRelay({ upstream: 'http://127.0.0.1:1' });
  await vi.waitFor(async () => expect(await relay.metric('relay_ready')).toBe(1), patience);
  expect(relay.log.filter(({ msg }) => msg === 'upstream.dialed' || msg === 'readiness.failed')).toEqual([]);
  expect((await fetch(`${relay.relay.opsUrl}/readyz`)).status).toBe(503);
  expect(await relay.metric('relay_ready')).toBe(0);
});

it('is not ready while it drains', async () => {
  const relay = await startTestRelay({ upstream: 'http://127.0.0.1:1' });
  await vi.waitFor(async () => expect(await relay.metric('relay_ready')).toBe(1), patience);
  relay.relay.sessions.close();
  expect(await relay.metric('relay_ready')).toBe(0);
});

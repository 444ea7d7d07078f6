import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { connect } from '../support/client.js';
import { relayEnv, serve } from '../support/process.js';
import { startTestEmulator } from '../support/relay.js';

it('visitors of a page have so many sessions, all together and from each address, over two workers', async () => {
  const emulator = await startTestEmulator();
  const folder = mkdtempSync(join(tmpdir(), 'relay-workers-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'relay.yaml');
  const anonymous = '{ origins: ["https://shop.test"], sessions: 5, per_address: 2 }';
  const limits = 'limits: { busy_delay_ms: 0, busy_percent: 0 }';
  writeFileSync(file, `profiles: { shop: { anonymous: ${anonymous} } }\n${limits}\ntrusted_proxies: 1\n`);
  const relay = await serve(relayEnv(emulator.url, { RELAY_CONFIG: file, RELAY_WORKERS: '2' }));

  /** What each of these visitors, by address, is told first. */
  const visit = (addresses: readonly string[]) =>
    Promise.all(
      addresses.map(async (address) => {
        const headers = { 'X-Forwarded-For': address };
        const client = await connect(`${relay.url.replace('http', 'ws')}/realtime`, { origin: page, headers });
        const { type } = await client.next(() => true);
        return type;
      }),
    );
  const open = (types: readonly string[]) => types.filter((type) => type === 'session.created').length;
  const page = 'https://shop.test';

  expect(open(await visit(Array(8).fill('198.51.100.1')))).toBe(2);
  expect(open(await visit(Array.from({ length: 8 }, (_, at) => `198.51.100.${at + 2}`)))).toBe(3);
}, 30_000);

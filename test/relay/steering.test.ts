/** The program of docs/control.md, as it stands there: the official SDK sees and steers a live session. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { textOf } from '../project/tables.js';
import { makeCertificate } from '../support/certificate.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const [, program = ''] = /```js\n((?:(?!```)[\s\S])*method: 'DELETE'[\s\S]*?)```/.exec(textOf('docs/control.md')) ?? [];

it('lists, attaches, answers a tool, says something, takes over and ends, with the official SDK', {
  timeout: 30_000,
}, async () => {
  const { cert, key } = makeCertificate();
  const emulator = await startTestEmulator();
  emulator.control.script({ functionCall: { name: 'order_status', arguments: {} } });
  const test = await startTestRelay({
    upstream: emulator.url,
    env: { RELAY_TLS_CERT: cert, RELAY_TLS_KEY: key },
    yaml: `
profiles:
  default:
    session: { instructions: Keep this to yourself., output_modalities: [text] }
    tools: [{ name: order_status, runs: backend, parameters: { type: object, properties: {} } }]`,
  });
  const user = await test.connect({
    token: test.token({ subject: 'alice' }),
    path: '/v1/realtime?relay_events=on',
    rejectUnauthorized: false,
  });
  await user.next('session.created');
  const claims = { scope: 'relay.sessions.read relay.sessions.write' };
  const folder = mkdtempSync(join(tmpdir(), 'relay-steering-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(folder, 'node_modules'));
  const host = new URL(test.relay.url).host.replace('127.0.0.1', 'localhost');
  const token = JSON.stringify(test.token({ subject: 'desk', claims }));
  const text = program
    .replaceAll('relay.example', host)
    .replace('const sessions', `const token = ${token};\nconst sessions`);
  expect(text).toContain('relay.takeover');
  writeFileSync(join(folder, 'steer.mjs'), `${text}\nprocess.exit(0);\n`);
  await promisify(execFile)(process.execPath, ['--experimental-websocket', join(folder, 'steer.mjs')], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: cert, NODE_NO_WARNINGS: '1' },
    timeout: 25_000,
  });
  expect(await user.closed).toMatchObject({ code: 1008, reason: 'ended_by_backend' });
  const types = user.events.map(({ type }) => type);
  expect(types.filter((type) => type === 'relay.taken_over')).toHaveLength(2);
  expect(types.filter((type) => type === 'response.done').length).toBeGreaterThanOrEqual(2);
  // What the backend says, and what it answers, is upstream, and is not shown.
  const [connection] = emulator.control.received.connections;
  const sent = JSON.stringify(connection?.events);
  for (const words of ['Tell the user when', 'I am Kim', 'arrives']) {
    expect(sent).toContain(words);
    expect(user.raw.join('')).not.toContain(`"text":"${words}`);
  }
  expect(user.raw.join('')).not.toContain('order_status');
});

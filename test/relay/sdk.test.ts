import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { textOf } from '../project/tables.js';
import { makeCertificate } from '../support/certificate.js';
import { connect } from '../support/client.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

const script = fileURLToPath(new URL('../support/sdk.mjs', import.meta.url));
const speech = fileURLToPath(new URL('../../assets/speech/question-order.wav', import.meta.url));

describe('the official openai package over TLS, given only a base URL and a key', () => {
  it.each(['node', 'browser'])('completes a text and an audio turn with its %s class', async (kind) => {
    const certificate = makeCertificate();
    const emulator = await startTestEmulator();
    const { relay, token } = await startTestRelay({
      upstream: emulator.url,
      env: { RELAY_TLS_CERT: certificate.cert, RELAY_TLS_KEY: certificate.key },
    });
    expect(relay.url).toMatch(/^https:/);
    const base = `${relay.url.replace('127.0.0.1', 'localhost')}/v1`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--experimental-websocket', script, kind, base, token(), speech],
      { env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate.cert, NODE_NO_WARNINGS: '1' }, timeout: 14_000 },
    );
    const { session, text, spoken, audioBytes } = JSON.parse(stdout);
    expect(session).toMatchObject({ type: 'realtime', instructions: '', tools: [] });
    expect(text).toMatchObject({ status: 'completed', output: [{ content: [{ type: 'output_text' }] }] });
    expect(spoken).toMatchObject({ output: [{ content: [{ type: 'output_audio' }] }] });
    expect(audioBytes).toBeGreaterThan(48_000);
    expect(emulator.control.received.errors).toBe(0);
  });

  it('is matched by a raw browser-style WebSocket with subprotocols', async () => {
    const emulator = await startTestEmulator();
    const { address, token } = await startTestRelay({ upstream: emulator.url });
    const client = await connect(`${address}/v1/realtime?model=gpt-realtime`, {
      protocols: ['realtime', `openai-insecure-api-key.${token()}`],
    });
    expect(client.ws.protocol).toBe('realtime');
    await client.next('session.created');
    expect(await client.ask('Say hi')).toMatchObject({ status: 'completed' });
  });
});

/** The examples of a page that connect to a relay, as they stand there. */
function examplesOf(path: string): (readonly [path: string, name: string, imports: string, code: string])[] {
  const blocks = [...textOf(path).matchAll(/```js\n([\s\S]*?)```/g)].map(([, block]) => block as string);
  const connecting = blocks.filter((block) => /from 'openai'|new WebSocket\(/.test(block));
  return connecting.map((block) => {
    const lines = block.split('\n');
    const isImport = (line: string) => line.startsWith('import ');
    const rest = lines.filter((line) => !isImport(line)).join('\n');
    const imports = lines.filter(isImport).join('\n');
    const name = /Realtime\w* } from '(.+)'/.exec(imports)?.[1] ?? 'WebSocket';
    return [path, name, imports, rest.replace(/^new WebSocket/m, 'const realtime = new WebSocket')];
  });
}

describe('an example of the documents', () => {
  it.each([...examplesOf('README.md'), ...examplesOf('docs/clients.md')])(
    'of %s with %s starts a session as it stands there',
    async (_path, _name, imports, code) => {
      const certificate = makeCertificate();
      const emulator = await startTestEmulator();
      const test = await startTestRelay({
        upstream: emulator.url,
        env: { RELAY_TLS_CERT: certificate.cert, RELAY_TLS_KEY: certificate.key },
      });
      const host = new URL(test.relay.url).host.replace('127.0.0.1', 'localhost');
      const folder = mkdtempSync(join(tmpdir(), 'relay-examples-'));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      symlinkSync(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(folder, 'node_modules'));
      const example = `${imports}
const token = ${JSON.stringify(test.token())};
const userToken = token;
const headers = { authorization: 'Bearer ' + token };
const minted = await fetch('https://relay.example/v1/realtime/client_secrets', { method: 'POST', headers });
const { value: clientSecret } = await minted.json();
${code}
const heard = (text) => text.includes('session.created') && process.exit(0);
if (realtime instanceof WebSocket) realtime.onmessage = ({ data }) => heard(data);
else realtime.on('event', (event) => heard(event.type)).on('error', (error) => { throw error; });
`;
      writeFileSync(join(folder, 'example.mjs'), example.replaceAll('relay.example', host));
      await promisify(execFile)(process.execPath, ['--experimental-websocket', join(folder, 'example.mjs')], {
        env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate.cert, NODE_NO_WARNINGS: '1' },
        timeout: 14_000,
      });
      expect(emulator.control.received.connections).toHaveLength(1);
    },
  );
});

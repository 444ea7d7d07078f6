import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
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

import { copyFileSync } from 'node:fs';
import { connect as tlsConnect } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

function commonName(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

describe('the TLS listener', () => {
  it('uses a changed certificate without a restart, keeps the old one while the new is broken, and no session notices', async () => {
    const first = makeCertificate({ commonName: 'first' });
    const second = makeCertificate({ commonName: 'second' });
    const emulator = await startTestEmulator();
    const { relay, connect, logged } = await startTestRelay({
      upstream: emulator.url,
      env: { RELAY_TLS_CERT: first.cert, RELAY_TLS_KEY: first.key },
    });
    const client = await connect({ rejectUnauthorized: false });
    await client.next('session.created');
    expect(await commonName(relay.url)).toBe('first');

    copyFileSync(second.cert, first.cert);
    await logged('The changed certificate cannot be used; the one before stays in use.');
    expect(await commonName(relay.url)).toBe('first');
    copyFileSync(second.key, first.key);
    await logged('certificate.reloaded');
    expect(await commonName(relay.url)).toBe('second');
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
  });
});

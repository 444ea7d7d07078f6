import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readCertificate } from '../../src/config/certificate.js';
import { jwk, keySet, outage, rsaKeys, serveKeys } from '../auth/issuer.js';
import { makeCertificate } from '../support/certificate.js';
import { startIdentity } from '../support/identity.js';
import { relayEnv, run } from '../support/process.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';

async function checked(args: string[], env: Record<string, string>): Promise<{ code: number | string; text: string }> {
  const command = run(['check', ...args], env);
  const code = await command.exited;
  return { code, text: command.lines.join('\n') };
}

/** An issuer's address of keys that is gone when the test is over. */
async function keysAt(answer: Parameters<typeof serveKeys>[0]) {
  const endpoint = await serveKeys(answer);
  onTestFinished(endpoint.close);
  return endpoint;
}

describe('a certificate that cannot serve', () => {
  const encrypted = (path: string) =>
    writeFileSync(
      path,
      createPrivateKey(readFileSync(path)).export({
        type: 'pkcs8',
        format: 'pem',
        cipher: 'aes-256-cbc',
        passphrase: 'x',
      }),
    );

  it.each<[string, string, (files: ReturnType<typeof makeCertificate>) => void]>([
    [
      'of another key',
      'RELAY_TLS_CERT, RELAY_TLS_KEY',
      (files) => writeFileSync(files.key, readFileSync(makeCertificate().key)),
    ],
    ['that has expired', 'RELAY_TLS_CERT', (files) => replace(files, [-30, -1])],
    ['that is not valid yet', 'RELAY_TLS_CERT', (files) => replace(files, [1, 30])],
    ['with an encrypted key', 'RELAY_TLS_KEY', (files) => encrypted(files.key)],
    ['that is none', 'RELAY_TLS_CERT', (files) => writeFileSync(files.cert, 'x')],
    [
      'in DER instead of PEM',
      'RELAY_TLS_CERT: is a certificate in DER; convert it to PEM.',
      (files) => writeFileSync(files.cert, new X509Certificate(readFileSync(files.cert)).raw),
    ],
    ['with a key that is none', 'RELAY_TLS_KEY', (files) => writeFileSync(files.key, readFileSync(files.cert))],
  ])('%s is refused by the name of its setting', async (_name, setting, spoil) => {
    const files = makeCertificate();
    spoil(files);
    expect(() => readCertificate(files)).toThrow(
      expect.objectContaining({ problems: [expect.stringContaining(setting)] }),
    );
  });

  function replace(files: ReturnType<typeof makeCertificate>, days: [number, number]): void {
    const other = makeCertificate({ days });
    writeFileSync(files.cert, readFileSync(other.cert));
    writeFileSync(files.key, readFileSync(other.key));
  }

  it.each([
    ['check', '1'],
    ['serve', '1'],
    ['serve', '2'],
  ])('ends %s with %s workers by exit 78', async (command, RELAY_WORKERS) => {
    const { cert, key } = makeCertificate({ days: [-30, -1] });
    const env = { ...relayEnv('http://127.0.0.1:1'), RELAY_TLS_CERT: cert, RELAY_TLS_KEY: key, RELAY_WORKERS };
    const ended = run([command], env);
    expect(await ended.exited).toBe(78);
    expect(ended.lines.join('\n')).toContain('- RELAY_TLS_CERT: has expired');
  });
});

it('a certificate in use tells how long it is good, and a relay without one tells nothing', async () => {
  const emulator = await startTestEmulator();
  const { cert, key } = makeCertificate({ days: [-1, 10] });
  const relay = await startTestRelay({ upstream: emulator.url, env: { RELAY_TLS_CERT: cert, RELAY_TLS_KEY: key } });
  const seconds = await relay.metric('relay_certificate_expiry_seconds');
  expect(seconds).toBeGreaterThan(10 * 86_400 - 60);
  expect(seconds).toBeLessThanOrEqual(10 * 86_400);
  const plain = await startTestRelay({ upstream: emulator.url });
  expect(await plain.relay.metrics.registry.metrics()).not.toMatch(/^relay_certificate_expiry_seconds /m);
});

describe('check --dial', () => {
  it('asks for the key set, and says where it has it', async () => {
    const emulator = await startTestEmulator();
    const keys = await keysAt(keySet(jwk(rsaKeys.publicKey, { kid: 'k' })));
    const env = { ...relayEnv(emulator.url), RELAY_JWT_SECRET: '', RELAY_JWT_JWKS_URI: keys.uri };
    const { code, text } = await checked(['--dial'], env);
    expect(code).toBe(0);
    expect(text).toContain(`has keys at ${keys.uri}`);
    expect(text).toContain(`url ${emulator.url.replace('http', 'ws')}/openai/v1/realtime?model=gpt-realtime`);
    expect(text).toContain('identity API key');
    expect(text).not.toContain('emulator-key');
  });

  it('says of a discovery document which address is meant, and of a key set out of reach that it is', async () => {
    const emulator = await startTestEmulator();
    const document = JSON.stringify({ issuer: 'https://id.test', jwks_uri: 'https://id.test/keys' });
    const discovery = await keysAt((_request, response) => response.end(document));
    const gone = await keysAt(outage);
    for (const [uri, words] of [
      [discovery.uri, /discovery document.*https:\/\/id\.test\/keys/],
      [gone.uri, /answered 503/],
    ] as const) {
      const env = { ...relayEnv(emulator.url), RELAY_JWT_SECRET: '', RELAY_JWT_JWKS_URI: uri };
      const { code, text } = await checked(['--dial'], env);
      expect(code).toBe(1);
      expect(text).toMatch(words);
      expect(text).toContain('RELAY_JWT_JWKS_URI');
    }
  });

  it('says as whom it asked where Entra is used, and never with what', async () => {
    const emulator = await startTestEmulator();
    const identity = await startIdentity();
    onTestFinished(() => identity.close());
    const env = { ...relayEnv(emulator.url), AZURE_OPENAI_API_KEY: '', ...identity.env };
    const { text } = await checked(['--dial'], env);
    expect(text).toContain('identity Microsoft Entra');
    for (const token of identity.tokens) expect(text).not.toContain(token);
  });
});

describe('check --json', () => {
  it('prints one object with settings, warnings and what the dial came to', async () => {
    const emulator = await startTestEmulator();
    const { code, text } = await checked(['--json', '--dial'], { ...relayEnv(emulator.url), RELAY_NONSENSE: 'x' });
    expect(code).toBe(0);
    expect(JSON.parse(text)).toMatchObject({
      ok: true,
      problems: [],
      warnings: expect.arrayContaining(['RELAY_NONSENSE is set but is not a setting of the relay.']),
      settings: { upstreams: [{ name: 'default' }] },
      dial: {
        ok: true,
        issuers: [{ ok: true }],
        upstreams: [{ upstream: 'default', profile: 'default', identity: 'API key', ok: true }],
      },
    });
    expect(text).not.toContain('emulator-key');
  });

  it('prints one object when the configuration cannot be used, and exits 78', async () => {
    const { code, text } = await checked(['--json'], { PORT: 'eighty' });
    expect(code).toBe(78);
    expect(JSON.parse(text)).toMatchObject({
      ok: false,
      problems: expect.arrayContaining([expect.stringContaining('PORT')]),
    });
  });

  it('tells a failed dial, and exits 1', async () => {
    const { code, text } = await checked(['--json', '--dial'], relayEnv('http://127.0.0.1:1'));
    expect(code).toBe(1);
    expect(JSON.parse(text)).toMatchObject({
      ok: false,
      dial: {
        upstreams: [{ ok: false, said: expect.arrayContaining([expect.stringContaining('failed (unreachable)')]) }],
      },
    });
  });
});

it('an address that this machine does not have ends serve with 78, and the setting is named', async () => {
  const served = run(['serve'], { ...relayEnv('http://127.0.0.1:1'), HOST: '192.0.2.1' });
  expect(await served.exited).toBe(78);
  expect(served.lines.join('\n')).toContain('HOST: 192.0.2.1 is no address of this machine');
});

it.each([
  ['where sockets tell no addresses apart', '', true],
  ['no longer with trusted_proxies', '\ntrusted_proxies: 1', false],
])('a page with anonymous visitors is warned of %s', async (_name, more, isWarned) => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'relay.yaml');
  writeFileSync(file, `profiles: { shop: { anonymous: { origins: ["https://shop.test"] } } }${more}`);
  const { code, text } = await checked([], relayEnv('http://127.0.0.1:1', { RELAY_CONFIG: file }));
  expect(code).toBe(0);
  expect(text.includes('warning: profiles.shop.anonymous.per_address')).toBe(isWarned);
});

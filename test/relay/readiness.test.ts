import { describe, expect, it, onTestFinished } from 'vitest';
import type { FaultName } from '../../src/emulator/faults.js';
import { asymmetric, jwk, keySet, outage, rsaKeys, serveKeys, token as tokenOf } from '../auth/issuer.js';
import { jwt, startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

async function readiness({ relay }: TestRelay): Promise<{ status: number; detail: string | null }> {
  const answer = await fetch(`${relay.opsUrl}/readyz`);
  const { detail } = (await answer.json()) as { detail: string | null };
  return { status: answer.status, detail };
}

describe('an instance that was just started', () => {
  it('is ready as soon as one session could be opened, of which it leaves nothing', async () => {
    const emulator = await startTestEmulator();
    const test = await startTestRelay({ upstream: emulator.url });
    expect(await readiness(test)).toEqual({ status: 200, detail: null });
    const [connection] = emulator.control.received.connections;
    expect(connection?.events).toEqual([]);
    await readiness(test);
    expect(emulator.control.received.connections).toHaveLength(1);
    await expect.poll(() => test.metric('relay_sessions_active')).toBe(0);
  });

  it('opens no session that nobody asked for', async () => {
    const emulator = await startTestEmulator();
    const test = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { readiness: off }' });
    expect(await readiness(test)).toEqual({ status: 200, detail: null });
    await startTestRelay({ upstream: emulator.url });
    expect(emulator.control.received.connections).toHaveLength(0);
  });

  it.each([
    ['refuse_401_permission', /missing_role, HTTP 401\. Give the identity/],
    ['refuse_404_deployment', /deployment_not_found, HTTP 404\. Check the deployment/],
  ] as const)('does not go green before an upstream that does %s, and says what to do', async (fault, detail) => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm(fault, 100);
    for (const rule of ['proven', 'lenient']) {
      const test = await startTestRelay({ upstream: emulator.url, yaml: `limits: { readiness: ${rule} }` });
      const { status, detail: said } = await readiness(test);
      expect([status, said]).toEqual([503, expect.stringMatching(detail)]);
      await test.logged('readiness.failed');
    }
    const off = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { readiness: off }' });
    expect((await readiness(off)).status).toBe(200);
  });

  it.each([
    ['proven', 503],
    ['lenient', 200],
  ] as const)('with readiness %s answers %i while Azure itself fails', async (rule, status) => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('refuse_500', 100);
    const test = await startTestRelay({ upstream: emulator.url, yaml: `limits: { readiness: ${rule} }` });
    expect((await readiness(test)).status).toBe(status);
  });

  it.each([
    ['takes connections and begins no session', () => undefined, /timeout/],
    ['hangs up instead of beginning one', (ws: import('ws').WebSocket) => ws.close(4000), /no_session/],
    [
      'begins with an error',
      (ws: import('ws').WebSocket) => ws.send(JSON.stringify(unknownDeployment)),
      /deployment_not_found/,
    ],
    ['talks nonsense', (ws: import('ws').WebSocket) => ws.send('hello'), /no_session/],
  ])('is not ready before an upstream that %s', async (_name, greet, detail) => {
    const upstream = await startUpstream({ greet });
    const test = await startTestRelay({ upstream: upstream.url, yaml: 'limits: { dial_seconds: 0.3 }' });
    const { status, detail: said } = await readiness(test);
    expect([status, said]).toEqual([503, expect.stringMatching(detail)]);
  });

  it('asks again, and is ready once the deployment is there', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('refuse_404_deployment' satisfies FaultName, 1);
    const test = await startTestRelay({ upstream: emulator.url });
    expect((await readiness(test)).status).toBe(503);
    await expect.poll(async () => (await readiness(test)).status, { timeout: 5000 }).toBe(200);
  });

  it('is ready once a session of a user was opened, and stays so whatever upstream does then', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('refuse_404_deployment', 1);
    const test = await startTestRelay({ upstream: emulator.url });
    expect((await readiness(test)).status).toBe(503);
    await (await test.connect()).next('session.created');
    expect((await readiness(test)).status).toBe(200);
    emulator.control.faults.arm('refuse_404_deployment', 100);
    await (await test.connect()).closed;
    expect((await readiness(test)).status).toBe(200);
  });

  it('says what is wrong with the address of the keys', async () => {
    const emulator = await startTestEmulator();
    const endpoint = await serveKeys((_request, response) => {
      response.end('{"issuer":"a","jwks_uri":"https://id.example.com/keys"}');
    });
    onTestFinished(endpoint.close);
    const env = { RELAY_JWT_SECRET: '', RELAY_JWT_JWKS_URI: endpoint.uri };
    const test = await startTestRelay({ upstream: emulator.url, env });
    expect((await readiness(test)).detail).toMatch(/discovery document.*https:\/\/id\.example\.com\/keys/);
  });

  it('is not ready before it has the keys of tokens, and stays ready when they are out of reach later', async () => {
    const emulator = await startTestEmulator();
    const endpoint = await serveKeys(outage);
    onTestFinished(endpoint.close);
    const env = { RELAY_JWT_SECRET: '', RELAY_JWT_JWKS_URI: endpoint.uri };
    const test = await startTestRelay({ upstream: emulator.url, env, yaml: 'limits: { readiness: off }' });
    expect(await readiness(test)).toEqual({
      status: 503,
      detail: expect.stringContaining('no keys to verify tokens yet'),
    });
    endpoint.answer = keySet(jwk(rsaKeys.publicKey, { kid: 'one' }));
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: jwt.issuer, aud: jwt.audience, sub: 'alice', iat: now, exp: now + 600 };
    const token = tokenOf({ alg: 'RS256', typ: 'JWT', kid: 'one' }, claims, asymmetric('RS256', rsaKeys.privateKey));
    await expect.poll(async () => (await readiness(test)).status, { timeout: 12_000, interval: 200 }).toBe(200);
    endpoint.answer = outage;
    await (await test.connect({ token })).next('session.created');
    expect((await readiness(test)).status).toBe(200);
  });

  it('does not wait for the keys of one issuer when it has those of another', async () => {
    const emulator = await startTestEmulator();
    const endpoint = await serveKeys(outage);
    onTestFinished(endpoint.close);
    const yaml = `
auth:
  issuers:
    - { issuer: 'https://one.test', audience: relay, jwks_uri: '${endpoint.uri}' }
    - { issuer: '${jwt.issuer}', audience: ${jwt.audience}, secrets: [${jwt.secret}] }`;
    const env = { RELAY_JWT_SECRET: '', RELAY_JWT_ISSUER: '', RELAY_JWT_AUDIENCE: '' };
    const test = await startTestRelay({ upstream: emulator.url, env, yaml });
    expect(await readiness(test)).toEqual({ status: 200, detail: null });
  });
});

const unknownDeployment = {
  type: 'error',
  event_id: 'event_1',
  error: { type: 'invalid_request_error', code: 'DeploymentNotFound', message: 'The deployment does not exist.' },
};

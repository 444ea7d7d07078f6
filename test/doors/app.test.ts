import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { createApp, createOpsApp } from '../../src/doors/app.js';
import { createAudit } from '../../src/doors/audit.js';
import { SessionRegistry } from '../../src/session/registry.js';
import { createLog } from '../../src/telemetry/log.js';
import { createMetrics } from '../../src/telemetry/metrics.js';
import { admissionServices } from '../support/admission.js';
import { jwt } from '../support/relay.js';

function app(ready = { ready: true, detail: null as string | null }) {
  const registry = new SessionRegistry(10);
  const metrics = createMetrics({ process: false });
  const health = { ready: () => ready };
  const admission = admissionServices({ registry });
  const log = createLog('silent');
  const services = { admission, metrics, log, health, audit: createAudit({ log, metrics }) };
  return { http: createApp(services), ops: createOpsApp(metrics.registry, health), registry };
}

const token = () => signToken({ ...jwt, subject: 'ada', ttlSeconds: 600 });

describe('the public HTTP doors', () => {
  it('report health, and readiness without its reason', async () => {
    const well = app();
    await request(well.http).get('/healthz').expect(200, { status: 'ok' });
    await request(well.http).get('/readyz').expect(200, { status: 'ready' });
    const ill = app({ ready: false, detail: 'eastus: AADSTS700016: no application 0000 in tenant 1111' });
    await request(ill.http).get('/healthz').expect(200, { status: 'ok' });
    await request(ill.http).get('/readyz').expect(503, { status: 'not ready' });
    for (const method of ['head', 'options'] as const) await request(ill.http)[method]('/readyz').expect(503);
  });

  it.each([
    ['GET', '/v1/realtime', 426, 'upgrade_required'],
    ['POST', '/openai/realtime', 426, 'upgrade_required'],
    ['GET', '/v1/realtime/client_secrets', 405, 'method_not_allowed'],
    ['GET', '/metrics', 404, 'not_found'],
    ['GET', '/v1/realtime/../../etc/passwd', 404, 'not_found'],
  ])('say what is wrong with %s %s', async (method, path, status, code) => {
    const { http } = app();
    const response = await request(http)[method.toLowerCase() as 'get'](path).expect(status);
    expect(response.body.error).toMatchObject({ code, message: expect.stringMatching(/\.$/) });
    expect(response.headers['x-powered-by']).toBeUndefined();
  });

  it('say of a wrong path which ones there are', async () => {
    const { http } = app();
    for (const path of ['/realtimes', '/v1/realtme', '/openai/v1']) {
      const { body } = await request(http).get(path).expect(404);
      expect(body.error.message).toContain('connect to /openai/v1/realtime or');
    }
  });

  it('say at the root what this is', async () => {
    const answer = await request(app().http).get('/').expect(200);
    expect(answer.body).toMatchObject({
      name: 'Realtime Relay',
      message: expect.stringContaining('WebSocket'),
      paths: expect.arrayContaining(['/v1/realtime']),
    });
  });

  it.each([
    ['GET', '/v1/realtime', 426],
    ['GET', '/openai/v1/realtime/client_secrets', 405],
    ['POST', '/v1/realtime/nothing', 404],
    ['DELETE', '/nothing', 404],
  ])('let a page of an allowed origin read what is wrong with %s %s', async (method, path, status) => {
    const { http } = app();
    const ask = (what: string) => request(http)[what.toLowerCase() as 'get'](path).set('Origin', 'https://app.test');
    const preflight = await ask('OPTIONS').expect(204);
    const answer = await ask(method).expect(status);
    for (const { headers } of [preflight, answer]) {
      expect(headers['access-control-allow-origin']).toBe('https://app.test');
    }
    const foreign = await request(http).get(path).set('Origin', 'https://evil.test').expect(403);
    expect(foreign.headers['access-control-allow-origin']).toBeUndefined();
  });

  it('let no page ask whether it may withdraw tokens', async () => {
    const answer = await request(app().http).options('/v1/relay/revocations').set('Origin', 'https://app.test');
    expect([answer.status, answer.headers['access-control-allow-origin']]).toEqual([405, undefined]);
  });

  it('mint a client secret that no cache keeps, and never one that outlives the token', async () => {
    const { http } = app();
    const answer = await request(http).post('/v1/realtime/client_secrets').set('api-key', token()).expect(200);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.body.value).toMatch(/^ek_/);
    const short = signToken({ ...jwt, subject: 'ada', ttlSeconds: 20 });
    const limited = await request(http).post('/openai/v1/realtime/client_secrets').set('api-key', short).expect(200);
    expect(limited.body.expires_at - Date.now() / 1000).toBeLessThanOrEqual(20);
    const wish = await request(http)
      .post('/v1/realtime/client_secrets')
      .set('api-key', token())
      .send({ expires_after: { anchor: 'created_at', seconds: 10 } })
      .expect(200);
    expect(wish.body.expires_at - Date.now() / 1000).toBeLessThanOrEqual(10);
  });

  it('mint nothing while the relay drains', async () => {
    const { http, registry } = app();
    registry.close();
    const answer = await request(http).post('/v1/realtime/client_secrets').set('api-key', token()).expect(503);
    expect(answer.body.error).toMatchObject({ code: 'draining', retryable: true });
    expect(answer.headers['retry-after']).toBe('1');
  });
});

describe('the operations listener', () => {
  it('publishes metrics and health and nothing else', async () => {
    const { ops } = app();
    const metrics = await request(ops).get('/metrics').expect(200);
    expect(metrics.text).toContain('relay_sessions_active 0');
    await request(ops).get('/readyz').expect(200, { status: 'ready', detail: null });
    const ill = app({ ready: false, detail: 'eastus: no token yet' });
    await request(ill.ops).get('/readyz').expect(503, { status: 'not ready', detail: 'eastus: no token yet' });
    await request(ops).post('/v1/realtime/client_secrets').expect(404);
  });
});

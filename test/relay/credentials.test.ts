import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { connect as dial, refused } from '../support/client.js';
import { jwt, startTestEmulator, startTestRelay } from '../support/relay.js';

const path = '/v1/realtime?model=x';

describe('where a credential is found', () => {
  it.each([
    ['the Authorization header', (token: string) => ({ headers: { Authorization: `Bearer ${token}` } })],
    ['the api-key header', (token: string) => ({ headers: { 'api-key': token } })],
    ['a subprotocol', (token: string) => ({ protocols: ['realtime', `openai-insecure-api-key.${token}`] })],
    ['a subprotocol with ek_', (token: string) => ({ protocols: ['realtime', `openai-insecure-api-key.ek_${token}`] })],
    ['the query as api-key', (token: string) => ({ query: `&api-key=${token}` })],
    ['the query as Authorization', (token: string) => ({ query: `&Authorization=Bearer%20${token}` })],
  ])('%s', async (_, form) => {
    const emulator = await startTestEmulator();
    const { address, token, log } = await startTestRelay({ upstream: emulator.url, level: 'trace' });
    const credential = token();
    const { query = '', ...options } = form(credential) as { query?: string };
    const client = await dial(`${address}${path}${query}`, options);
    await client.next('session.created');
    const [connection] = emulator.control.received.connections;
    const upstream = JSON.stringify([connection?.url, connection?.headers]);
    expect(upstream).not.toContain(credential);
    expect(JSON.stringify(log)).not.toContain(credential.split('.')[2]);
  });

  it('is not the query when the operator switched that off', async () => {
    const emulator = await startTestEmulator();
    const env = { RELAY_QUERY_CREDENTIALS: 'off' };
    const { address, token } = await startTestRelay({ upstream: emulator.url, env });
    const { status, body } = await refused(`${address}${path}&api-key=${token()}`);
    expect(status).toBe(401);
    expect(body.error.message).toContain('query string');
  });

  it('sends upstream nothing of what the client sent along', async () => {
    const emulator = await startTestEmulator();
    const { connect, token } = await startTestRelay({ upstream: emulator.url });
    const client = await connect({
      path: '/v1/realtime?model=evil%0d%0aX-Bad:1&deployment=other&api-version=9&call_id=rtc_1',
      token: token(),
      headers: { cookie: 'a=b', 'x-ms-user': 'me', 'X-Forwarded-For': '1.2.3.4', 'OpenAI-Organization': 'org' },
    });
    await client.next('session.created');
    const [connection] = emulator.control.received.connections;
    expect(connection?.url).toBe('/openai/v1/realtime?model=gpt-realtime');
    const names = Object.keys(connection?.headers ?? {}).sort();
    expect(names).toEqual([
      'api-key',
      'connection',
      'host',
      'sec-websocket-key',
      'sec-websocket-version',
      'upgrade',
      'user-agent',
      'x-ms-client-request-id',
    ]);
  });
});

describe('a refused handshake', () => {
  it.each([
    ['unauthorized without a credential', 401, 'unauthorized', () => ({})],
    ['unauthorized with a made-up token', 401, 'unauthorized', () => ({ headers: { 'api-key': 'abc' } })],
    [
      'token_expired with one that ran out',
      401,
      'token_expired',
      () => ({ headers: { 'api-key': signToken({ ...jwt, subject: 'a', ttlSeconds: -3600 }) } }),
    ],
    [
      'forbidden with an unknown profile',
      403,
      'forbidden',
      () => ({ headers: { 'api-key': signToken({ ...jwt, subject: 'a', ttlSeconds: 60, profile: 'nope' }) } }),
    ],
    [
      'forbidden from a foreign origin',
      403,
      'forbidden',
      () => ({
        headers: { 'api-key': signToken({ ...jwt, subject: 'a', ttlSeconds: 60 }), origin: 'https://evil.test' },
      }),
    ],
  ])('is HTTP for programs: %s', async (_, status, code, form) => {
    const emulator = await startTestEmulator();
    const env = { RELAY_ALLOWED_ORIGINS: 'https://app.test' };
    const { address, metric } = await startTestRelay({ upstream: emulator.url, env });
    const answer = await refused(`${address}${path}`, form() as object);
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ code, param: null, message: expect.stringMatching(/\.$/) });
    if (status === 401) expect(answer.headers['www-authenticate']).toBe('Bearer');
    expect(emulator.control.received.connectionCount).toBe(0);
    expect(await metric('relay_refusals_total', { reason: code })).toBe(1);
  });

  it('is an error event and a close frame for a page of an allowed origin', async () => {
    const emulator = await startTestEmulator();
    const env = { RELAY_ALLOWED_ORIGINS: 'https://app.test' };
    const { address } = await startTestRelay({ upstream: emulator.url, env });
    const client = await dial(`${address}${path}`, {
      protocols: ['realtime', 'openai-insecure-api-key.abc'],
      headers: { origin: 'https://app.test' },
    });
    const { error } = await client.next('error');
    expect(error).toMatchObject({ code: 'unauthorized', retryable: false });
    expect(await client.closed).toEqual({ code: 1008, reason: 'unauthorized' });
    expect(emulator.control.received.connectionCount).toBe(0);
  });

  it('names the models there are when an alias is unknown', async () => {
    const emulator = await startTestEmulator();
    const yaml = 'profiles: { default: { aliases: [voice, voice-mini] } }';
    const { address, token } = await startTestRelay({ upstream: emulator.url, yaml });
    const { status, body } = await refused(`${address}/v1/realtime?model=gpt-realtime`, {
      headers: { 'api-key': token() },
    });
    expect(status).toBe(403);
    expect(body.error.message).toContain('voice, voice-mini');
  });

  it('is 404 on a path that is no door', async () => {
    const emulator = await startTestEmulator();
    const { address, token } = await startTestRelay({ upstream: emulator.url });
    for (const wrong of ['/', '/realtime/x', '/openai/v1/realtime/translations', '/v1/realtime/x']) {
      const { status, body } = await refused(address + wrong, { headers: { 'api-key': token() } });
      expect(status).toBe(404);
      expect(body.error.code).toBe('not_found');
    }
  });
});

describe('client secrets for browsers', () => {
  const mint = (url: string, init: RequestInit = {}) =>
    fetch(`${url}/v1/realtime/client_secrets`, { method: 'POST', ...init });

  it('start one session, as the user they were minted for', async () => {
    const emulator = await startTestEmulator();
    const yaml = 'profiles: { default: {}, shop: { session: { instructions: sell canary } } }';
    const { relay, address, token, logged } = await startTestRelay({ upstream: emulator.url, yaml });
    for (const prefix of ['/v1', '/openai/v1']) {
      const response = await fetch(`${relay.url}${prefix}/realtime/client_secrets`, {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${token({ subject: 'bob', profile: 'shop' })}`,
          'Content-Type': 'application/json',
        },
        body: JSON.stringify({ session: { type: 'realtime', instructions: 'mine' } }),
      });
      expect(response.status).toBe(200);
      const text = await response.text();
      expect(text).not.toContain('canary');
      const { value, expires_at, session } = JSON.parse(text);
      expect(value).toMatch(/^ek_/);
      expect(expires_at - Date.now() / 1000).toBeCloseTo(60, -1);
      expect(session).toMatchObject({ type: 'realtime', instructions: '', tools: [] });

      const protocols = ['realtime', `openai-insecure-api-key.${value}`];
      const client = await dial(`${address}${path}`, { protocols });
      await client.next('session.created');
      const opened = await logged('session.opened');
      expect(opened).toMatchObject({ subject: 'bob', profile: 'shop' });
      expect((await refused(`${address}${path}`, { protocols })).status).toBe(401);
    }
  });

  it('are won by exactly one of eight that use one at once', async () => {
    const emulator = await startTestEmulator();
    const { relay, address, token } = await startTestRelay({ upstream: emulator.url });
    const response = await mint(relay.url, { headers: { 'api-key': token() } });
    const { value } = (await response.json()) as { value: string };
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => dial(`${address}${path}`, { headers: { 'api-key': value } })),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('are minted for pages of allowed origins only', async () => {
    const emulator = await startTestEmulator();
    const env = { RELAY_ALLOWED_ORIGINS: 'https://app.test' };
    const { relay, token } = await startTestRelay({ upstream: emulator.url, env });
    const headers = { 'api-key': token() };
    const preflight = await mint(relay.url, { method: 'OPTIONS', headers: { origin: 'https://app.test' } });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('https://app.test');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization');
    const good = await mint(relay.url, { headers: { ...headers, origin: 'https://app.test' } });
    expect(good.headers.get('access-control-allow-origin')).toBe('https://app.test');
    expect(good.headers.get('vary')).toContain('Origin');
    for (const origin of [
      'https://evil.test',
      'https://app.test.evil.test',
      'http://app.test',
      'https://app.test:444',
      'null',
    ]) {
      const bad = await mint(relay.url, { headers: { ...headers, origin } });
      expect(bad.status).toBe(403);
      expect(bad.headers.get('access-control-allow-origin')).toBeNull();
    }
  });

  it.each([
    ['no credential', {}, 401],
    ['a body that is not JSON', { body: '{', credential: true }, 400],
    ['a body over 64 KB', { body: `{"a":"${'x'.repeat(70_000)}"}`, credential: true }, 413],
    ['a lifetime that is no number', { body: '{"expires_after":{"seconds":"9"}}', credential: true }, 400],
  ])('are refused with %s', async (_, { body, credential }: { body?: string; credential?: boolean }, status) => {
    const emulator = await startTestEmulator();
    const { relay, token } = await startTestRelay({ upstream: emulator.url });
    const response = await mint(relay.url, {
      headers: credential ? { 'api-key': token() } : {},
      ...(body !== undefined && { body }),
    });
    expect(response.status).toBe(status);
    expect(await response.json()).toHaveProperty('error.message');
  });
});

describe('a secret that is the base64 of the key', () => {
  const secret = Buffer.from(jwt.secret).toString('base64');
  const byBytes = signToken({ ...jwt, subject: 'alice', ttlSeconds: 60 });
  const byText = signToken({ ...jwt, secret, subject: 'alice', ttlSeconds: 60 });

  it('verifies what was signed with the key where the settings say so', async () => {
    const emulator = await startTestEmulator();
    const env = { RELAY_JWT_SECRET: secret, RELAY_JWT_SECRET_ENCODING: 'base64' };
    const { connect } = await startTestRelay({ upstream: emulator.url, env });
    const client = await connect({ token: byBytes });
    await client.next('session.created');
  });

  it.each([
    ['with the bytes, and text is configured', {}, byBytes, /RELAY_JWT_SECRET_ENCODING=base64/],
    ['with the text, and base64 is configured', { RELAY_JWT_SECRET_ENCODING: 'base64' }, byText, /as text/],
  ])('is hinted at in the log, and there alone: signed %s', async (_, more, token, hint) => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, env: { RELAY_JWT_SECRET: secret, ...more } });
    const { status, body } = await refused(`${server.address}${path}`, { headers: { 'api-key': token } });
    expect(status).toBe(401);
    expect(JSON.stringify(body)).not.toMatch(/base64|as text/);
    const line = JSON.stringify(await server.logged('session.refused'));
    expect(line).toMatch(hint);
    expect(line).not.toContain(secret);
  });
});

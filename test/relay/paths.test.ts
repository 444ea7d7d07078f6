import { describe, expect, it } from 'vitest';
import { exchange, handshake } from '../attack/tcp.js';
import { connect, refused } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay, type TestRelayOptions } from '../support/relay.js';

async function started(options: Partial<TestRelayOptions> = {}): Promise<TestRelay> {
  const emulator = await startTestEmulator();
  return startTestRelay({ upstream: emulator.url, ...options });
}

describe('a path in another spelling leads to the same door', () => {
  it.each([
    '//openai/v1/realtime',
    '/openai//v1/realtime?model=x',
    '/openai/v1/realtime/',
    '/openai/v1/realtime//?model=x',
    '///v1/realtime/',
    '//openai/realtime/?api-version=2025-04-01-preview&deployment=x',
  ])('%s', async (path) => {
    const relay = await started();
    const client = await relay.connect({ path });
    expect(await client.next('session.created')).toMatchObject({ type: 'session.created' });
    client.ws.close();
  });

  it.each(['http', 'HTTPS', 'ws'])('a target that is absolute, of %s and the own host', async (scheme) => {
    const relay = await started();
    const headers = { Authorization: `Bearer ${relay.token()}` };
    for (const [target, host] of [
      ['relay.test:8080', 'relay.test:8080'],
      ['Relay.Test', 'relay.test'],
    ]) {
      const text = handshake(`${scheme}://${target}/openai/v1/realtime`, { ...headers, Host: host as string });
      expect((await exchange(relay.address, text)).status).toBe(101);
    }
  });

  it.each(['//v1/realtime/client_secrets', '/v1/realtime/client_secrets/', '//openai/v1//realtime/client_secrets'])(
    '%s, also where it takes POST',
    async (path) => {
      const relay = await started();
      const headers = { authorization: `Bearer ${relay.token()}` };
      const answer = await fetch(relay.relay.url + path, { method: 'POST', headers });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ value: expect.stringMatching(/^ek_/) });
      expect((await fetch(relay.relay.url + path)).status).toBe(405);
    },
  );

  it('a WebSocket door that is asked over plain HTTP says so under either', async () => {
    const relay = await started();
    for (const path of ['/openai/v1/realtime', '//openai/v1/realtime/']) {
      expect((await fetch(relay.relay.url + path)).status).toBe(426);
    }
  });
});

describe('the addresses of the beta hand out client secrets', () => {
  const transcribing = `
profiles:
  default:
    session: { type: transcription, audio: { input: { transcription: { model: gpt-4o-transcribe } } } }`;

  it.each(['/v1/realtime/sessions', '/openai/v1/realtime/sessions', '/openai/realtime/sessions'])(
    '%s, in the shape of a preview session',
    async (path) => {
      const relay = await started();
      const answer = await fetch(relay.relay.url + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${relay.token()}` },
        body: JSON.stringify({ model: 'gpt-4o-realtime-preview', client_secret: { expires_after: { seconds: 5 } } }),
      });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('cache-control')).toBe('no-store');
      const body = (await answer.json()) as { client_secret: { value: string; expires_at: number } };
      expect(body).toMatchObject({
        object: 'realtime.session',
        id: expect.stringMatching(/^sess_/),
        input_audio_format: 'pcm16',
        client_secret: { value: expect.stringMatching(/^ek_rly_/) },
      });
      expect(body).not.toHaveProperty('audio');
      expect(body.client_secret.expires_at - Date.now() / 1000).toBeLessThan(6);
      const client = await connect(`${relay.address}/v1/realtime?model=x`, {
        headers: { authorization: `Bearer ${body.client_secret.value}`, 'openai-beta': 'realtime=v1' },
      });
      await client.next('session.created');
    },
  );

  it.each([
    '/v1/realtime/transcription_sessions',
    '/openai/v1/realtime/transcription_sessions',
    '/openai/realtime/transcription_sessions',
    '/openai/realtimeapi/transcription_sessions',
  ])('%s, for profiles that transcribe', async (path) => {
    const post = (relay: TestRelay) =>
      fetch(relay.relay.url + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${relay.token()}` },
        body: '{}',
      });
    const answer = await post(await started({ yaml: transcribing }));
    expect(answer.status).toBe(200);
    const body = (await answer.json()) as object;
    expect(body).toMatchObject({
      object: 'realtime.transcription_session',
      input_audio_format: 'pcm16',
      client_secret: { value: expect.stringMatching(/^ek_rly_/), expires_at: expect.any(Number) },
    });
    expect(body).not.toHaveProperty('temperature');
    expect((await post(await started())).status).toBe(403);
  });

  it('to nobody without a credential, and to no page of a foreign origin', async () => {
    const relay = await started();
    for (const path of ['/v1/realtime/sessions', '/openai/v1/realtime/transcription_sessions']) {
      expect((await fetch(relay.relay.url + path, { method: 'POST' })).status).toBe(401);
      const headers = { authorization: `Bearer ${relay.token()}`, origin: 'https://evil.test' };
      expect((await fetch(relay.relay.url + path, { method: 'POST', headers })).status).toBe(403);
      expect((await fetch(relay.relay.url + path)).status).toBe(405);
    }
  });
});

it('the address alone says what is there, and no more', async () => {
  const relay = await started();
  const answer = await fetch(`${relay.relay.url}/`);
  expect(answer.status).toBe(200);
  const text = await answer.text();
  expect(JSON.parse(text)).toMatchObject({
    name: 'Realtime Relay',
    paths: expect.arrayContaining(['/v1/realtime']),
  });
  expect(text).not.toMatch(/\d+\.\d+/);
});

describe('pages of origins', () => {
  const from = (relay: TestRelay, origin: string) => ({
    headers: { authorization: `Bearer ${relay.token()}`, origin },
    url: `${relay.address}/openai/v1/realtime`,
  });

  it.each([
    ['tauri://localhost', 'tauri://localhost'],
    ['capacitor://localhost', 'capacitor://localhost'],
    ['https://*.example.com', 'https://shop.example.com'],
    ['https://*.example.com:8443', 'https://a-b.example.com:8443'],
  ])('with %s listed %s may connect', async (listed, origin) => {
    const relay = await started({ env: { RELAY_ALLOWED_ORIGINS: `https://app.test,${listed}` } });
    const { url, headers } = from(relay, origin);
    const client = await connect(url, { headers });
    expect(await client.next('session.created')).toMatchObject({ type: 'session.created' });
    const preflight = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'OPTIONS',
      headers: { origin },
    });
    expect(preflight.headers.get('access-control-allow-origin')).toBe(origin);
  });

  it.each([
    'https://example.com',
    'https://a.b.example.com',
    'https://.example.com',
    'https://*.example.com',
    'https://evilexample.com',
    'https://x.example.com.evil.test',
    'https://evil.test/.example.com',
    'https://evil.test#.example.com',
    'https://evil.test:80.example.com',
    'http://a.example.com',
    'https://a.example.com:8443',
    'tauri://localhost.evil',
    'tauri://localhost:1',
    'http://tauri',
    'null',
  ])('%s may not, and is told its name and the setting', async (origin) => {
    const relay = await started({ env: { RELAY_ALLOWED_ORIGINS: 'https://*.example.com,tauri://localhost' } });
    const { url, headers } = from(relay, origin);
    const { status, body } = await refused(url, { headers });
    expect(status).toBe(403);
    const { message } = (body as { error: { message: string } }).error;
    expect(message).toContain(JSON.stringify(origin));
    expect(message).toContain('RELAY_ALLOWED_ORIGINS');
  });
});

describe('an app token in a cookie', () => {
  const yaml = 'auth: { cookie: rt_token }';
  const env = { RELAY_ALLOWED_ORIGINS: 'https://app.test,https://*.example.com' };
  const door = '/openai/v1/realtime';
  const cookieOf = (relay: TestRelay, more = '') => `a=b; rt_token=${relay.token()}${more}; c="d"`;

  it('lets a page in whose origin is listed literally', async () => {
    const relay = await started({ yaml, env });
    const headers = { cookie: cookieOf(relay), origin: 'https://app.test' };
    const client = await connect(relay.address + door, { headers });
    await client.next('session.created');
    // Looked at last: whoever else says who they are, is that.
    const other = await connect(relay.address + door, {
      headers: { ...headers, cookie: 'rt_token=x.y.z', 'api-key': relay.token({ subject: 'bob' }) },
    });
    await other.next('session.created');
    expect(await relay.logged('session.opened', 2)).toMatchObject({ subject: 'bob' });
  });

  it.each<[string, string, Record<string, string | string[]>]>([
    ['no origin', door, {}],
    ['an origin that a pattern lets in', door, { origin: 'https://shop.example.com' }],
    ['the pattern itself', door, { origin: 'https://*.example.com' }],
    ['two origins', door, { origin: ['https://app.test', 'https://app.test'] }],
    ['a sideband', `${door}?call_id=sess_0123`, { origin: 'https://app.test' }],
    ['an empty call id', `${door}?call_id=`, { origin: 'https://app.test' }],
    ['another name', door, { origin: 'https://app.test', Cookie: 'rt_token2=x; Rt_Token=y' }],
  ])('lets nobody in with %s', async (_name, path, headers) => {
    const relay = await started({ yaml, env });
    const text = handshake(path, { Cookie: cookieOf(relay), ...headers });
    expect([401, 403]).toContain(await statusOf(relay, text));
  });

  it('is not chosen among several', async () => {
    const relay = await started({ yaml, env });
    const text = handshake(door, { Cookie: cookieOf(relay, '; rt_token=other'), origin: 'https://app.test' });
    expect(await statusOf(relay, text)).toBe(401);
  });

  it('counts at no other door', async () => {
    const relay = await started({ yaml, env });
    const headers = { cookie: cookieOf(relay), origin: 'https://app.test' };
    for (const path of ['/v1/realtime/client_secrets', '/v1/realtime/calls', '/v1/relay/revocations']) {
      const answer = await fetch(relay.relay.url + path, { method: 'POST', headers, body: '{}' });
      expect([path, answer.status]).toEqual([path, 401]);
    }
  });

  it('is nothing unless the operator says so', async () => {
    const relay = await started({ env });
    const text = handshake(door, { Cookie: cookieOf(relay), origin: 'https://app.test' });
    expect(await statusOf(relay, text)).toBe(401);
  });

  /** The status of a refusal: a page is told on the open socket, in the first frame after the upgrade. */
  async function statusOf(relay: TestRelay, text: string): Promise<number | null> {
    const { status, text: answer } = await exchange(relay.address, text);
    if (status !== 101) return status;
    return answer.includes('"authentication_error"') ? 401 : answer.includes('"permission_error"') ? 403 : 101;
  }
});

it.each(['Authorization', 'authorization', 'AUTHORIZATION'])(
  'a credential in the query may be called %s',
  async (name) => {
    const relay = await started();
    const path = `/openai/v1/realtime?${name}=${encodeURIComponent(`Bearer ${relay.token()}`)}`;
    const client = await connect(relay.address + path, {});
    expect(await client.next('session.created')).toMatchObject({ type: 'session.created' });
  },
);

import { describe, expect, it } from 'vitest';
import { refused } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const path = '/openai/v1/realtime?model=voice';
const origin = 'https://app.test';
const yaml = 'profiles: { default: { aliases: [voice] } }';

async function start() {
  const emulator = await startTestEmulator();
  const env = { RELAY_ALLOWED_ORIGINS: origin };
  return { emulator, server: await startTestRelay({ upstream: emulator.url, yaml, env }) };
}

interface Case {
  id: string;
  what: string;
  status: number;
  code: number;
  path?: string;
  token(server: TestRelay): string;
}

const cases: Case[] = [
  { id: 'unauthorized', what: 'a token nobody signed', status: 401, code: 1008, token: (s) => `${s.token()}x` },
  { id: 'token_expired', what: 'an old token', status: 401, code: 1008, token: (s) => s.token({ ttlSeconds: -120 }) },
  { id: 'forbidden', what: 'an unknown profile', status: 403, code: 1008, token: (s) => s.token({ profile: 'x' }) },
  {
    id: 'forbidden',
    what: 'an unknown model',
    status: 403,
    code: 1008,
    path: '/openai/v1/realtime?model=other',
    token: (s) => s.token(),
  },
  { id: 'not_found', what: 'a path', status: 404, code: 1008, path: '/realtimes?model=voice', token: (s) => s.token() },
  { id: 'not_found', what: 'no path', status: 404, code: 1008, path: '/', token: () => '' },
  {
    id: 'bad_event',
    what: 'an unknown dialect',
    status: 400,
    code: 1007,
    path: `${path}&dialect=klingon`,
    token: (s) => s.token(),
  },
];

describe('a refused handshake', () => {
  it.each(cases)('$id: $what is answered in HTTP', async ({ id, status, path: asked = path, token }) => {
    const { emulator, server } = await start();
    const headers = { Authorization: `Bearer ${token(server)}` };
    const answer = await refused(`${server.address}${asked}`, { headers });
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ code: id, retryable: false, param: null });
    expect(answer.body.error).not.toHaveProperty('retry_after_ms');
    expect(answer.headers).not.toHaveProperty('retry-after');
    expect(await server.logged('session.refused')).toMatchObject({ level: 'warn', reason: id });
    expect(await server.metric('relay_refusals_total', { reason: id })).toBe(1);
    expect(await server.metric('relay_session_ends_total')).toBe(0);
    expect(emulator.control.received.connectionCount).toBe(0);
  });

  it.each(cases)('$id: $what is told to a page on an open socket', async ({ id, code, path: asked = path, token }) => {
    const { emulator, server } = await start();
    const page = await server.connect({ path: asked, origin, token: token(server) });
    expect(await page.closed).toEqual({ code, reason: id });
    const error = expect.objectContaining({ code: id, retryable: false, event_id: null });
    expect(page.events).toEqual([{ type: 'error', event_id: expect.any(String), error }]);
    expect(await server.metric('relay_refusals_total', { reason: id })).toBe(1);
    expect(emulator.control.received.connectionCount).toBe(0);
  });

  it('forbidden: a page of another origin is answered in HTTP, whatever its token', async () => {
    const { emulator, server } = await start();
    const headers = { Authorization: `Bearer ${server.token()}` };
    const answer = await refused(`${server.address}${path}`, { headers, origin: 'https://evil.test' });
    expect({ status: answer.status, code: answer.body.error.code }).toEqual({ status: 403, code: 'forbidden' });
    expect(emulator.control.received.connectionCount).toBe(0);
  });
});

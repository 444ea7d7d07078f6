import { describe, expect, it } from 'vitest';
import { refused } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const path = '/openai/v1/realtime?model=x';

async function start(yaml: string, env: Record<string, string> = {}) {
  const emulator = await startTestEmulator();
  return { emulator, server: await startTestRelay({ upstream: emulator.url, yaml, env }) };
}

/** What became of so many attempts at once. */
async function outcomes(server: TestRelay, count: number, headers: Record<string, string>): Promise<string[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      try {
        const { status, body } = await refused(`${server.address}${path}`, { headers });
        return `${status} ${body.error.code}`;
      } catch {
        return 'in';
      }
    }),
  );
}

function count(all: readonly string[]): Record<string, number> {
  return Object.fromEntries([...new Set(all)].map((one) => [one, all.filter((other) => other === one).length]));
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

describe('a user who connects without pause', () => {
  it('rate_limited: begins ten sessions, one more each second, and is told how long to wait', async () => {
    const { emulator, server } = await start('profiles: { default: { limits: { sessions_per_user: 1000 } } }');
    const since = performance.now();
    const { in: begun = 0, ...others } = count(await outcomes(server, 40, bearer(server.token())));
    const passed = Math.ceil((performance.now() - since) / 1000);
    expect(others).toEqual({ '429 rate_limited': 40 - begun });
    expect(begun).toBeGreaterThanOrEqual(10);
    expect(begun).toBeLessThanOrEqual(10 + passed);
    const { headers, body } = await refused(`${server.address}${path}`, { headers: bearer(server.token()) });
    expect(body.error).toMatchObject({ code: 'rate_limited', retryable: true });
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(body.error.retry_after_ms).toBeLessThanOrEqual(1200);
    expect(emulator.control.received.connectionCount).toBeLessThanOrEqual(begun);
    // Nobody else notices.
    await (await server.connect({ token: server.token({ subject: 'bob' }) })).next('session.created');
  });

  it('of a page is told on the open socket', async () => {
    const yaml = 'profiles: { default: { limits: { connects_burst: 1 } } }';
    const { server } = await start(yaml, { RELAY_ALLOWED_ORIGINS: 'https://app.test' });
    await (await server.connect()).next('session.created');
    const page = await server.connect({ origin: 'https://app.test' });
    expect(await page.closed).toEqual({ code: 1013, reason: 'rate_limited' });
    expect(page.events).toMatchObject([{ type: 'error', error: { code: 'rate_limited' } }]);
  });

  it('over sessions that end at once dials no more than the rate allows', async () => {
    const { emulator, server } = await start(
      'profiles: { default: { limits: { connects_burst: 3, sessions_per_day: 50 } } }',
    );
    for (let i = 0; i < 20; i++) {
      const client = await server.connect().catch(() => null);
      client?.ws.terminate();
    }
    await expect.poll(() => server.relay.sessions.size).toBe(0);
    expect(emulator.control.received.connectionCount).toBeLessThanOrEqual(5);
  });

  it('with no session left of the day never dials, and after a hundred tries is told to wait', async () => {
    const { emulator, server } = await start(
      'profiles: { default: { limits: { sessions_per_user: 1000, sessions_per_day: 1 } } }',
    );
    await (await server.connect()).next('session.created');
    const all = count(await outcomes(server, 150, bearer(server.token())));
    expect(all['429 quota_exceeded']).toBeGreaterThanOrEqual(99);
    expect(all['429 rate_limited']).toBeGreaterThan(0);
    expect(emulator.control.received.connectionCount).toBe(1);
    // What is said again and again is said a few times, and then counted.
    const lines = () =>
      server.log.filter(({ msg, reason }) => msg === 'session.refused' && reason === 'quota_exceeded');
    expect(lines()).toHaveLength(5);
    expect(lines()[0]).toMatchObject({ subject: 'alice' });
    await server.relay.close();
    expect(lines()).toHaveLength(6);
    expect(lines()[5]).toMatchObject({ subject: 'alice', repeated: (all['429 quota_exceeded'] ?? 0) - 5 });
    expect(lines()[5]).not.toHaveProperty('requestId');
  });

  it('that has a token that ran out is told that, and nothing else, however often', async () => {
    const { server } = await start('profiles: { default: { limits: { connects_burst: 1 } } }');
    const all = await outcomes(server, 50, bearer(server.token({ ttlSeconds: -120 })));
    expect(count(all)).toEqual({ '401 token_expired': 50 });
    await (await server.connect({ token: server.token({ subject: 'bob' }) })).next('session.created');
  });
});

describe('who has no valid credential', () => {
  const strangers = (address: string, rest: Record<string, string> = {}) => ({ 'x-forwarded-for': address, ...rest });
  const yaml = (proxies: number) =>
    `trusted_proxies: ${proxies}\nprofiles: { default: { limits: { connects_per_second: 0.001, connects_burst: 1 } } }`;

  it('rate_limited: is counted by address, and nobody with a valid one is refused for it', async () => {
    const { server } = await start(yaml(0));
    const forged = { ...bearer(`${server.token()}x`), ...strangers('1.2.3.4') };
    expect(count(await outcomes(server, 20, forged))).toEqual({ '401 unauthorized': 10, '429 rate_limited': 10 });
    const { body } = await refused(`${server.address}${path}`, { headers: { ...forged, ...strangers('5.6.7.8') } });
    expect(body.error.message).toMatch(/signature.*Too many such requests come from this address/);
    // None at all is another thing than one that is wrong.
    expect(count(await outcomes(server, 12, {}))).toEqual({ '401 unauthorized': 10, '429 rate_limited': 2 });
    await (await server.connect()).next('session.created');
  });

  it('is counted by the address that our own proxy saw', async () => {
    const { server } = await start(yaml(1));
    expect(count(await outcomes(server, 12, strangers('6.6.6.6, 198.51.100.1')))).toMatchObject({
      '429 rate_limited': 2,
    });
    expect(count(await outcomes(server, 10, strangers('6.6.6.6, 198.51.100.2')))).toEqual({ '401 unauthorized': 10 });
    expect(count(await outcomes(server, 5, strangers('7.7.7.7, 198.51.100.1')))).toEqual({ '429 rate_limited': 5 });
  });

  it('is counted at the doors of plain HTTP, too', async () => {
    const { server } = await start(yaml(0));
    const mint = () => fetch(`${server.relay.url}/v1/realtime/client_secrets`, { method: 'POST' });
    for (let i = 0; i < 10; i++) expect((await mint()).status).toBe(401);
    const answer = await mint();
    expect([answer.status, Number(answer.headers.get('retry-after')) > 0]).toEqual([429, true]);
  });
});

describe('client secrets', () => {
  const mint = (server: TestRelay, subject: string) =>
    fetch(`${server.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: bearer(server.token({ subject })),
    });

  it('rate_limited: are so many for each user that are not used, and are counted', async () => {
    const { server } = await start('profiles: { default: { limits: { client_secrets: 3 } } }');
    for (let i = 0; i < 3; i++) expect((await mint(server, 'alice')).status).toBe(200);
    const refusal = await mint(server, 'alice');
    expect([refusal.status, await refusal.json()]).toMatchObject([
      429,
      { error: { code: 'rate_limited', message: /At most 3 client secrets/, retry_after_ms: 60_000 } },
    ]);
    expect((await mint(server, 'bob')).status).toBe(200);
    expect(await server.metric('relay_client_secrets')).toBe(4);
    // Nobody's session is kept out by them.
    await (await server.connect()).next('session.created');
  });

  it('rate_limited: are minted at a rate', async () => {
    const { server } = await start(
      'profiles: { default: { limits: { client_secrets_per_second: 0.001, client_secrets_burst: 2 } } }',
    );
    for (let i = 0; i < 2; i++) expect((await mint(server, 'alice')).status).toBe(200);
    expect(await (await mint(server, 'alice')).json()).toMatchObject({ error: { code: 'rate_limited' } });
    expect((await mint(server, 'bob')).status).toBe(200);
  });
});

describe('while no upstream accepts sessions', () => {
  it('upstream_unavailable: nobody is let in to learn that, and a client secret stays good', async () => {
    const time = holdTime();
    const { emulator, server } = await start('profiles: { default: {} }', {
      RELAY_ALLOWED_ORIGINS: 'https://app.test',
    });
    const answer = await fetch(`${server.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: bearer(server.token()),
    });
    const { value } = (await answer.json()) as { value: string };
    emulator.control.faults.arm({ fault: 'refuse_429', retryAfterSeconds: 1 });
    await (await server.connect()).closed;
    const { status, headers, body } = await refused(`${server.address}${path}`, { headers: { 'api-key': value } });
    expect([status, body.error.code, Number(headers['retry-after']) > 0]).toEqual([503, 'upstream_unavailable', true]);
    const page = await server.connect({ origin: 'https://app.test' });
    expect(await page.closed).toEqual({ code: 1013, reason: 'upstream_unavailable' });
    const call = await fetch(`${server.relay.url}/v1/realtime/calls`, {
      method: 'POST',
      headers: { 'api-key': value, 'content-type': 'application/sdp' },
      body: 'v=0\r\nm=audio 9 x 0\r\na=fingerprint:x\r\na=ice-ufrag:x\r\n',
    });
    expect(call.status).toBe(503);
    expect(emulator.control.received.connectionCount).toBe(1);
    await time.live(Math.ceil(Number(body.error.retry_after_ms) / 1000));
    await (await server.connect({ token: value })).next('session.created');
  });
});

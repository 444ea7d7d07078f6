import { describe, expect, it } from 'vitest';
import { connect, refused, type TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';

const path = '/openai/v1/realtime?model=x';
const origin = 'https://app.test';

async function start(yaml: string, env: Record<string, string> = {}) {
  const emulator = await startTestEmulator();
  const server = await startTestRelay({ upstream: emulator.url, yaml, env });
  return { emulator, server };
}

async function open(server: TestRelay, claims: Parameters<TestRelay['token']>[0] = {}): Promise<TestClient> {
  const client = await server.connect({ token: server.token(claims) });
  await client.next('session.created');
  return client;
}

function refusal(server: TestRelay, claims: Parameters<TestRelay['token']>[0] = {}) {
  return refused(`${server.address}${path}`, { headers: { Authorization: `Bearer ${server.token(claims)}` } });
}

/** The codes and the event ids of the `error` events so far. */
function refusals(client: TestClient): unknown[] {
  const errors = client.events.filter(({ type }) => type === 'error');
  return errors.map(({ error }) => [(error as { code: string }).code, (error as { event_id: unknown }).event_id]);
}

function append(seconds: number, id: string): object {
  return { type: 'input_audio_buffer.append', event_id: id, audio: Buffer.alloc(seconds * 48_000).toString('base64') };
}

describe('how many sessions there may be', () => {
  it('rate_limited: a user has no more than sessions_per_user, and gets a place back when one ends', async () => {
    const { emulator, server } = await start('profiles: { default: { limits: { sessions_per_user: 2 } } }');
    const first = await open(server);
    await open(server);
    const { status, headers, body } = await refusal(server);
    expect(status).toBe(429);
    expect(headers['retry-after']).toBe('5');
    expect(body.error).toMatchObject({ code: 'rate_limited', retryable: true, retry_after_ms: 5000 });
    expect(await server.logged('session.refused')).toMatchObject({ level: 'warn', reason: 'rate_limited' });
    expect(await server.metric('relay_refusals_total', { reason: 'rate_limited' })).toBe(1);
    expect(emulator.control.received.connectionCount).toBe(2);

    await open(server, { subject: 'bob' });
    await open(server, { tenant: 'another' });
    first.ws.close();
    await server.logged('session.ended');
    await open(server);
    expect((await refusal(server)).status).toBe(429);
  });

  it('rate_limited: of many handshakes at once exactly as many are let in as there are places', async () => {
    const { emulator, server } = await start('profiles: { default: { limits: { sessions_per_user: 3 } } }');
    const headers = { Authorization: `Bearer ${server.token()}` };
    const tries = Array.from({ length: 12 }, () => connect(`${server.address}${path}`, { headers }));
    const settled = await Promise.allSettled(tries);
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(server.relay.sessions.size).toBe(3);
    await emulator.control.received.waitFor((received) => received.events('session.update').length === 3);
    expect(emulator.control.received.connectionCount).toBe(3);
  });

  it('overloaded: an instance has no more than limits.sessions, and gives places back', async () => {
    const { emulator, server } = await start('limits: { sessions: 2 }');
    const first = await open(server, { subject: 'a' });
    await open(server, { subject: 'b' });
    const { status, headers, body } = await refusal(server, { subject: 'c' });
    expect(status).toBe(503);
    expect(headers['retry-after']).toBe('2');
    expect(body.error).toMatchObject({ code: 'overloaded', retryable: true, retry_after_ms: 2000 });
    expect(await server.logged('session.refused')).toMatchObject({ reason: 'overloaded' });
    expect(await server.metric('relay_refusals_total', { reason: 'overloaded' })).toBe(1);
    expect(emulator.control.received.connectionCount).toBe(2);
    first.ws.terminate();
    await server.logged('session.ended');
    await open(server, { subject: 'c' });
  });

  it('keeps no place for handshakes that were refused or whose upstream failed', async () => {
    const { emulator, server } = await start(
      'limits: { sessions: 1 }\nprofiles: { default: { limits: { sessions_per_user: 1 } } }',
    );
    for (let i = 1; i <= 3; i++) {
      expect((await refusal(server, { profile: 'none' })).status).toBe(403);
      emulator.control.faults.arm('refuse_403');
      await (await server.connect()).closed;
      await server.logged('session.ended', i);
    }
    const client = await open(server);
    expect((await refusal(server)).status).toBe(503);
    client.ws.close();
    await server.logged('session.ended', 4);
    await open(server);
  });

  it('keeps no place of the instance for a user who has none left', async () => {
    const { server } = await start(
      'limits: { sessions: 2 }\nprofiles: { default: { limits: { sessions_per_user: 1 } } }',
    );
    await open(server);
    for (let i = 0; i < 3; i++) expect((await refusal(server)).status).toBe(429);
    await open(server, { subject: 'bob' });
  });

  it.each([
    ['rate_limited', 1013, 'profiles: { default: { limits: { sessions_per_user: 1 } } }', 5000],
    ['overloaded', 1013, 'limits: { sessions: 1 }', 2000],
  ])('%s: a page learns it on an open socket', async (id, code, yaml, wait) => {
    const { emulator, server } = await start(yaml, { RELAY_ALLOWED_ORIGINS: origin });
    await open(server);
    const page = await server.connect({ origin });
    expect(await page.closed).toEqual({ code, reason: id });
    const error = { code: id, retryable: true, retry_after_ms: wait, event_id: null };
    expect(page.events).toEqual([
      { type: 'error', event_id: expect.any(String), error: expect.objectContaining(error) },
    ]);
    expect(emulator.control.received.connectionCount).toBe(1);
    expect(await server.metric('relay_refusals_total', { reason: id })).toBe(1);
    expect(await server.metric('relay_session_ends_total')).toBe(0);
  });
});

describe('how much one session may send', () => {
  it('refuses events over the rate, forwards the others, and goes on', async () => {
    const limits = '{ events_burst: 4, events_per_second: 0.001 }';
    const { emulator, server } = await start(`profiles: { default: { limits: ${limits} } }`);
    const client = await open(server);
    for (let i = 0; i < 6; i++) client.send({ type: 'input_audio_buffer.clear', event_id: `e${i}` });
    await client.next(({ type, error }) => type === 'error' && (error as { event_id: string }).event_id === 'e5');
    expect(refusals(client)).toEqual([
      ['rate_limited', 'e4'],
      ['rate_limited', 'e5'],
    ]);
    await emulator.control.received.waitFor((r) => r.events('input_audio_buffer.clear').length === 4);
    expect(server.relay.sessions.size).toBe(1);
  });

  it('rate_limited: a session ends that goes on sending too much', async () => {
    const limits = '{ events_burst: 1, events_per_second: 0.001, refusals: 5 }';
    const { emulator, server } = await start(`profiles: { default: { limits: ${limits} } }`);
    const client = await open(server);
    for (let i = 0; i < 20; i++) client.send({ type: 'input_audio_buffer.clear' });
    expect(await endOf(server, client)).toEqual(end('rate_limited', 1013, 'client', { retryable: true }));
    expect(client.types()).toEqual(['session.created', ...Array(6).fill('error')]);
    expect(emulator.control.received.events('input_audio_buffer.clear')).toHaveLength(1);
  });

  it('refuses audio that comes faster than real time allows', async () => {
    const limits = '{ audio_burst_seconds: 3, audio_realtime_factor: 0.001 }';
    const { emulator, server } = await start(`profiles: { default: { limits: ${limits} } }`);
    const client = await open(server);
    for (let i = 0; i < 5; i++) client.send(append(1, `a${i}`));
    client.send({ type: 'input_audio_buffer.clear' });
    await client.next('input_audio_buffer.cleared');
    expect(refusals(client)).toEqual([
      ['rate_limited', null],
      ['rate_limited', null],
    ]);
    expect(emulator.control.received.connections[0]?.audioBytes).toBe(3 * 48_000);
  });

  it('counts audio that had to be parsed like any other', async () => {
    const limits = '{ audio_burst_seconds: 1.5, audio_realtime_factor: 0.001 }';
    const { emulator, server } = await start(`profiles: { default: { limits: ${limits} } }`);
    const client = await open(server);
    const escaped = JSON.stringify(append(1, 'x')).replace('"audio"', '"\\u0061udio"');
    client.ws.send(escaped);
    client.ws.send(escaped);
    await client.next('error');
    expect(refusals(client)).toEqual([['rate_limited', 'x']]);
    expect(emulator.control.received.connections[0]?.audioBytes).toBe(48_000);
  });

  it('refuses more responses than the rate', async () => {
    const limits = '{ responses_burst: 2, responses_per_second: 0.001 }';
    const { emulator, server } = await start(`profiles: { default: { limits: ${limits} } }`);
    const client = await open(server);
    expect(await client.ask('one')).toMatchObject({ status: 'completed' });
    expect(await client.ask('two')).toMatchObject({ status: 'completed' });
    client.send({ type: 'response.create', event_id: 'third' });
    await client.next('error');
    expect(refusals(client)).toEqual([['rate_limited', 'third']]);
    expect(emulator.control.received.events('response.create')).toHaveLength(2);
  });

  it('bad_event: the refusals of a session have a budget of fifty', async () => {
    const { server } = await start('');
    const client = await open(server);
    for (let i = 0; i < 49; i++) client.send({ type: 'unknown' });
    expect(await client.ask('still open?')).toMatchObject({ status: 'completed' });
    client.send({ type: 'unknown' });
    expect(await endOf(server, client)).toEqual(end('bad_event', 1007, 'client', { retryable: false }));
    expect(await server.logged('session.ended')).toMatchObject({ refusals: 50 });
  });
});

describe('relay.session_expiring', () => {
  const limits = 'profiles: { default: { limits: { session_seconds: 1200, idle_seconds: 3000 } } }';

  it.each([
    ['on', ['relay.session_expiring']],
    ['off', []],
    ['', []],
  ])('comes once, sixty seconds before the end, with ?relay_events=%s', async (wish, expected) => {
    const { pass } = holdTime();
    const { server } = await start(limits);
    const client = await server.connect({
      path: `${path}&relay_events=${wish}`,
      token: server.token({ ttlSeconds: 3600 }),
    });
    const { session } = await client.next('session.created');
    await pass(1130);
    expect(await client.ask('before')).toMatchObject({ status: 'completed' });
    expect(client.types()).not.toContain('relay.session_expiring');
    await pass(15);
    await pass(5);
    expect(await client.ask('after')).toMatchObject({ status: 'completed' });
    const own = client.events.filter(({ type }) => type.startsWith('relay.'));
    expect(own.map(({ type }) => type)).toEqual(expected);
    for (const event of own) {
      const { expires_at } = session as { expires_at: number };
      expect(event).toEqual({ type: event.type, event_id: expect.any(String), expires_at, reason: 'session_expired' });
    }
    await pass(60);
    expect(await endOf(server, client)).toEqual(end('session_expired', 1001, 'relay', { retryable: true }));
  });
});

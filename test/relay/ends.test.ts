import { afterEach, describe, expect, it, vi } from 'vitest';
import { refused } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { startTestEmulator, startTestRelay, type TestRelayOptions } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

/** An emulator, a relay before it and a client with an open session. */
async function openSession(options: Partial<TestRelayOptions> = {}, path = '/openai/v1/realtime?model=x') {
  const emulator = await startTestEmulator();
  const server = await startTestRelay({ upstream: emulator.url, ...options });
  const client = await server.connect({ path, token: server.token({ ttlSeconds: 3600 }) });
  await client.next('session.created');
  return { emulator, server, client };
}

/** No pings: the clock of these tests is faster than a pong. */
const idle = 'profiles: { default: { limits: { idle_seconds: 300 } } }\nlimits: { ping_seconds: 3600 }';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('how an open session ends', () => {
  it('normal: the client says goodbye', async () => {
    const { emulator, server, client } = await openSession();
    client.ws.close(1000, 'bye');
    expect(await endOf(server, client)).toEqual({ ...end('normal', 1000, 'client'), reason: 'bye' });
    const upstream = await emulator.control.received.waitFor(({ connections }) => connections[0]?.closed);
    expect(upstream).toEqual({ code: 1000, reason: '' });
  });

  it('normal: the upstream says goodbye', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    await client.next('session.created');
    (await upstream.connected()).ws.close(1000, 'secret of the upstream');
    expect(await endOf(server, client)).toEqual(end('normal', 1000, 'upstream'));
    expect(client.types()).toEqual(['session.created']);
  });

  it('idle_timeout: nothing was said for the idle limit', async () => {
    const time = holdTime();
    const { server, client } = await openSession({ yaml: idle });
    await time.pass(0);
    await time.pass(290);
    expect(server.relay.sessions.size).toBe(1);
    await time.pass(20);
    expect(await endOf(server, client)).toEqual(end('idle_timeout', 1000, 'relay'));
    expect(client.types()).toEqual(['session.created']);
  });

  it('idle_timeout: comes later for a client that speaks', async () => {
    const time = holdTime();
    const { server, client } = await openSession({ yaml: idle });
    await time.pass(0);
    await time.pass(290);
    expect(await client.ask('still here')).toMatchObject({ status: 'completed' });
    await time.pass(290);
    expect(server.relay.sessions.size).toBe(1);
    await time.pass(310);
    expect(await endOf(server, client)).toEqual(end('idle_timeout', 1000, 'relay'));
  });

  it('session_expired: the profile allows no longer session', async () => {
    const time = holdTime();
    const yaml = 'profiles: { default: { limits: { session_seconds: 1200, idle_seconds: 3000 } } }';
    const { server, client } = await openSession({ yaml });
    await time.pass(1190);
    expect(server.relay.sessions.size).toBe(1);
    await time.pass(10);
    expect(await endOf(server, client)).toEqual(end('session_expired', 1001, 'relay', { retryable: true }));
  });

  it('session_expired: thirty seconds before the upstream would cut it', async () => {
    const time = holdTime();
    const yaml = 'profiles: { default: { limits: { idle_seconds: 3600 } } }';
    const { server, client } = await openSession({ yaml });
    await time.pass(3560);
    expect(server.relay.sessions.size).toBe(1);
    await time.pass(11);
    expect(await endOf(server, client)).toEqual(end('session_expired', 1001, 'relay', { retryable: true }));
  });

  it('session_expired: the upstream says so', async () => {
    const { emulator, server, client } = await openSession();
    emulator.control.faults.strike({ fault: 'expire_early', delayMs: 0 });
    expect(await endOf(server, client)).toEqual(end('session_expired', 1001, 'upstream', { retryable: true }));
    expect(client.types()).toEqual(['session.created', 'error']);
  });

  it('token_expired: the token runs out while the session is open', async () => {
    const time = holdTime();
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    const token = server.token({ ttlSeconds: 60 });
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
    const client = await server.connect({ token });
    await client.next('session.created');
    while (server.relay.sessions.size > 0) await time.live(1);
    expect(await endOf(server, client)).toEqual(end('token_expired', 1008, 'relay', { retryable: false }));
    expect(Date.now() / 1000).toBeGreaterThanOrEqual(exp);
    expect(Date.now() / 1000).toBeLessThan(exp + 2);
  });

  it('token_expired: the token runs out while the upstream makes the client wait', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('ignore_update');
    const time = holdTime();
    const server = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { configure_seconds: 60 }' });
    const client = await server.connect({ token: server.token({ ttlSeconds: 20 }) });
    await emulator.control.received.waitFor(({ openCount }) => openCount === 1);
    await time.live(21);
    expect(await endOf(server, client)).toEqual(end('token_expired', 1008, 'relay', { retryable: false }));
    expect(client.types()).toEqual(['error']);
  });

  it('draining: at once when no answer is running', async () => {
    const { emulator, server, client } = await openSession();
    const drained = server.relay.drain();
    expect(await endOf(server, client)).toEqual(end('draining', 1012, 'relay'));
    expect(client.types()).toEqual(['session.created']);
    await drained;
    await emulator.control.received.waitFor(({ openCount }) => openCount === 0);
  });

  it('draining: after the running answer', async () => {
    const { emulator, server, client } = await openSession();
    emulator.control.faults.arm({ fault: 'slow', delayMs: 300 });
    client.send({ type: 'response.create' });
    await client.next('response.created');
    const drained = server.relay.drain();
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    expect(await endOf(server, client)).toEqual(end('draining', 1012, 'relay'));
    await drained;
  });

  it('draining: when the answer takes longer than the limit', async () => {
    const { emulator, server, client } = await openSession({ yaml: 'limits: { drain_seconds: 0.2 }' });
    emulator.control.faults.arm('mute');
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create')[0]);
    const drained = server.relay.drain();
    expect(await endOf(server, client)).toEqual(end('draining', 1012, 'relay'));
    await drained;
  });

  it('draining: a client that comes too late is refused', async () => {
    const { emulator, server } = await openSession();
    server.relay.sessions.close();
    const { status, headers, body } = await refused(`${server.address}/openai/v1/realtime?model=x`, {
      headers: { Authorization: `Bearer ${server.token()}` },
    });
    expect({ status, wait: headers['retry-after'], code: body.error.code }).toEqual({
      status: 503,
      wait: '1',
      code: 'draining',
    });
    expect(emulator.control.received.connectionCount).toBe(1);
  });

  it('unsupported_data: a binary frame', async () => {
    const { emulator, server, client } = await openSession();
    client.ws.send(Buffer.from('{"type":"response.create"}'), { binary: true });
    expect(await endOf(server, client)).toEqual(end('unsupported_data', 1003, 'client', { retryable: false }));
    expect(emulator.control.received.events('response.create')).toEqual([]);
  });

  it.each([
    ['text that is not JSON', 'hello'],
    ['an empty text', ''],
    ['a JSON array', '[{"type":"response.create"}]'],
  ])('bad_event: %s', async (_, text) => {
    const { emulator, server, client } = await openSession();
    client.ws.send(text);
    expect(await endOf(server, client)).toEqual(end('bad_event', 1007, 'client', { retryable: false }));
    expect(emulator.control.received.events('response.create')).toEqual([]);
  });

  it.each([
    ['a key that is there twice', '{"type":"input_audio_buffer.clear","type":"response.create"}'],
    ['half an emoji in a text', '{"type":"response.create","response":{"instructions":"\\ud83d"}}'],
    ['too many levels', `{"type":"response.create","response":${'{"a":'.repeat(20)}1${'}'.repeat(20)}}`],
    ['a number out of range', '{"type":"response.create","response":{"temperature":1e999}}'],
    ['a key that is never allowed', '{"type":"response.create","__proto__":{}}'],
  ])('goes on after an event with %s, of which nothing goes upstream', async (_, text) => {
    const { emulator, server, client } = await openSession();
    client.ws.send(text);
    expect((await client.next('error')).error).toMatchObject({ type: 'invalid_request_error', code: 'bad_event' });
    expect(emulator.control.received.events('response.create')).toEqual([]);
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
    expect(server.relay.sessions.size).toBe(1);
  });

  it('bad_event: too many refused events', async () => {
    const { emulator, server, client } = await openSession({
      yaml: 'profiles: { default: { limits: { refusals: 3 } } }',
    });
    for (let i = 0; i < 5; i++) client.send({ type: 'no.such.event', event_id: `mine_${i}` });
    expect(await endOf(server, client)).toEqual(end('bad_event', 1007, 'client', { retryable: false }));
    const refusals = client.events.slice(1, -1).map(({ error }) => error as Record<string, unknown>);
    expect(refusals.map(({ code, event_id }) => [code, event_id])).toEqual([
      ['event_not_allowed', 'mine_0'],
      ['event_not_allowed', 'mine_1'],
      ['event_not_allowed', 'mine_2'],
    ]);
    expect(emulator.control.received.events().map(({ type }) => type)).toEqual(['session.update']);
  });

  it('too_big: an event over the size limit', async () => {
    const { server, client } = await openSession({ yaml: 'profiles: { default: { limits: { event_bytes: 2000 } } }' });
    client.send({ type: 'input_audio_buffer.append', audio: 'A'.repeat(2000) });
    expect(await endOf(server, client)).toEqual(end('too_big', 1009, 'client', { retryable: false }));
  });

  it('slow_consumer: the client stopped reading', async () => {
    const time = holdTime();
    const { emulator, server, client } = await openSession({
      yaml: 'limits: { stall_seconds: 20, silence_seconds: 600 }',
    });
    emulator.control.faults.arm('flood');
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    client.ws.pause();
    while (server.relay.sessions.size > 0) await time.live(1);
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'slow_consumer', initiator: 'client' });
    client.ws.resume();
    expect(await endOf(server, client)).toEqual(end('slow_consumer', 1013, 'client', { retryable: true }));
    expect(client.raw.length).toBeGreaterThan(1);
  });

  it('internal: a fault in the relay, of which the client learns nothing', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    vi.spyOn(server.relay.metrics, 'sessionReady').mockImplementation(() => {
      throw new TypeError('a secret of the relay');
    });
    const client = await server.connect();
    expect(await endOf(server, client)).toEqual(end('internal', 1011, 'relay', { retryable: true }));
    expect(client.raw.join()).not.toContain('secret');
    expect(await server.logged('session.ended')).toMatchObject({
      level: 'error',
      error: { message: 'a secret of the relay' },
    });
  });
});

describe('an upstream that comes to nothing', () => {
  it('upstream_unavailable: it asks to be left alone', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm({ fault: 'refuse_429', retryAfterSeconds: 7 });
    const server = await startTestRelay({ upstream: emulator.url });
    const first = await server.connect();
    const announced = { retryable: true, retry_after_ms: 7000 };
    expect(await endOf(server, first)).toEqual(end('upstream_unavailable', 1013, 'upstream', announced));

    // From now on nobody is let in to learn that, and everybody comes back a little later than the one before.
    const headers = { 'api-key': server.token() };
    const second = await refused(`${server.address}/v1/realtime`, { headers });
    expect([second.status, second.body.error.code]).toEqual([503, 'upstream_unavailable']);
    expect(second.body.error.retry_after_ms).toBeGreaterThan(6000);
    expect(second.body.error.retry_after_ms).toBeLessThanOrEqual(7000 * 1.2);
    expect(emulator.control.received.connectionCount).toBe(1);
  });

  it('upstream_failed: it refuses', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('refuse_401');
    const server = await startTestRelay({ upstream: emulator.url });
    const client = await server.connect();
    expect(await endOf(server, client)).toEqual(end('upstream_failed', 1011, 'upstream', { retryable: true }));
  });

  it('upstream_lost: its connection dies', async () => {
    const { emulator, server, client } = await openSession();
    emulator.control.faults.strike('die_mid_response');
    expect(await endOf(server, client)).toEqual(end('upstream_lost', 1011, 'upstream', { retryable: true }));
  });

  it('upstream_lost: it says goodbye before there is a session', async () => {
    const upstream = await startUpstream({ greet: (ws) => ws.close(1000) });
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    expect(await endOf(server, client)).toEqual(end('upstream_lost', 1011, 'upstream', { retryable: true }));
  });

  it('upstream_timeout: it does not answer the dial', async () => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm('hang', 2);
    const server = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { dial_seconds: 0.2 }' });
    const client = await server.connect();
    expect(await endOf(server, client)).toEqual(end('upstream_timeout', 1011, 'upstream', { retryable: true }));
  });

  it.each(['silent', 'ignore_update', 'reject_update'] as const)('upstream_configuration_failed: %s', async (fault) => {
    const emulator = await startTestEmulator();
    emulator.control.faults.arm(fault);
    const server = await startTestRelay({ upstream: emulator.url, yaml: 'limits: { configure_seconds: 0.2 }' });
    const client = await server.connect();
    const announced = { retryable: true };
    expect(await endOf(server, client)).toEqual(end('upstream_configuration_failed', 1011, 'upstream', announced));
  });
});

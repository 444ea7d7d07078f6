import { describe, expect, it, vi } from 'vitest';
import { connect, refused, type TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { closing, connectRaw, frame, opcode } from '../support/raw.js';
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

function say(text: string): object {
  return {
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
  };
}

function wordsOf(item: unknown): unknown {
  return (item as { content: { text: string }[] }).content[0]?.text;
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
  it('passes on what comes faster than the rate, all of it, in order and later', async () => {
    const { emulator, server } = await start(
      'profiles: { default: { limits: { events_burst: 4, events_per_second: 40 } } }',
    );
    const client = await open(server);
    const began = performance.now();
    for (let i = 0; i < 16; i++) client.send(say(String(i)));
    const said = await emulator.control.received.waitFor((received) => {
      const items = received.events('conversation.item.create');
      return items.length === 16 ? items : undefined;
    });
    expect(performance.now() - began).toBeGreaterThan(250);
    expect(said.map(({ body }) => wordsOf(body.item))).toEqual(Array.from({ length: 16 }, (_, i) => String(i)));
    expect(refusals(client)).toEqual([]);
    expect(await server.metric('relay_held_seconds_total', { why: 'rate' })).toBeGreaterThan(0.1);
  });

  it('passes nothing on while a rate is used up, not even what came in the same piece', async () => {
    const { emulator, server } = await start(
      'profiles: { default: { limits: { events_burst: 2, events_per_second: 0.001 } } }',
    );
    const client = await connectRaw(server.address, server.token());
    await client.event('session.created');
    const clear = JSON.stringify({ type: 'input_audio_buffer.clear' });
    client.write(Buffer.concat(Array(50).fill(frame(opcode.text, clear))), frame(opcode.ping, 'there?'));
    await client.frame((one) => one.opcode === opcode.pong && one.payload.toString() === 'there?');
    await emulator.control.received.waitFor((r) => r.events('input_audio_buffer.clear').length === 2);
    const [session] = [...server.relay.sessions];
    expect(session?.buffered.up).toBeGreaterThan(47 * clear.length);
    expect(client.events.map(({ type }) => type)).not.toContain('error');
    client.write(frame(opcode.close, closing(1000)));
    expect(await client.closed).toMatchObject({ code: 1000 });
    // What was accepted before the goodbye is not lost.
    await emulator.control.received.waitFor((r) => r.events('input_audio_buffer.clear').length === 50);
    expect(await server.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client', eventsUp: 50 });
  });

  it('passes on a file that is sent at once, at the pace of the profile, before what follows it', async () => {
    const limits = '{ audio_burst_seconds: 1, audio_realtime_factor: 20 }';
    const { emulator, server } = await start(`profiles: { default: { limits: ${limits} } }`);
    const client = await open(server);
    const began = performance.now();
    for (let i = 0; i < 100; i++) client.send(append(0.1, `a${i}`));
    client.send({ type: 'input_audio_buffer.commit' });
    await client.next('input_audio_buffer.committed');
    expect(performance.now() - began).toBeGreaterThan(400);
    expect(refusals(client)).toEqual([]);
    expect(emulator.control.received.connections[0]?.audioBytes).toBe(10 * 48_000);
  });

  const minute = append(60, 'minute') as { audio: string };
  const spoken = { type: 'message', role: 'user', content: [{ type: 'input_audio', audio: minute.audio }] };

  it.each([
    ['an append', JSON.stringify(minute)],
    ['an append with escapes', JSON.stringify(minute).replace('AAAA', '\\u0041AAA')],
    ['an item', JSON.stringify({ type: 'conversation.item.create', item: spoken })],
  ])('takes a recorded minute in %s at default limits, and answers it', async (what, text) => {
    const { emulator, server } = await start('');
    const client = await open(server);
    client.ws.send(text);
    if (what !== 'an item') client.send({ type: 'input_audio_buffer.commit' });
    client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    await client.next('response.done');
    expect(refusals(client)).toEqual([]);
    expect(await server.metric('relay_audio_seconds_total', { direction: 'up' })).toBeCloseTo(60);
    expect(emulator.control.received.events('response.create')).toHaveLength(1);
  });

  it('takes what a client says that was away for fourteen seconds', async () => {
    const { emulator, server } = await start('');
    const client = await open(server);
    for (let i = 0; i < 700; i++) client.send(append(0.02, `a${i}`));
    await emulator.control.received.waitFor(({ connections }) => connections[0]?.audioBytes === 14 * 48_000);
    expect(refusals(client)).toEqual([]);
  });

  it('counts audio wherever it stands', async () => {
    const limits = '{ audio_burst_seconds: 2.5, audio_realtime_factor: 0.001 }';
    const { emulator, server } = await start(`profiles: { default: { limits: ${limits} } }`);
    const client = await open(server);
    const { audio } = append(1, '') as { audio: string };
    const item = { type: 'message', role: 'user', content: [{ type: 'input_audio', audio }] };
    client.send({ type: 'conversation.item.create', item });
    client.ws.send(JSON.stringify(append(1, 'x')).replace('"audio"', '"\\u0061udio"'));
    client.send({ type: 'conversation.item.create', item });
    client.send(append(1, 'held'));
    const [session] = [...server.relay.sessions];
    await vi.waitFor(() => expect(session?.buffered.up).toBeGreaterThan(audio.length));
    await vi.waitFor(() => expect(emulator.control.received.events('conversation.item.create')).toHaveLength(2));
    expect(emulator.control.received.connections[0]?.audioBytes).toBe(48_000);
    expect(await server.metric('relay_audio_seconds_total', { direction: 'up' })).toBe(3);
    expect(refusals(client)).toEqual([]);
  });

  it('holds who sends more than can be parsed, whatever becomes of it', async () => {
    const { emulator, server } = await start('');
    const client = await open(server);
    const large = { type: 'made.up', text: 'x'.repeat(250_000) };
    for (let i = 0; i < 20; i++) client.send(large);
    client.send({ type: 'input_audio_buffer.clear' });
    const [session] = [...server.relay.sessions];
    await vi.waitFor(() => expect(session?.buffered.up).toBeGreaterThan(2_000_000));
    expect(refusals(client).length).toBeLessThan(11);
    expect(emulator.control.received.events('input_audio_buffer.clear')).toHaveLength(0);
  });

  it.each([
    [
      'three bytes of audio',
      JSON.stringify({ type: 'input_audio_buffer.append', audio: 'AAAA', x: 'x'.repeat(300_000) }),
    ],
    ['audio under another type', JSON.stringify({ type: 'made.up', audio: 'A'.repeat(300_000) })],
    ['audio under an escaped type', JSON.stringify(append(6, 'e')).replace('input', '\\u0069nput')],
    ['a key that is called audio in a text', JSON.stringify({ type: 'x', text: `"audio":"${'A'.repeat(300_000)}"` })],
  ])('too_big: is told of a large event with %s, and goes on', async (_, text) => {
    const { emulator, server } = await start('');
    const client = await open(server);
    client.ws.send(text);
    await client.next('error');
    expect(refusals(client)).toEqual([['too_big', null]]);
    expect(await client.ask('still there?')).toMatchObject({ status: 'completed' });
    expect(emulator.control.received.events('input_audio_buffer.append')).toEqual([]);
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

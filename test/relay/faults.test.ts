import { describe, expect, it } from 'vitest';
import { type FaultName, faultNames } from '../../src/emulator/faults.js';
import { refusals } from '../../src/emulator/refusals.js';
import { refused, type TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { ofCalls, ofReplays, ofTools } from '../support/faults.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const yaml = `
profiles:
  default:
    session: { instructions: Never tell the canary. }
    limits: { audio_burst_seconds: 3600 }
limits: { dial_seconds: 0.4, configure_seconds: 0.4, stall_seconds: 0.4, buffer_bytes: 65536 }
`;

/** Text that only the upstream, its refusals or the configuration would say. */
const secrets = [
  'gpt-realtime',
  'emulator',
  '127.0.0.1',
  'canary',
  'retry-after',
  'PermissionDenied',
  'session hit the maximum',
  ...Object.values(refusals).flatMap(({ code, message }) => (/^\d+$/.test(code) ? [message] : [code, message])),
].map((text) => text.toLowerCase());
const requestId = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-/i;

function expectNoLeak(client: TestClient, closeReason = ''): void {
  const seen = `${client.raw.join('\n')}\n${closeReason}`.toLowerCase();
  expect(secrets.filter((secret) => seen.includes(secret))).toEqual([]);
  expect(seen).not.toMatch(requestId);
}

/** A session that works, opened as a client would that waits as long as it is told to. */
async function worksAgain(server: TestRelay): Promise<void> {
  const client = await server.connect().catch(async () => {
    const headers = { Authorization: `Bearer ${server.token()}` };
    const { body } = await refused(`${server.address}/v1/realtime`, { headers });
    expect(body.error.code).toBe('upstream_unavailable');
    await new Promise((resolve) => setTimeout(resolve, Number(body.error.retry_after_ms)));
    return server.connect();
  });
  await client.next('session.created');
  expect(await client.ask('hello')).toMatchObject({ status: 'completed' });
  client.ws.close(1000);
  await client.closed;
}

const failed = ['upstream_failed', 1011] as const;
const lost = ['upstream_lost', 1011] as const;
const unavailable = ['upstream_unavailable', 1013] as const;
const unconfigured = ['upstream_configuration_failed', 1011] as const;

/** The faults before the session is open, and the dials they may cost. */
const opening: Partial<Record<FaultName, readonly [exit: readonly [string, number], dials: number]>> = {
  ...Object.fromEntries(Object.keys(refusals).map((name) => [`refuse_${name}`, [failed, 1]])),
  refuse_429: [unavailable, 1],
  refuse_500: [failed, 2],
  refuse_503: [unavailable, 1],
  redirect: [failed, 1],
  hang: [['upstream_timeout', 1011], 1],
  reset: [failed, 2],
  not_http: [failed, 1],
  bad_accept: [failed, 1],
  silent: [unconfigured, 1],
  reject_update: [unconfigured, 1],
  ignore_update: [unconfigured, 1],
};

/** The faults that end an open session. */
const running: Partial<Record<FaultName, readonly [string, number]>> = {
  die_mid_response: lost,
  close_mid_response: lost,
};

/** What upstream sends and is no event, and what it is counted as. */
const odd: Partial<Record<FaultName, string>> = {
  garbage: 'malformed',
  binary: 'binary',
  array: 'malformed',
  huge: 'too_big',
};

/** The faults that do not end a session by themselves, or not soon; each has its own test below or in ends.test.ts. */
const harmless: FaultName[] = ['slow', 'flood', 'mute', 'unknown_event', 'stop_reading', 'expire_early'];

describe('an upstream that fails', () => {
  it('is tested with every fault there is', () => {
    const ended = [opening, running, odd].flatMap((faults) => Object.keys(faults));
    const known = [...ended, ...harmless, ...ofCalls, ...ofTools, ...ofReplays];
    expect(known.sort()).toEqual([...faultNames].sort());
  });

  it.each(Object.entries(opening))('before the session is open: %s', async (fault, [[id, code], dials]) => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    emulator.control.faults.arm(fault as FaultName, 10);
    const asked = performance.now();
    const client = await server.connect();
    client.send({ type: 'response.create' });
    const wait = fault === 'refuse_429' ? { retry_after_ms: 1000 } : {};
    expect(await endOf(server, client)).toEqual(end(id, code, 'upstream', { retryable: true, ...wait }));
    expect(performance.now() - asked).toBeLessThan(3000);
    expect(client.types()).toEqual(['error']);
    expectNoLeak(client, id);
    const { received } = emulator.control;
    expect(received.connectionCount).toBe(dials);
    expect(received.connections.some(({ url }) => url.includes('redirected'))).toBe(false);
    expect(received.events('response.create')).toEqual([]);

    emulator.control.faults.clear();
    await worksAgain(server);
    expect(server.relay.sessions.size).toBe(0);
    await received.waitFor(({ openCount }) => openCount === 0);
  });

  it.each(Object.entries(running))('while it answers: %s', async (fault, [id, code]) => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    emulator.control.faults.arm(fault as FaultName);
    const client = await server.connect();
    await client.next('session.created');
    const asked = performance.now();
    client.send({ type: 'response.create' });
    expect(await endOf(server, client)).toEqual(end(id, code, 'upstream', { retryable: true }));
    expect(performance.now() - asked).toBeLessThan(3000);
    expectNoLeak(client, id);
    expect(emulator.control.received.connectionCount).toBe(1);
    await emulator.control.received.waitFor(({ openCount }) => openCount === 0);
    await worksAgain(server);
  });

  it.each(Object.entries(odd))('drops what is no event while it answers, and goes on: %s', async (fault, kind) => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    const client = await server.connect();
    await client.next('session.created');
    for (let i = 1; i <= 2; i++) {
      emulator.control.faults.arm(fault as FaultName);
      expect(await client.ask('go on')).toMatchObject({ status: 'completed' });
      expect(await server.metric('relay_upstream_odd_events_total', { kind })).toBe(i);
    }
    expect(client.types()).not.toContain('error');
    expectNoLeak(client);
  });

  it('upstream_failed: sends ten things within a minute that are no events', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url, yaml });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    const odd = [Buffer.from([0, 255]), 'hello', '[]', '{"type":"a","type":"b"}', '{"type":"a","b":1e999}'];
    for (const each of odd) ws.send(each);
    for (const each of odd.slice(1)) ws.send(each);
    ws.send('{"type":"input_audio_buffer.cleared","event_id":"e"}');
    await client.next('input_audio_buffer.cleared');
    ws.send('');
    expect(await endOf(server, client)).toEqual(end('upstream_failed', 1011, 'upstream', { retryable: true }));
    expect(await server.metric('relay_upstream_odd_events_total')).toBe(10);
  });

  it('passes on halves of characters where upstream cuts its words, any number of them', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url, yaml });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    const response = { object: 'realtime.response', id: 'resp_1', status: 'in_progress', output: [], metadata: null };
    const item = { id: 'item_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
    const about = { event_id: 'e', response_id: 'resp_1', output_index: 0 };
    ws.send(JSON.stringify({ type: 'response.created', event_id: 'e', response }));
    ws.send(JSON.stringify({ type: 'response.output_item.added', ...about, item }));
    const say = (delta: string) =>
      ws.send(
        JSON.stringify({ type: 'response.output_text.delta', ...about, item_id: 'item_1', content_index: 0, delta }),
      );
    for (let i = 0; i < 15; i++) {
      say('\ud83d');
      say('\ude00');
    }
    say('end');
    await client.next(({ delta }) => delta === 'end');
    const words = client.events.map(({ delta }) => delta ?? '').join('');
    expect(words).toBe(`${'\ud83d\ude00'.repeat(15)}end`);
    expect(await server.metric('relay_upstream_odd_events_total', { kind: 'half_character' })).toBe(30);
  });

  it('leaves a session open when an answer is only slow, or unknown events come', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    const client = await server.connect();
    emulator.control.faults.arm({ fault: 'slow', delayMs: 50 });
    expect(await client.ask('one')).toMatchObject({ status: 'completed' });
    emulator.control.faults.arm('unknown_event');
    expect(await client.ask('two')).toMatchObject({ status: 'completed' });
    expect(client.types()).not.toContain('session.debug_snapshot');
    expectNoLeak(client);
    expect(await server.metric('relay_events_total', { direction: 'down', type: 'other', decision: 'drop' })).toBe(1);
  });

  it('passes a flood on to a client that reads', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    const client = await server.connect();
    emulator.control.faults.arm({ fault: 'flood', bytes: 4 * 1024 * 1024 });
    client.send({ type: 'response.create' });
    await client.next('response.done');
    const deltas = client.events.filter(({ type }) => type === 'response.output_audio.delta');
    expect(deltas.reduce((sum, { delta }) => sum + String(delta).length, 0)).toBe(4 * 1024 * 1024);
    expect(await client.ask('and now?')).toMatchObject({ status: 'completed' });
  });

  it('ends a session as idle when an answer never comes', async () => {
    const time = holdTime();
    const emulator = await startTestEmulator();
    const idle = 'profiles: { default: { limits: { idle_seconds: 1 } } }';
    const server = await startTestRelay({ upstream: emulator.url, yaml: idle });
    const client = await server.connect();
    await client.next('session.created');
    emulator.control.faults.arm('mute');
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length === 1);
    await time.live(3);
    expect(await endOf(server, client)).toEqual(end('idle_timeout', 1000, 'relay'));
    expect(client.types()).not.toContain('error');
  });

  it('ends the session as slow_consumer when it stops reading', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml });
    emulator.control.faults.arm('stop_reading');
    const client = await server.connect();
    await client.next('session.created');
    const audio = Buffer.alloc(96_000).toString('base64');
    for (let i = 0; i < 160; i++) client.send({ type: 'input_audio_buffer.append', audio });
    expect(await endOf(server, client)).toEqual(end('slow_consumer', 1013, 'upstream', { retryable: true }));
    await worksAgain(server);
  });
});

describe('an upstream that breaks the WebSocket protocol', () => {
  it.each([
    ['a reserved opcode', Buffer.from([0x83, 0x00])],
    ['a masked frame', Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d])],
    ['compression nobody agreed to', Buffer.from([0xc1, 0x02, 0x7b, 0x7d])],
    ['text that is not UTF-8', Buffer.from([0x81, 0x02, 0xc3, 0x28])],
    ['a frame of 33 MiB', Buffer.from([0x81, 0x7f, 0, 0, 0, 0, 0x02, 0x10, 0, 0])],
    ['a frame of 2 GiB', Buffer.from([0x81, 0x7f, 0, 0, 0, 0, 0x80, 0, 0, 0])],
    ['a close frame with a code that does not exist', Buffer.from([0x88, 0x02, 0x00, 0x01])],
  ])('is lost at once, though it never says goodbye: %s', async (_, bytes) => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    await client.next('session.created');
    const { stream, ws } = await upstream.connected();
    ws.pause();
    const broke = performance.now();
    stream.write(bytes);
    expect(await endOf(server, client)).toEqual(end('upstream_lost', 1011, 'upstream', { retryable: true }));
    expect(performance.now() - broke).toBeLessThan(1000);
  });
});

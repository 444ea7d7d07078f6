import { once } from 'node:events';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { appends, silence, spoken } from '../emulator/speech.js';
import type { TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { end, endOf } from '../support/ends.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { startUpstream } from '../support/upstream.js';

const speech = appends(Buffer.concat([spoken('pcm', 100, 900), silence(500)]));
const timeout = end('upstream_timeout', 1011, 'upstream', { retryable: true });

function yaml(turnDetection: string, rest = ''): string {
  return `
profiles:
  default:
    session: { audio: { input: { turn_detection: ${turnDetection} } } }
    limits: { audio_burst_seconds: 60 }
    ${rest}`;
}

let pass: (seconds: number) => Promise<void>;
beforeEach(() => {
  pass = holdTime().live;
});

function say(client: TestClient): void {
  for (const event of speech) client.send(event);
}

async function muted(text = '{}') {
  const emulator = await startTestEmulator();
  const server = await startTestRelay({ upstream: emulator.url, yaml: text });
  emulator.control.faults.arm('mute', 5);
  const client = await server.connect();
  await client.next('session.created');
  return { emulator, server, client };
}

describe('an upstream that is open and silent', () => {
  it('upstream_timeout: ends the session that waits for response.create to be answered', async () => {
    const { server, client, emulator } = await muted();
    client.send({ type: 'response.create' });
    await emulator.control.received.waitFor((received) => received.events('response.create').length === 1);
    await pass(20);
    expect(server.relay.sessions.size).toBe(1);
    await pass(3);
    expect(await endOf(server, client)).toEqual(timeout);
    const line = await server.logged('session.ended');
    expect(Object.keys(line.azure as object)).not.toEqual([]);
    expect(await server.metric('relay_upstream_errors_total', { origin: 'upstream', code: 'upstream_timeout' })).toBe(
      1,
    );
    await emulator.control.received.waitFor(({ openCount }) => openCount === 0);
    expect(await server.logged('session.usage')).toMatchObject({ complete: false });
  });

  it('upstream_timeout: ends the session whose user has spoken and is to be answered', async () => {
    const { server, client } = await muted(yaml('{ type: server_vad }'));
    say(client);
    await client.next('input_audio_buffer.speech_stopped');
    await client.next('conversation.item.done');
    await pass(23);
    expect(await endOf(server, client)).toEqual(timeout);
  });

  it('upstream_timeout: ends the session whose answer stops in the middle', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url, yaml: '{}' });
    const client = await server.connect();
    await client.next('session.created');
    client.send({ type: 'response.create' });
    const { ws } = await upstream.connected();
    await upstream.received(1);
    ws.send(JSON.stringify({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress' } }));
    await client.next('response.created');
    await pass(23);
    expect(await endOf(server, client)).toEqual(timeout);
  });

  it('upstream_timeout: ends the session whose commit is not even acknowledged', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({
      upstream: upstream.url,
      yaml: yaml('{ type: server_vad, create_response: true }'),
    });
    const client = await server.connect();
    await client.next('session.created');
    client.send({ type: 'input_audio_buffer.commit' });
    await upstream.received(1);
    await pass(23);
    expect(await endOf(server, client)).toEqual(timeout);
  });
});

describe('an upstream that is dead when something is due', () => {
  const lost = end('upstream_lost', 1011, 'upstream', { retryable: true });

  async function dead(greet?: (ws: WebSocket) => void) {
    const upstream = await startUpstream({ autoPong: false, ...(greet && { greet }) });
    const server = await startTestRelay({ upstream: upstream.url, yaml: yaml('{ type: server_vad }') });
    const client = await server.connect();
    const { ws } = await upstream.connected();
    return { upstream, server, client, ws };
  }

  it('upstream_lost: is found within five seconds when an answer was asked for', async () => {
    const { upstream, server, client } = await dead();
    await client.next('session.created');
    client.send({ type: 'response.create' });
    await upstream.received(1);
    await pass(5);
    expect(await endOf(server, client)).toEqual(lost);
  });

  it('upstream_lost: is found within five seconds in the middle of an answer', async () => {
    const { ws, server, client } = await dead();
    await client.next('session.created');
    ws.send(JSON.stringify({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress' } }));
    await client.next('response.created');
    await pass(5);
    expect(await endOf(server, client)).toEqual(lost);
  });

  it('upstream_lost: is found within five seconds when the user has spoken', async () => {
    const { ws, server, client } = await dead();
    await client.next('session.created');
    ws.send(JSON.stringify({ type: 'input_audio_buffer.speech_stopped', item_id: 'item_1', audio_end_ms: 9 }));
    await client.next('input_audio_buffer.speech_stopped');
    await pass(5);
    expect(await endOf(server, client)).toEqual(lost);
  });

  it('upstream_lost: is found within five seconds when it does not take the profile', async () => {
    let asked: Promise<unknown> | null = null;
    const { server, client } = await dead((ws) => {
      asked = once(ws, 'message');
      ws.send(JSON.stringify({ type: 'session.created', event_id: 'event_1', session: { id: 'sess_1' } }));
    });
    await asked;
    await pass(5);
    expect(await endOf(server, client)).toEqual(lost);
  });

  it('is left alone for longer when nothing is due', async () => {
    const { server, client } = await dead();
    await client.next('session.created');
    await pass(30);
    expect(server.relay.sessions.size).toBe(1);
    await pass(10);
    expect(await endOf(server, client)).toEqual(lost);
  });
});

describe('an upstream that is silent because nothing is due', () => {
  it('is left alone after speech when it does not answer by itself', async () => {
    const { server, client } = await muted(yaml('{ type: server_vad, create_response: false }'));
    say(client);
    await client.next('input_audio_buffer.speech_stopped');
    await pass(60);
    expect(server.relay.sessions.size).toBe(1);
  });

  it.each(['{ type: server_vad, create_response: false }', 'null', '{ type: server_vad }'])(
    'is left alone after a mere commit, with turn_detection %s',
    async (detection) => {
      const { server, client } = await muted(yaml(detection));
      for (const event of appends(spoken('pcm', 0, 0)).slice(0, 8)) client.send(event);
      client.send({ type: 'input_audio_buffer.commit' });
      await client.next('input_audio_buffer.committed');
      await pass(60);
      expect(server.relay.sessions.size).toBe(1);
    },
  );

  it('is left alone while a tool of the client is at work', async () => {
    const tool = 'tools: [{ name: show_map, runs: client }]';
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url, yaml: yaml('null', tool) });
    emulator.control.script({ functionCall: { name: 'show_map', arguments: '{}' } });
    const client = await server.connect();
    client.send({ type: 'response.create' });
    await client.next('response.done');
    expect(client.types()).toContain('response.function_call_arguments.done');
    await pass(60);
    expect(server.relay.sessions.size).toBe(1);
  });

  it('is left alone while a tool of its own is at work, and only then', async () => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url, yaml: yaml('null') });
    const client = await server.connect();
    await client.next('session.created');
    client.send({ type: 'response.create' });
    const { ws } = await upstream.connected();
    await upstream.received(1);
    ws.send(JSON.stringify({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress' } }));
    ws.send(JSON.stringify({ type: 'response.mcp_call.in_progress', item_id: 'item_1', output_index: 0 }));
    await client.next('response.created');
    await pass(60);
    expect(server.relay.sessions.size).toBe(1);
    ws.send(JSON.stringify({ type: 'response.mcp_call.completed', item_id: 'item_1', output_index: 0 }));
    await vi.waitFor(async () => {
      const labels = { direction: 'down', type: 'response.mcp_call.completed' };
      expect(await server.metric('relay_events_total', labels)).toBe(1);
    });
    await pass(23);
    expect(await endOf(server, client)).toEqual(timeout);
  });

  it('is left alone after it refused a response', async () => {
    const { server, client, emulator } = await muted(yaml('null'));
    emulator.control.faults.clear();
    emulator.control.script({ status: 'failed', reason: 'rate_limit_exceeded' });
    client.send({ type: 'response.create' });
    await client.next('response.done');
    await pass(60);
    expect(server.relay.sessions.size).toBe(1);
    const labels = { origin: 'upstream', code: 'rate_limit_exceeded' };
    expect(await server.metric('relay_upstream_errors_total', labels)).toBe(1);
  });
});

describe('an upstream that was not asked, since its dialect has no words for the question', () => {
  it('is not waited for', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({
      upstream: emulator.url,
      yaml: `
upstreams: [{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: preview, api_key: emulator-key }]
profiles: { default: { client: { trust: trusted } } }`,
    });
    const client = await server.connect();
    await client.next('session.created');
    client.send({ type: 'response.create', event_id: 'think', response: { reasoning: { effort: 'low' } } });
    const { error } = await client.next('error');
    expect(error).toMatchObject({ code: 'unsupported_by_upstream', event_id: 'think' });
    await pass(60);
    expect(server.relay.sessions.size).toBe(1);
    const labels = { origin: 'client', code: 'unsupported_by_upstream' };
    expect(await server.metric('relay_upstream_errors_total', labels)).toBe(1);
  });
});

describe('relay_upstream_errors_total', () => {
  it.each([
    ['client', 'invalid_value', { type: 'invalid_request_error', code: 'invalid_value', event_id: 'mine' }],
    ['client', 'invalid_value', { type: 'invalid_request_error', code: 'invalid_value', event_id: null }],
    ['upstream', 'server_error', { type: 'server_error', code: 'server_error', event_id: 'mine' }],
    ['upstream', 'other', { type: 'server_error', code: null, event_id: null }],
    ['upstream', 'rate_limit_exceeded', { type: 'invalid_request_error', code: 'rate_limit_exceeded', event_id: null }],
  ])('names %s as the origin of %s', async (origin, code, error) => {
    const upstream = await startUpstream();
    const server = await startTestRelay({ upstream: upstream.url });
    const client = await server.connect();
    await client.next('session.created');
    const { ws } = await upstream.connected();
    ws.send(JSON.stringify({ type: 'error', event_id: 'event_9', error: { message: 'no', param: null, ...error } }));
    await client.next('error');
    expect(await server.metric('relay_upstream_errors_total')).toBe(1);
    expect(await server.metric('relay_upstream_errors_total', { origin, code })).toBe(1);
  });

  it('names the relay as the origin of a configuration that upstream refuses', async () => {
    const emulator = await startTestEmulator();
    const server = await startTestRelay({ upstream: emulator.url });
    emulator.control.faults.arm('reject_update');
    const client = await server.connect();
    await client.closed;
    const labels = { origin: 'relay', code: 'upstream_configuration_failed' };
    await server.logged('session.ended');
    expect(await server.metric('relay_upstream_errors_total', labels)).toBe(1);
  });
});

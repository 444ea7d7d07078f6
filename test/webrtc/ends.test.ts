import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { spoken } from '../emulator/speech.js';
import { holdTime } from '../support/clock.js';
import { startTestEmulator, startTestRelay } from '../support/relay.js';
import { Caller, call, post } from './caller.js';

async function opened(options: { yaml?: string; env?: Record<string, string> } = {}, emulated = {}) {
  const emulator = await startTestEmulator(emulated);
  const relay = await startTestRelay({ upstream: emulator.url, ...options });
  return { emulator, relay, calls: emulator.control.calls };
}

function hangUp(
  relay: Awaited<ReturnType<typeof opened>>['relay'],
  id: string,
  token: string,
  base = '/v1',
): Promise<Response> {
  return fetch(`${relay.relay.url}${base}/realtime/calls/${id}/hangup`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
  });
}

describe('a call ends', () => {
  it('with token_expired when the token runs out', async () => {
    const time = holdTime();
    const { relay, calls } = await opened();
    const { caller } = await call(relay, { authorization: `Bearer ${relay.token({ ttlSeconds: 60 })}` });
    await relay.logged('session.opened');
    await time.live(55);
    expect(relay.relay.sessions.size).toBe(1);
    await time.live(10);
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'token_expired', initiator: 'relay' });
    expect(calls.records.hungUp).toHaveLength(1);
  });

  it('with session_expired at the length the profile allows', async () => {
    const time = holdTime();
    const { relay } = await opened({ yaml: 'profiles: { default: { limits: { session_seconds: 30 } } }' });
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    await time.live(29);
    expect(relay.relay.sessions.size).toBe(1);
    await time.live(2);
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'session_expired' });
  });

  it('with idle_timeout when nothing happens', async () => {
    const time = holdTime();
    const { relay } = await opened({ yaml: 'profiles: { default: { limits: { idle_seconds: 20 } } }' });
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    await time.live(19);
    expect(relay.relay.sessions.size).toBe(1);
    await time.live(3);
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'idle_timeout' });
  });

  it('with quota_exceeded when the budget is spent', async () => {
    const { relay } = await opened({ yaml: 'profiles: { default: { limits: { tokens_per_day: 10 } } }' });
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    caller.send({ type: 'response.create' });
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'quota_exceeded' });
    expect((await post(relay, caller.offer)).status).toBe(429);
  });

  it('with draining when the relay shuts down, and new ones are refused', async () => {
    const { relay, calls } = await opened();
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    const drained = relay.relay.drain();
    expect((await post(relay, caller.offer).catch(() => null))?.status ?? 503).toBe(503);
    await drained;
    expect(calls.records).toMatchObject({ open: [], hungUp: [expect.stringMatching(/^rtc_/)] });
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'draining' });
  });

  it('with draining only when the user who has begun to speak is answered', async () => {
    const yaml = 'profiles: { default: { session: { audio: { input: { turn_detection: { type: server_vad } } } } } }';
    const { relay } = await opened({ yaml });
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    const speech = spoken('ulaw', 100, 1500);
    const speak = async (from: number, to: number) => {
      for (let at = from; at < to; at += 160) {
        caller.speak(speech.subarray(at, at + 160));
        if (at % 3200 === 0) await new Promise(setImmediate);
      }
    };
    await speak(0, 8000);
    await caller.event('input_audio_buffer.speech_started');
    const drained = relay.relay.drain();
    await speak(8000, speech.length);
    await drained;
    await caller.closed();
    expect(caller.events.map(({ type }) => type)).toContain('output_audio_buffer.stopped');
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'draining', turns: 1 });
  });

  it('with draining only when the answer has been heard to its end', async () => {
    const { relay } = await opened();
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    caller.send({ type: 'response.create' });
    await caller.event('output_audio_buffer.started');
    await relay.relay.drain();
    await caller.closed();
    expect(caller.events.map(({ type }) => type)).toContain('output_audio_buffer.stopped');
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'draining', turns: 1 });
  });

  it('when its owner hangs up, and nobody else can', async () => {
    const { relay, calls } = await opened();
    const { caller, id } = await call(relay);
    for (const token of [relay.token({ subject: 'mallory' }), relay.token({ tenant: 'other' })]) {
      const answer = await hangUp(relay, id, token);
      expect(answer.status).toBe(404);
    }
    const unknown = await hangUp(relay, 'call_0', relay.token());
    const [other] = await Promise.all([hangUp(relay, id, relay.token({ subject: 'mallory' }))]);
    expect(await unknown.text()).toBe(await other.text());
    expect((await hangUp(relay, id, '')).status).toBe(401);
    expect(calls.records.open).toHaveLength(1);
    expect((await hangUp(relay, id, relay.token(), '/openai/v1')).status).toBe(200);
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client' });
    expect((await hangUp(relay, id, relay.token())).status).toBe(404);
  });

  it('is hung up again when upstream fails to', async () => {
    const { emulator, relay, calls } = await opened();
    emulator.control.faults.arm('hangup', 2);
    const { caller, id } = await call(relay);
    await hangUp(relay, id, relay.token());
    await caller.closed();
    expect(calls.records.hungUp).toHaveLength(1);
  });

  it.each(['cut', 'frozen'] as const)('not when its sideband is %s: the relay comes back to it', async (how) => {
    const time = how === 'frozen' ? holdTime() : null;
    const yaml = 'profiles: { default: { session: { instructions: be kind } } }';
    const { emulator, relay, calls } = await opened({
      yaml: `${yaml}\nlimits: { ping_seconds: 5, pong_seconds: 5 }`,
    });
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    const imposed = () => emulator.control.received.events('session.update').length;
    const before = imposed();
    calls.loseSidebands(how);
    await time?.live(15);
    expect(await relay.logged('call.lost')).toMatchObject({ reason: 'upstream_lost' });
    await relay.logged('call.rejoined');
    await vi.waitFor(() => expect(imposed()).toBe(before + 1));
    const last = emulator.control.received.events('session.update').at(-1);
    expect(last).toMatchObject({ body: { session: { instructions: 'be kind' } } });
    caller.send({ type: 'response.create' });
    if (!time) await caller.event('output_audio_buffer.stopped');
    // It is counted and guarded as before.
    expect(relay.log.some(({ msg }) => msg === 'session.ended')).toBe(false);
    expect(calls.records.hungUp).toEqual([]);
    for (let times = 0; times < 10; times++) {
      caller.send({ type: 'session.update', session: { type: 'realtime', instructions: `be rude ${times}` } });
    }
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'forbidden' });
  });

  // Without the relay beside it a call would have no limits, so it does not go on.
  it.each([
    ['cut', 'upstream_lost'],
    ['frozen', 'upstream_lost'],
    ['closed', 'normal'],
  ] as const)('when the sideband is %s and cannot be had again: as %s, and is hung up', async (how, reason) => {
    const time = holdTime();
    const { emulator, relay, calls } = await opened({ yaml: 'limits: { ping_seconds: 5, pong_seconds: 5 }' });
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    if (how !== 'closed') emulator.control.faults.arm('refuse_401', 20);
    calls.loseSidebands(how);
    if (how === 'frozen') await time.live(15);
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason, initiator: 'upstream' });
    expect(calls.records).toMatchObject({ open: [], hungUp: [expect.stringMatching(/^rtc_/)] });
  });

  it('as upstream_failed when the tenth thing comes that is no event, and not before', async () => {
    const { relay, calls } = await opened();
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    const odd = ['no JSON', Buffer.from([0, 255]), '[]', '{"type":"a","type":"b"}'];
    for (let i = 0; i < 9; i++) calls.tellSidebands(odd[i % odd.length] as string | Buffer);
    await vi.waitFor(async () => expect(await relay.metric('relay_upstream_odd_events_total')).toBe(9));
    caller.send({ type: 'response.create' });
    await caller.event('output_audio_buffer.stopped');
    calls.tellSidebands('');
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'upstream_failed', initiator: 'upstream' });
  });

  it('when the relay is not let into it', async () => {
    const { emulator, relay, calls } = await opened();
    const caller = await Caller.create();
    const answer = await post(relay, caller.offer);
    // The first attempt comes too early, as the emulator has it; this strikes the second.
    emulator.control.faults.arm('refuse_401');
    expect(answer.status).toBe(201);
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'upstream_failed', ready: false });
    await vi.waitFor(() => expect(calls.records.hungUp).toHaveLength(1));
  });

  it('with upstream_configuration_failed when the sideband is not obeyed', async () => {
    const { emulator, relay } = await opened();
    emulator.control.faults.arm('reject_update');
    const { caller } = await call(relay);
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({
      reason: 'upstream_configuration_failed',
      ready: false,
    });
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a list', []],
    ['a word', 'realtime'],
  ])('with upstream_configuration_failed when the acknowledgement has %s for a session', async (_, session) => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      if (request.url?.endsWith('/client_secrets')) response.end('{"value":"ek_x","expires_at":1}');
      else if (request.url?.endsWith('/hangup')) response.end();
      else response.writeHead(201, { location: '/v1/realtime/calls/rtc_9' }).end('v=0\r\n');
    });
    new WebSocketServer({ server }).on('connection', (ws) =>
      ws.on('message', () => ws.send(JSON.stringify({ type: 'session.updated', event_id: 'event_1', session }))),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const relay = await startTestRelay({ upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    expect((await post(relay, (await Caller.create()).offer)).status).toBe(201);
    expect(await relay.logged('session.ended')).toMatchObject({
      reason: 'upstream_configuration_failed',
      initiator: 'upstream',
      ready: false,
    });
    await vi.waitFor(() => expect(asked.at(-1)).toBe('/openai/v1/realtime/calls/rtc_9/hangup'));
  });

  it('when the client has gone before upstream answered the offer', async () => {
    const asked: string[] = [];
    const leave = new AbortController();
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      const path = request.url?.split('?')[0] ?? '';
      if (path.endsWith('/client_secrets')) response.end('{"value":"ek_x","expires_at":1}');
      else if (path.endsWith('/hangup')) response.end();
      else {
        leave.abort();
        void ended.then(() => response.writeHead(201, { location: '/v1/realtime/calls/rtc_9' }).end('v=0\r\n'));
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const relay = await startTestRelay({ upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    const ended = relay.logged('session.ended');
    const { offer } = await Caller.create();
    const headers = { authorization: `Bearer ${relay.token()}` };
    const url = `${relay.relay.url}/v1/realtime/calls`;
    await fetch(url, { method: 'POST', headers, body: offer, signal: leave.signal }).catch(() => null);
    expect(await ended).toMatchObject({ reason: 'normal', initiator: 'client' });
    await vi.waitFor(() => expect(asked.at(-1)).toBe('/openai/v1/realtime/calls/rtc_9/hangup'));
  });

  it.each([
    ['no id of the call', {}, 'v=0\r\n'],
    ['an id that is a path', { location: '/v1/realtime/calls/..%2f' }, 'v=0\r\n'],
    ['no SDP', { location: '/v1/realtime/calls/rtc_9' }, '<html>'],
  ])('before it began when upstream answers the offer with %s', async (_, headers, body) => {
    const server = createServer((request, response) => {
      if (request.url?.endsWith('/client_secrets')) response.end('{"value":"ek_x","expires_at":1}');
      else response.writeHead(201, headers).end(body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const relay = await startTestRelay({ upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    const { offer } = await Caller.create();
    const answer = await post(relay, offer);
    expect([answer.status, await answer.json()]).toMatchObject([502, { error: { code: 'upstream_failed' } }]);
  });

  it('and gives its place back', async () => {
    const { relay } = await opened({ yaml: 'profiles: { default: { limits: { sessions_per_user: 1 } } }' });
    const { caller, id } = await call(relay);
    const second = await post(relay, caller.offer);
    expect([second.status, await second.json()]).toMatchObject([429, { error: { code: 'rate_limited' } }]);
    await hangUp(relay, id, relay.token());
    await caller.closed();
    await call(relay);
  });
});

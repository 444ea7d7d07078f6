import { describe, expect, it, vi } from 'vitest';
import { begin, finish } from '../support/answer.js';
import { layCable } from '../support/cable.js';
import { connect, refused } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { say, startLasting } from '../support/continuity.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { ReturningClient } from '../support/returning.js';
import { startUpstream } from '../support/upstream.js';

async function start(yaml = '', claims: Parameters<TestRelay['token']>[0] = {}) {
  const time = holdTime();
  const upstream = await startUpstream();
  const relay = await startTestRelay({ upstream: upstream.url, yaml });
  const cable = await layCable(relay.address);
  const client = await ReturningClient.start({ address: cable.address, token: relay.token(claims) });
  const { ws } = await upstream.connected();
  let cuts = 0;
  return {
    ...{ time, upstream, relay, cable, client, ws },
    says: (event: object) => ws.send(JSON.stringify(event)),
    async lose() {
      cable.cut();
      await relay.logged('session.detached', ++cuts);
    },
  };
}

const speech = (index: number, bytes = 4800, response = 'resp_1') => ({
  ...{ type: 'response.output_audio.delta', event_id: `event_${index}`, response_id: response },
  ...{ item_id: 'item_1', output_index: 0, content_index: 0 },
  delta: Buffer.alloc(bytes, index).toString('base64'),
});

const words = (index: number, bytes = 10) => ({
  ...{ type: 'response.output_text.delta', event_id: `event_w${index}`, response_id: 'resp_1' },
  ...{ item_id: 'item_1', output_index: 0, content_index: 0, delta: 'w'.repeat(bytes) },
});

const idsIn = (messages: readonly string[], type: string) =>
  messages.filter((text) => text.includes(type)).map((text) => /event_(w?\d+)/.exec(text)?.[1]);

const until = (probe: () => boolean) => vi.waitFor(() => expect(probe()).toBe(true), { interval: 5, timeout: 5000 });

/** Asks a door for backends. */
async function backend(relay: TestRelay, method: string, door: string, body?: object) {
  const scope = 'relay.sessions.read relay.sessions.write relay.revoke';
  const headers = {
    authorization: `Bearer ${relay.token({ subject: 'backend', claims: { scope } })}`,
    'content-type': 'application/json',
  };
  const answer = await fetch(`${relay.relay.url}/v1/relay/${door}`, {
    method,
    headers,
    ...(body && { body: JSON.stringify(body) }),
  });
  return (await answer.json()) as { data: { id: string; detached: boolean }[] };
}

describe('a session without its client', () => {
  it('client_lost: waits as long as its profile says, and is seen to wait', async () => {
    const { time, relay, client, lose } = await start('profiles: { default: { continuity: { resume_seconds: 20 } } }');
    await lose();
    expect(await relay.metric('relay_detached_sessions')).toBe(1);
    expect(await backend(relay, 'GET', 'sessions')).toMatchObject({ data: [{ detached: true }] });
    await time.live(18);
    expect(relay.relay.sessions.size).toBe(1);
    await time.live(3);
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'client_lost', initiator: 'client' });
    expect(await relay.metric('relay_detached_sessions')).toBe(0);
    // Too late: a new session.
    expect((await client.resume()).type).toBe('session.created');
    expect(await relay.metric('relay_resumes_total', { outcome: 'late' })).toBe(1);
  });

  it('lets an answer go on for 3 s, then cancels it, and says that it did', async () => {
    const { time, upstream, relay, client, ws, says, lose } = await start();
    begin(ws, 'resp_1');
    says(words(1));
    await until(() => idsIn(client.messages, 'text.delta').length === 1);
    await lose();
    says(words(2));
    await time.live(2);
    expect(upstream.texts).toEqual([]);
    await time.live(2);
    const [cancel] = await upstream.received(1);
    expect(JSON.parse(cancel as string)).toMatchObject({ type: 'response.cancel', response_id: 'resp_1' });
    finish(ws, 'resp_1', 'cancelled');
    // One that was asked for before begins only now.
    begin(ws, 'resp_2');
    await time.live(2);
    const cancels = (await upstream.received(2)).map((text) => JSON.parse(text) as { response_id: string });
    expect(cancels.map(({ response_id }) => response_id)).toEqual(['resp_1', 'resp_2']);
    expect(await client.resume()).toMatchObject({
      continuity: 'transcript_only',
      missed: { messages: 0, audio_ms: 0 },
    });
    await until(() => client.messages.some((text) => text.includes('response.done')));
    expect(idsIn(client.messages, 'text.delta')).toEqual(['w1', 'w2']);
    expect(await relay.logged('session.resumed')).toMatchObject({ continuity: 'transcript_only', superseded: false });
  });

  it('tells what of its speech could not be kept, and counts on from there', async () => {
    const { client, ws, says, lose } = await start();
    begin(ws, 'resp_1');
    says(words(0));
    await until(() => idsIn(client.messages, 'text.delta').length === 1);
    await lose();
    // 30 s of speech, of which the last is kept, with words in between, which all are.
    for (let index = 1; index <= 300; index++) {
      says(speech(index));
      if (index % 50 === 0) says(words(index));
    }
    says(words(301));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const greeting = await client.resume();
    const missed = greeting.missed as { messages: number; audio_ms: number };
    expect(greeting.continuity).toBe('transcript_only');
    await until(() => idsIn(client.messages, 'text.delta').length === 8);
    const kept = idsIn(client.messages, 'audio.delta').map(Number);
    expect(kept.length).toBeGreaterThan(100);
    expect(kept).toEqual(Array.from(kept, (_, index) => 301 - kept.length + index));
    // 100 ms each.
    expect(missed).toEqual({ messages: 0, audio_ms: (300 - kept.length) * 100 });
    await lose();
    says(words(302));
    expect(await client.resume()).toMatchObject({ continuity: 'full', missed: { messages: 0, audio_ms: 0 } });
    await until(() => idsIn(client.messages, 'text.delta').length === 9);
    expect(idsIn(client.messages, 'audio.delta')).toHaveLength(kept.length);
  });

  it('tells how many messages were on their way and are gone, and sends each of the others once', async () => {
    const { cable, client, ws, says, lose, relay } = await start();
    begin(ws, 'resp_1');
    says(words(0));
    await until(() => idsIn(client.messages, 'text.delta').length === 1);
    // Written to a connection on which nothing arrives: numbered, and more than is kept.
    cable.isDeaf = true;
    for (let index = 1; index <= 20; index++) {
      says(speech(index, 120_000));
      says(words(index));
    }
    await until(() => ([...relay.relay.sessions][0]?.buffered.down ?? 0) > 1_000_000);
    await lose();
    cable.isDeaf = false;
    for (let round = 1; round <= 2; round++) {
      const greeting = await client.resume();
      expect(greeting.continuity).toBe(round === 1 ? 'transcript_only' : 'full');
      expect((greeting.missed as { messages: number }).messages > 0).toBe(round === 1);
      await until(() => idsIn(client.messages, 'text.delta').length === 21);
      await lose();
    }
    expect(idsIn(client.messages, 'text.delta')).toEqual(Array.from({ length: 21 }, (_, index) => `w${index}`));
    const heard = idsIn(client.messages, 'audio.delta').map(Number);
    expect(heard).toEqual(Array.from(heard, (_, index) => 21 - heard.length + index));
  });

  it('client_lost: ends when more comes than can be kept and that is no speech', async () => {
    const { time, relay, ws, says, lose } = await start();
    begin(ws, 'resp_1');
    await lose();
    for (let index = 0; index < 40; index++) says(words(index, 10_000));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await time.live(1);
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'client_lost' });
  });

  it('counts what it keeps as memory of the instance', async () => {
    const { relay, ws, says, lose } = await start();
    begin(ws, 'resp_1');
    await lose();
    for (let index = 0; index < 100; index++) says(speech(index));
    await until(() => ([...relay.relay.sessions][0]?.buffered.down ?? 0) > 600_000);
    expect(await relay.metric('relay_buffered_bytes', { direction: 'down' })).toBeGreaterThan(600_000);
  });

  it.each([
    ['ended_by_backend', 'DELETE', null],
    ['revoked', 'POST', { sub: 'alice' }],
  ])('%s: is ended, and who comes back is told, and gets no other one', async (code, method, body) => {
    const { relay, client, lose } = await start();
    await lose();
    const { data } = await backend(relay, 'GET', 'sessions');
    await backend(relay, method, body ? 'revocations' : `sessions/${data[0]?.id}`, body ?? undefined);
    await relay.logged('session.ended');
    const protocols = client.protocols(undefined, client);
    const status = await refused(client.url(), { protocols });
    expect(status.body.error.code).toBe(code);
    expect(relay.relay.sessions.size).toBe(0);
  });

  it('draining: ends with the instance, at once', async () => {
    const { relay, client, lose } = await start();
    await lose();
    const drained = relay.relay.drain();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'draining' });
    await expect(client.resume()).rejects.toThrow();
    await drained;
  });

  it('token_expired: ends with its token, and goes on for as long as the next one says', async () => {
    const { time, relay, client, lose } = await start('', { ttlSeconds: 100 });
    await lose();
    const later = relay.token({ ttlSeconds: 1000 });
    const again = await connect(client.url(), { protocols: client.protocols(later, client) });
    const greeting = await again.next('relay.resumed');
    const expiry = Math.floor(Date.now() / 1000) + 1000;
    expect(Math.abs(Number(greeting.expires_at) - expiry)).toBeLessThanOrEqual(1);
    await time.live(150);
    expect(relay.relay.sessions.size).toBe(1);
    expect(await backend(relay, 'GET', 'sessions')).toMatchObject({ data: [{ expires_at: greeting.expires_at }] });
  });

  it('ends when its profile says, whatever the next token says', async () => {
    const { relay, client, lose } = await start('profiles: { default: { limits: { session_seconds: 100 } } }');
    const { session } = JSON.parse(client.messages[0] as string) as { session: { expires_at: number } };
    await lose();
    const later = relay.token({ ttlSeconds: 1000 });
    const again = await connect(client.url(), { protocols: client.protocols(later, client) });
    expect(Number((await again.next('relay.resumed')).expires_at) - session.expires_at).toBeLessThanOrEqual(1);
  });

  it('is ended for a page that is loaded again, when the user has no other place', async () => {
    const { relay, client, lose } = await start('profiles: { default: { limits: { sessions_per_user: 1 } } }');
    await lose();
    const anew = await connect(client.url(), { protocols: client.protocols() });
    await anew.next('session.created');
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'client_lost' });
    expect(relay.relay.sessions.size).toBe(1);
  });

  it('is what becomes of one whose client is not heard of any more', async () => {
    const { time, relay, cable, client, ws, says } = await start('limits: { silence_seconds: 5, ping_seconds: 1 }');
    begin(ws, 'resp_1');
    says(words(0));
    await until(() => idsIn(client.messages, 'text.delta').length === 1);
    client.client.ws.pause();
    cable.isDeaf = true;
    await time.live(8);
    expect(await relay.logged('session.detached')).toMatchObject({ closeCode: 0 });
    cable.isDeaf = false;
    says(words(1));
    expect(await client.resume()).toMatchObject({ type: 'relay.resumed', continuity: 'full' });
    await until(() => idsIn(client.messages, 'text.delta').length === 2);
  });
});

describe('a client that had to leave out what it had numbered', () => {
  it('says from where on it goes on, once and first', async () => {
    const { time, upstream, relay, client, lose } = await start();
    client.send({ type: 'input_audio_buffer.append', audio: 'AAAA' });
    await upstream.received(1);
    await lose();
    const again = await connect(client.url(), { protocols: client.protocols(undefined, client) });
    expect(await again.next('relay.resumed')).toMatchObject({ received: 1, continuity: 'full' });
    again.send({ type: 'relay.resume', from: 11, lost_audio_ms: 400 });
    again.send({ type: 'input_audio_buffer.append', audio: 'BBBB' });
    await upstream.received(2);
    expect(await relay.logged('session.cut')).toMatchObject({ audioMs: 400 });
    again.send({ type: 'relay.resume', from: 20, lost_audio_ms: 1 });
    expect(await again.next('error')).toMatchObject({ error: { code: 'invalid_value', param: 'from' } });
    await time.live(1);
    expect(await again.next('relay.ack')).toMatchObject({ received: 11 });
    expect(upstream.texts).toHaveLength(2);
  });
});

describe('a session that is not to wait', () => {
  const resumed = 'relay_events=on&resume=on';

  it.each([
    ['the client did not ask for it', '', 'relay_events=on'],
    ['the client asked for no events of the relay', '', 'resume=on'],
    ['it asked for something else', '', 'relay_events=on&resume=off'],
    ['its profile gives no time for it', 'profiles: { default: { continuity: { resume_seconds: 0 } } }', resumed],
    ['its profile has no continuity', 'profiles: { default: { continuity: { enabled: false } } }', resumed],
  ])('ends with its connection, and no token is told: %s', async (_, yaml, query) => {
    const upstream = await startUpstream();
    const relay = await startTestRelay({ upstream: upstream.url, yaml });
    const client = await relay.connect({ path: `/openai/v1/realtime?model=x&${query}` });
    await client.next('session.created');
    client.send({ type: 'relay.ack', received: 1 });
    await client.next('error');
    expect(client.types()).not.toContain('relay.resumable');
    client.ws.terminate();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'normal', initiator: 'client' });
  });

  it.each([
    ['says goodbye', 1000],
    ['breaks the protocol', null],
  ])('ends with its connection when the client %s', async (_, code) => {
    const { relay, client } = await start();
    if (code === null) client.client.ws.send('no JSON');
    else client.client.ws.close(code);
    expect(await relay.logged('session.ended')).toMatchObject({ reason: code === null ? 'bad_event' : 'normal' });
    expect(relay.log.some(({ msg }) => msg === 'session.detached')).toBe(false);
  });

  it('is that of many who share a name', async () => {
    const { relay } = await start();
    const path = `/openai/v1/realtime?model=x&${resumed}`;
    const client = await relay.connect({ path, token: relay.token({ subject: 'anonymous' }) });
    await client.next('session.created');
    client.ws.terminate();
    expect(await relay.logged('session.ended')).toMatchObject({ subject: 'anonymous', reason: 'normal' });
    expect(client.types()).not.toContain('relay.resumable');
  });
});

describe('a session that loses both its connections', () => {
  it('goes on over two others: a fact of before is known, and the client is told that it has another upstream', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await ReturningClient.start({ address: relay.address, token: relay.token() });
    const text = 'Please remember that my parrot is called Nemo.';
    const content = [{ type: 'input_text', text }];
    client.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    await client.client.next('conversation.item.added');
    for (const times of [1, 2]) {
      client.client.ws.terminate();
      await relay.logged('session.detached', times);
      emulator.control.faults.strike('die_mid_response');
      await relay.logged('session.replaced', times);
      expect(await client.resume()).toMatchObject({ type: 'relay.resumed', continuity: 'transcript_only' });
      await until(() => client.messages.filter((one) => one.includes('relay.upstream_replaced')).length === times);
      expect(await say(client.client, 'What is my parrot called?')).toContain('Nemo');
      // The test has sent without the client's knowing.
      client.sent += 2;
    }
    expect(emulator.control.received.connections).toHaveLength(3);
  });
});

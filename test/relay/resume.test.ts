import { describe, expect, it, vi } from 'vitest';
import { begin } from '../support/answer.js';
import { type Cable, layCable } from '../support/cable.js';
import { connect, refused, type TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { startTestRelay, type TestRelay } from '../support/relay.js';
import { ReturningClient } from '../support/returning.js';
import { startUpstream } from '../support/upstream.js';

const preview = '/openai/realtime?api-version=2025-04-01-preview&deployment=x';

/** A relay whose upstream says only what the test says, and a client at the other end of a cable. */
async function start(yaml = '', path?: string) {
  const upstream = await startUpstream();
  const relay = await startTestRelay({ upstream: upstream.url, yaml });
  const cable = await layCable(relay.address);
  const client = await ReturningClient.start({ address: cable.address, token: relay.token(), ...(path && { path }) });
  const { ws } = await upstream.connected();
  begin(ws, 'resp_1');
  return { upstream, relay, cable, client, says: (event: object) => ws.send(JSON.stringify(event)) };
}

/** Cuts the cable and waits until the relay knows. */
async function lose(cable: Cable, relay: TestRelay, times = 1): Promise<void> {
  cable.cut();
  await relay.logged('session.detached', times);
}

const speech = (index: number, response = 'resp_1') => ({
  type: 'response.output_audio.delta',
  event_id: `event_${index}`,
  response_id: response,
  item_id: 'item_1',
  output_index: 0,
  content_index: 0,
  delta: Buffer.alloc(480, index).toString('base64'),
});

const voice = (index: number) => ({
  type: 'input_audio_buffer.append',
  audio: Buffer.alloc(480, index).toString('base64'),
});

const deltas = (messages: readonly string[]) =>
  messages.filter((text) => text.includes('audio.delta')).map((text) => Number(/event_(\d+)/.exec(text)?.[1]));

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

const until = (probe: () => boolean) => vi.waitFor(() => expect(probe()).toBe(true), { interval: 5, timeout: 5000 });

describe('a client that loses its connection', () => {
  it.each([
    ['GA', undefined],
    ['preview', preview],
  ])('goes on with its session, and each message has come once and in order, both ways: %s', async (_, path) => {
    const { upstream, relay, cable, client, says } = await start('', path);
    for (let round = 1; round <= 3; round++) {
      const from = (round - 1) * 100;
      for (const index of range(from, from + 50)) says(speech(index));
      for (const index of range(from, from + 50)) client.send(voice(index));
      await until(() => deltas(client.messages).length > from);
      await lose(cable, relay, round);
      for (const index of range(from + 50, from + 100)) says(speech(index));
      for (const index of range(from + 50, from + 100)) client.send(voice(index));
      expect(await client.resume()).toMatchObject({
        type: 'relay.resumed',
        epoch: round + 1,
        continuity: 'full',
        missed: { messages: 0, audio_ms: 0 },
      });
    }
    await until(() => deltas(client.messages).length === 300);
    expect(deltas(client.messages)).toEqual(range(0, 300));
    const texts = await upstream.received(300);
    expect(texts).toEqual(range(0, 300).map((index) => JSON.stringify(voice(index))));
    expect(upstream.connections).toHaveLength(1);
    expect(relay.relay.sessions.size).toBe(1);
    expect(await relay.metric('relay_resumes_total', { outcome: 'ok' })).toBe(3);
  });

  it('loses nothing when the answer to its resumption is lost, twice', async () => {
    const { upstream, relay, cable, client, says } = await start();
    for (const index of range(0, 10)) says(speech(index));
    await until(() => deltas(client.messages).length === 10);
    await lose(cable, relay);
    for (const index of range(10, 20)) says(speech(index));
    for (const index of range(0, 10)) client.send(voice(index));
    for (const times of [2, 3]) {
      cable.isDeaf = true;
      const unheard = expect(
        connect(client.url(), { protocols: client.protocols(undefined, client) }),
      ).rejects.toThrow();
      await relay.logged('session.resumed', times - 1);
      cable.isDeaf = false;
      await lose(cable, relay, times);
      await unheard;
    }
    expect(await client.resume()).toMatchObject({ type: 'relay.resumed', epoch: 4, continuity: 'full' });
    await until(() => deltas(client.messages).length === 20);
    expect(deltas(client.messages)).toEqual(range(0, 20));
    expect(await upstream.received(10)).toEqual(range(0, 10).map((index) => JSON.stringify(voice(index))));
  });
});

/** What becomes of somebody who shows this: the session that they get, and how the relay has counted it. */
async function shown(
  relay: TestRelay,
  client: ReturningClient,
  outcome: string,
  { token = relay.token(), path, ...what }: { token?: string; path?: string; with?: string; received?: number } = {},
) {
  const before = await relay.metric('relay_resumes_total', { outcome });
  const protocols = client.protocols(token, {
    token: what.with ?? client.token,
    received: what.received ?? client.received,
  });
  const url = path === undefined ? client.url() : `${relay.address}${path}&relay_events=on&resume=on`;
  const anew = await connect(url.replace(/^ws:..[^/]+/, relay.address), { protocols });
  const first = await anew.next(() => true);
  expect(await relay.metric('relay_resumes_total', { outcome })).toBe(before + 1);
  const status = await refused(url.replace(/^ws:..[^/]+/, relay.address).replace('resume=on', 'resume=required'), {
    protocols,
  });
  expect(status).toMatchObject({ status: 409, body: { error: { code: 'resume_refused', retryable: false } } });
  anew.ws.close(1000);
  await anew.closed;
  return (first.session as { id: string }).id;
}

const idOf = (token: string) => /^rr_(sess_[0-9a-f]{32})_/.exec(token)?.[1];

describe('resume_refused: somebody who may not go on with a session', () => {
  const profiles = 'profiles: { default: {}, other: {} }';

  it.each<[string, string, (relay: TestRelay, client: ReturningClient) => Parameters<typeof shown>[3]]>([
    ['another user', 'other_user', (relay) => ({ token: relay.token({ subject: 'mallory' }) })],
    ['the same name in another tenant', 'other_user', (relay) => ({ token: relay.token({ tenant: 'acme' }) })],
    ['with another profile', 'other_user', (relay) => ({ token: relay.token({ profile: 'other' }) })],
    ['in another dialect', 'other_user', () => ({ path: preview })],
    [
      'with a token of the same session that is none',
      'unknown',
      (_, { token }) => ({ with: `${token.slice(0, -4)}AAAA` }),
    ],
    ['with a token of no session', 'unknown', (_, { token }) => ({ with: token.replace(/_[0-9a-f]{8}/, '_00000000') })],
    ['with what is no token', 'unknown', () => ({ with: 'rr' })],
    ['with more messages than were sent', 'unknown', (_, { received }) => ({ received: received + 1000 })],
  ])('gets a session of their own, or 409: %s', async (_, outcome, what) => {
    const { relay, cable, client } = await start(profiles);
    await lose(cable, relay);
    expect(await shown(relay, client, outcome, what(relay, client))).not.toBe(idOf(client.token));
    // And the session waits for whom it is of, none the wiser.
    expect(await client.resume()).toMatchObject({ type: 'relay.resumed', epoch: 2, continuity: 'full' });
    expect(await relay.logged('session.not_resumed')).toMatchObject({ level: 'warn', outcome });
  });

  it('gets none with a count that was acknowledged long ago', async () => {
    const { upstream, relay, cable, client, says } = await start();
    for (const index of range(0, 10)) says(speech(index));
    await until(() => deltas(client.messages).length === 10);
    client.acknowledge();
    client.send(voice(0));
    await upstream.received(1);
    await lose(cable, relay);
    await shown(relay, client, 'unknown', { received: 1 });
  });

  it('gets none with a token that was used up', async () => {
    const { upstream, relay, cable, client } = await start();
    const first = client.token;
    await lose(cable, relay);
    await client.resume();
    client.send(voice(0));
    await upstream.received(1);
    await lose(cable, relay, 2);
    // The client has proved that it has another one.
    await shown(relay, client, 'reused', { with: first });
    expect(await client.resume()).toMatchObject({ type: 'relay.resumed', epoch: 3 });
  });

  it('is told after the 21st time within a minute, and it is theirs again after that', async () => {
    const { pass } = holdTime();
    const { relay, client } = await start('profiles: { default: { limits: { connects_burst: 100 } } }');
    for (let times = 1; times <= 20; times++) expect((await client.resume()).type).toBe('relay.resumed');
    const status = await refused(client.url(), { protocols: client.protocols(undefined, client) });
    expect(status).toMatchObject({ status: 409, body: { error: { code: 'resume_refused' } } });
    expect(relay.relay.sessions.size).toBe(1);
    await pass(61);
    expect((await client.resume()).type).toBe('relay.resumed');
  });

  it('rate_limited: comes back as often as sessions may begin', async () => {
    const { relay, client } = await start('profiles: { default: { limits: { connects_burst: 3 } } }');
    for (let times = 1; times <= 2; times++) expect((await client.resume()).type).toBe('relay.resumed');
    const status = await refused(client.url(), { protocols: client.protocols(undefined, client) });
    expect(status).toMatchObject({ status: 429, body: { error: { code: 'rate_limited' } } });
    expect(relay.relay.sessions.size).toBe(1);
  });
});

describe('a session whose client comes back while its connection still looks open', () => {
  it('superseded: goes on over the newer one, and the older one is told', async () => {
    const { relay, client, says, upstream } = await start();
    const older = client.client;
    for (const index of range(0, 20)) says(speech(index));
    await until(() => deltas(client.messages).length > 0);
    expect(await client.resume()).toMatchObject({ type: 'relay.resumed', continuity: 'full' });
    expect(await older.closed).toEqual({ code: 1008, reason: 'superseded' });
    expect(await older.next('error')).toMatchObject({ error: { code: 'superseded', retryable: false } });
    for (const index of range(20, 40)) says(speech(index));
    for (const index of range(0, 20)) client.send(voice(index));
    await until(() => deltas(client.messages).length === 40);
    expect(deltas(client.messages)).toEqual(range(0, 40));
    expect(await upstream.received(20)).toEqual(range(0, 20).map((index) => JSON.stringify(voice(index))));
    expect(await relay.metric('relay_resumes_total', { outcome: 'superseded' })).toBe(1);
  });

  it('is gone on with by one of two that come at once', async () => {
    const { relay, cable, client } = await start();
    await lose(cable, relay);
    const protocols = client.protocols(undefined, client);
    const both = await Promise.all([1, 2].map(() => connect(client.url(), { protocols })));
    const greetings = await Promise.all(both.map((one) => one.next(() => true)));
    // The answer to the first may have been lost, so the second has it; neither got anything of another session.
    expect(greetings.map(({ type }) => type)).toEqual(['relay.resumed', 'relay.resumed']);
    expect(await (both[0] as TestClient).closed).toEqual({ code: 1008, reason: 'superseded' });
    expect(relay.relay.sessions.size).toBe(1);
  });
});

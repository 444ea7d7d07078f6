import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Session } from '../../src/session/session.js';
import { at, begin } from '../support/answer.js';
import { connect, refused, type TestClient } from '../support/client.js';
import { startMeasuredRelay } from '../support/memory.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { attach, backend, both, following, opened, read, talking } from '../support/sideband.js';
import { startUpstream } from '../support/upstream.js';

const clear = { type: 'input_audio_buffer.clear' };
const text = { type: 'response.create', response: { output_modalities: ['text'] } };

/** The answer to who may not follow. */
async function refusal({ address }: TestRelay, id: string, jwt: string) {
  const url = `${address}/v1/relay/sessions/${id}/sideband`;
  const { status, body, headers } = await refused(url, { headers: { authorization: `Bearer ${jwt}` } });
  return { status, code: body.error.code, retryAfter: headers['retry-after'] };
}

function revoke({ relay, token }: TestRelay, body: object) {
  return fetch(`${relay.url}/v1/relay/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token({ subject: 'admin', claims: { scope: 'relay.revoke' } })}` },
    body: JSON.stringify(body),
  });
}

describe('a slow sideband', () => {
  const words = (n: number) => ({
    type: 'response.output_text.delta',
    event_id: `event_${n}`,
    response_id: 'resp_1',
    item_id: 'item_1',
    output_index: 0,
    content_index: 0,
    // Not on the fast path.
    delta: `${'x'.repeat(100_000)}\\u00e9`,
  });

  async function flooded(yaml = '') {
    const upstream = await startUpstream();
    const relay = await startTestRelay({ upstream: upstream.url, yaml });
    const { client, id } = await talking(relay);
    const { ws } = await upstream.connected();
    const [slow, quick] = [await following(relay, id), await following(relay, id)];
    slow.ws.pause();
    return {
      ...{ relay, id, client, slow, quick },
      /** Each is taken by the other one, so that all has been told. */
      async send(from: number, count: number) {
        for (let n = from; n < from + count; n++) {
          ws.send(JSON.stringify(words(n)));
          await quick.next('response.output_text.delta');
        }
      },
    };
  }

  it('finds a gap where events are missing, as many as it says, and nothing else is missing', async () => {
    const { slow, quick, send, client, relay } = await flooded();
    await send(0, 120);
    slow.ws.resume();
    const { dropped } = await slow.next('relay.gap');
    await send(120, 1);
    await slow.next(({ event_id }) => event_id === 'event_120');
    const ids = (sideband: TestClient) =>
      sideband.events.flatMap(({ type, event_id }) => (/delta/.test(type) ? event_id : []));
    expect(ids(quick)).toHaveLength(121);
    expect(dropped).toBeGreaterThan(10);
    expect(ids(slow)).toHaveLength(121 - Number(dropped));
    const before = slow.types().indexOf('relay.gap') - 1;
    expect(ids(slow).slice(0, before)).toEqual(ids(quick).slice(0, before));
    expect(quick.types()).not.toContain('relay.gap');
    slow.ws.close();
    expect(await relay.logged('control.detached')).toMatchObject({ by: 'backend', sent: 0, dropped, audit: true });
    expect(client.ws.readyState).toBe(client.ws.OPEN);
  });

  it('is told of the end behind the gap', async () => {
    const { slow, send, client } = await flooded();
    await send(0, 120);
    client.ws.close(1000);
    slow.ws.resume();
    expect(await slow.closed).toEqual({ code: 1000, reason: 'normal' });
    expect(slow.types().slice(-2)).toEqual(['relay.gap', 'relay.session_ended']);
  });

  it('costs less than two megabytes, however much it does not read, and its client hears all', async () => {
    const [readers, pieces] = [8, 250];
    const upstream = await startUpstream();
    const relay = await startMeasuredRelay({ upstream: upstream.url, yaml: '{}' });
    onTestFinished(() => relay.close());
    const open = (path: string, key: string) => connect(relay.address + path, { headers: { 'api-key': key } });
    const client = await open('/v1/realtime?model=x', relay.token());
    const { session } = await client.next('session.created');
    const { id } = session as { id: string };
    const { ws } = await upstream.connected();
    for (let n = 0; n < readers; n++) {
      const sideband = await open(`/v1/realtime?call_id=${id}&audio=on`, relay.token('backend', { scope: read }));
      await sideband.next('session.created');
      sideband.ws.pause();
    }
    begin(ws, 'resp_1');
    await client.next('response.output_item.added');
    const before = await relay.sample();
    const delta = 'A'.repeat(64 * 1024);
    for (let n = 0; n < pieces; n++) {
      ws.send(JSON.stringify({ type: 'response.output_audio.delta', ...at, response_id: 'resp_1', delta }));
      await client.next('response.output_audio.delta');
    }
    const after = await relay.sample();
    const grown = after.external + after.heap - before.external - before.heap;
    expect(grown / readers).toBeLessThan(2 * 1024 * 1024);
    // As much as may wait for each does, so that what is measured is all that it can cost.
    expect(grown / readers).toBeGreaterThan(512 * 1024);
  });

  it('slow_consumer: goes before any session does where memory is short', async () => {
    const { relay, id, slow, quick, client, send } = await flooded('limits: { buffered_bytes: 1048576 }\n');
    const all = [slow, await following(relay, id), await following(relay, id)];
    for (const { ws } of all) ws.pause();
    await send(0, 120);
    await relay.logged('control.detached', 2);
    for (const { ws } of all) ws.resume();
    expect(await Promise.race(all.map(({ closed }) => closed))).toEqual({ code: 1013, reason: 'slow_consumer' });
    expect([client.ws.readyState, quick.ws.readyState]).toEqual([client.ws.OPEN, quick.ws.OPEN]);
    expect(relay.log.filter(({ msg }) => msg === 'session.shed')).toEqual([]);
  });

  it('slow_consumer: is closed when it takes nothing for too long, and disturbs nobody', async () => {
    const { slow, quick, send, client } = await flooded('limits: { stall_seconds: 1 }\n');
    await send(0, 120);
    await vi.waitFor(() => expect(slow.ws.readyState).toBe(slow.ws.OPEN));
    setTimeout(() => slow.ws.resume(), 3000);
    expect(await slow.closed).toEqual({ code: 1013, reason: 'slow_consumer' });
    expect(client.ws.readyState).toBe(client.ws.OPEN);
    await send(120, 1);
    expect(quick.types()).not.toContain('relay.gap');
  });
});

describe('a sideband that sends too fast', () => {
  it('is held, not refused, and all that it sent is carried out in order', async () => {
    const { emulator, relay, id } = await opened();
    const sideband = await following(relay, id);
    const count = 1100;
    for (let n = 0; n < count; n++) sideband.send({ ...clear, event_id: `e${n}` });
    const cleared = () => emulator.control.received.events('input_audio_buffer.clear').length;
    await vi.waitFor(() => expect(cleared()).toBeGreaterThan(999), { interval: 20 });
    expect(cleared()).toBeLessThan(count);
    await vi.waitFor(() => expect(cleared()).toBe(count), { timeout: 4000, interval: 20 });
    expect(sideband.types()).not.toContain('error');
    expect(await relay.metric('relay_sidebands_active')).toBe(1);
  });

  it('is held by its bytes as well', async () => {
    const { emulator, relay, id } = await opened();
    const sideband = await following(relay, id);
    const content = [{ type: 'input_text', text: 'x'.repeat(900_000) }];
    const item = { type: 'message', role: 'system', content };
    for (let n = 0; n < 12; n++) sideband.send({ type: 'conversation.item.create', item });
    const created = () => emulator.control.received.events('conversation.item.create').length;
    await vi.waitFor(() => expect(created()).toBeGreaterThan(8), { timeout: 4000, interval: 5 });
    expect(created()).toBeLessThan(12);
    await vi.waitFor(() => expect(created()).toBe(12), { timeout: 4000, interval: 20 });
    expect(sideband.types()).not.toContain('error');
  });
});

describe('sidebands', () => {
  it('rate_limited: are as many as may be, of the instance and of one session', async () => {
    const { relay, id } = await opened({ yaml: 'limits: { sidebands: 3, sidebands_per_session: 2 }\n' });
    const other = await talking(relay, { subject: 'bob' });
    const [one] = [await following(relay, id), await following(relay, id)];
    expect(await refusal(relay, id, backend(relay))).toEqual({ status: 429, code: 'rate_limited', retryAfter: '1' });
    // One backend has no more than one session may have; another one has the place that is left.
    const others = relay.token({ subject: 'other', claims: { scope: read } });
    await following(relay, other.id, { token: others });
    expect(await refusal(relay, other.id, others)).toMatchObject({ status: 429 });
    one?.ws.close();
    await relay.logged('control.detached');
    await following(relay, id, { token: others });
    const shown = await fetch(`${relay.relay.url}/v1/relay/sessions/${id}`, {
      headers: { authorization: `Bearer ${backend(relay)}` },
    });
    expect(await shown.json()).toMatchObject({ sidebands: 2 });
  });

  it('are nobody’s where there may be none', async () => {
    const { relay, id } = await opened({ yaml: 'limits: { sidebands: 0 }\n' });
    expect(await refusal(relay, id, backend(relay))).toMatchObject({ status: 429 });
  });

  it('overloaded: are refused while the instance is busy', async () => {
    const { relay, id } = await opened();
    relay.relay.sessions.letIn(0);
    expect(await refusal(relay, id, backend(relay))).toMatchObject({ status: 503, code: 'overloaded' });
  });

  it('token_expired: end with their tokens', async () => {
    const { relay, id, client } = await opened();
    const sideband = await following(relay, id, { token: backend(relay, read, { ttlSeconds: 2 }) });
    expect((await sideband.next('error')).error).toMatchObject({ code: 'token_expired', event_id: null });
    expect(await sideband.closed).toEqual({ code: 1008, reason: 'token_expired' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('outlive their tokens by others with the same rights', async () => {
    const { relay, id } = await opened();
    const sideband = await following(relay, id, { token: backend(relay, read, { ttlSeconds: 2 }) });
    const next = backend(relay, both, { ttlSeconds: 600 });
    sideband.send({ type: 'relay.authenticate', event_id: 'a', token: relay.token() });
    expect((await sideband.next('error')).error).toMatchObject({ code: 'renewal_refused', event_id: 'a' });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    sideband.send({ type: 'relay.authenticate', token: next });
    const { expires_at } = await sideband.next('relay.authenticated');
    expect(Number(expires_at) * 1000).toBeGreaterThan(Date.now() + 500_000);
    // What the new token may is what counts.
    sideband.send(text);
    await sideband.next('response.done');
    sideband.send({ type: 'relay.takeover', on: true });
    expect(await sideband.next('relay.taken_over')).toMatchObject({ on: true, by: 'backend' });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(sideband.ws.readyState).toBe(sideband.ws.OPEN);
    expect(relay.log.filter(({ code }) => code === 'renewal_refused')).toMatchObject([
      { msg: 'control.request', verb: 'sideband', outcome: 'refused', audit: true },
    ]);
    expect(JSON.stringify(relay.log)).not.toContain(next);
  });

  it('revoked: end when their tokens are withdrawn', async () => {
    const { relay, id, client } = await opened();
    const sideband = await following(relay, id);
    expect((await revoke(relay, { sub: 'backend' })).status).toBe(200);
    expect(await sideband.closed).toEqual({ code: 1008, reason: 'revoked' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('are told that their session drains, and end with it', async () => {
    const emulator = await startTestEmulator({ speed: 1 });
    const relay = await startTestRelay({ upstream: emulator.url });
    const { client, id } = await talking(relay);
    const sideband = await following(relay, id);
    client.send({ type: 'response.create' });
    await client.next('response.created');
    const drained = relay.relay.drain();
    await sideband.next('relay.draining');
    // What lives can be followed, whatever awaits it.
    const late = await following(relay, id);
    expect(await sideband.next('relay.session_ended')).toMatchObject({ reason: 'draining' });
    expect(await sideband.closed).toEqual({ code: 1000, reason: 'draining' });
    expect(await late.closed).toEqual({ code: 1000, reason: 'draining' });
    await drained;
  });

  it('wait for a session that is being opened, and hear all of it', async () => {
    let accept: () => void = () => undefined;
    const until = new Promise<void>((resolve) => {
      accept = resolve;
    });
    const upstream = await startUpstream({ until });
    const relay = await startTestRelay({ upstream: upstream.url });
    const [client, other] = [await relay.connect(), await relay.connect()];
    const [session, over] = [...relay.relay.sessions];
    const [sideband, early] = [await attach(relay, String(session?.id)), await attach(relay, String(over?.id))];
    other.ws.close();
    expect(await early.closed).toEqual({ code: 1000, reason: 'normal' });
    expect(early.types()).toEqual(['relay.session_ended']);
    expect(sideband.events).toEqual([]);
    accept();
    await client.next('session.created');
    expect(await sideband.next('session.created')).toMatchObject({ session: { id: session?.id } });
    const { ws } = await upstream.connected();
    ws.send(JSON.stringify({ type: 'input_audio_buffer.cleared', event_id: 'event_3' }));
    await sideband.next('input_audio_buffer.cleared');
    expect(sideband.types()).toEqual(['session.created', 'input_audio_buffer.cleared']);
  });

  it('internal: end alone when the relay fails them', async () => {
    const { relay, id, client } = await opened();
    const sideband = await following(relay, id);
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    Object.assign(relay.relay.sessions.find(id) as Session, {
      overview() {
        throw new Error('a fault of the relay');
      },
    });
    sideband.send({ type: 'session.update', session: { instructions: 'Be brief.' } });
    expect((await sideband.next('error')).error).toMatchObject({ code: 'internal' });
    expect(await sideband.closed).toEqual({ code: 1011, reason: 'internal' });
    expect(warned).toHaveBeenCalledOnce();
    warned.mockRestore();
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(await relay.logged('control.detached')).toMatchObject({ sent: 1 });
  });

  it('are told what is said, turn by turn, up to the end', async () => {
    const { relay, id, client } = await opened({
      yaml: 'profiles:\n  default:\n    transcripts: { sideband: true }\n',
    });
    const sideband = await following(relay, id);
    await client.ask('Hi');
    client.ws.close();
    const { item } = await sideband.next('relay.transcript_item');
    expect(item).toMatchObject({ role: 'user', text: 'Hi', seq: 2 });
    await sideband.closed;
    expect(sideband.types().filter((type) => type.startsWith('relay.'))).toEqual([
      'relay.transcript_item',
      'relay.transcript_item',
      'relay.session_ended',
    ]);
  });
});

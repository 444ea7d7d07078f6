import { describe, expect, it } from 'vitest';
import { connect, refused, type TestClient } from '../support/client.js';
import { say, startLasting, talk } from '../support/continuity.js';
import { startTestEmulator } from '../support/relay.js';
import { attach, backend, both, following, opened, read } from '../support/sideband.js';

const text = { type: 'response.create', response: { output_modalities: ['text'] } };

const spoken = {
  type: 'message',
  role: 'user',
  content: [{ type: 'input_audio', audio: Buffer.alloc(4800).toString('base64') }],
};

describe('a sideband', () => {
  it('is told the whole session first, and then all that upstream says, without the sound', async () => {
    const { relay, client, id } = await opened({
      yaml: 'profiles:\n  default:\n    session: { instructions: "Never tell the code 4711." }\n',
    });
    const sideband = await attach(relay, id, { scope: read });
    const { session } = await sideband.next('session.created');
    expect(session).toMatchObject({ id, instructions: 'Never tell the code 4711.' });
    client.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
    });
    client.send({ type: 'response.create' });
    await client.next('response.done');
    await sideband.next('response.done');
    const own = (types: string[]) => types.filter((type) => !/^session|audio\.delta/.test(type));
    expect(own(sideband.types())).toEqual(own(client.types()));
    expect(sideband.types()).not.toContain('response.output_audio.delta');
    expect(client.raw.join()).not.toContain('4711');
  });

  it('says what it wants said, and its client is shown the answer alone', async () => {
    const { relay, client, id } = await opened();
    const sideband = await attach(relay, id);
    await sideband.next('session.created');
    sideband.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Offer 4711.' }] },
    });
    sideband.send(text);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'completed' });
    await sideband.next('response.done');
    expect(sideband.raw.join()).toContain('Offer 4711.');
    expect(client.raw.slice(1).join()).not.toMatch(/Offer 4711|"error"/);
  });

  it('is told what upstream refuses of its own by its own id, and of others by none', async () => {
    const { relay, client, id } = await opened();
    const [one, two] = [await attach(relay, id), await attach(relay, id)];
    await Promise.all([one.next('session.created'), two.next('session.created')]);
    one.send({ type: 'response.cancel', event_id: 'mine' });
    expect((await one.next('error')).error).toMatchObject({ code: 'response_cancel_not_active', event_id: 'mine' });
    expect((await two.next('error')).error).toMatchObject({ code: 'response_cancel_not_active', event_id: null });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(client.types()).not.toContain('error');
  });

  it('is told what upstream refuses of what came by request, by the id that was answered', async () => {
    const { relay, client, id } = await opened();
    const all = [await following(relay, id), await following(relay, id, { scope: read })];
    const answer = await fetch(`${relay.relay.url}/v1/relay/sessions/${id}/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${backend(relay)}` },
      body: JSON.stringify({ type: 'response.cancel' }),
    });
    const { event_ids } = (await answer.json()) as { event_ids: string[] };
    for (const sideband of all) {
      expect((await sideband.next('error')).error).toMatchObject({ event_id: event_ids[0] });
    }
    expect(client.types()).not.toContain('error');
  });

  it('that may only observe is told so, and nothing is sent', async () => {
    const { emulator, relay, id } = await opened();
    const sideband = await attach(relay, id, { scope: read });
    await sideband.next('session.created');
    const count = emulator.control.received.events().length;
    sideband.send({ ...text, event_id: 'a' });
    const { error } = await sideband.next('error');
    expect(error).toMatchObject({ code: 'forbidden', event_id: 'a' });
    expect(error).not.toHaveProperty('retryable');
    expect(emulator.control.received.events()).toHaveLength(count);
  });

  it.each([
    ['speech', { type: 'input_audio_buffer.append', audio: 'AAAA' }, 'event_not_allowed'],
    ['an unknown event', { type: 'x.y' }, 'event_not_allowed'],
    ['a faulty item', { type: 'conversation.item.create' }, 'missing_required_parameter'],
  ])('that sends %s is told what is wrong, and goes on', async (_, event, code) => {
    const { relay, id } = await opened();
    const sideband = await attach(relay, id);
    await sideband.next('session.created');
    sideband.send(event);
    const { error } = await sideband.next('error');
    expect(error).toMatchObject({ code });
    expect(error).not.toHaveProperty('retryable');
    sideband.send(text);
    await sideband.next('response.done');
  });

  it('that sends what could be read in two ways is told so, and goes on', async () => {
    const { relay, id } = await opened();
    const sideband = await following(relay, id);
    sideband.ws.send('{"type":"response.create","type":"session.update"}');
    const { error } = await sideband.next('error');
    expect(error).toMatchObject({ code: 'bad_event', event_id: null });
    expect(error).not.toHaveProperty('retryable');
    sideband.send(text);
    await sideband.next('response.done');
  });

  it('that breaks the protocol is closed alone', async () => {
    const { relay, client, id } = await opened();
    const [one, two, three] = [await attach(relay, id), await attach(relay, id), await attach(relay, id)];
    one.ws.send('{');
    two.ws.send(Buffer.from([1]));
    three.send({ ...text, pad: 'x'.repeat(1024 * 1024) });
    expect(await one.closed).toEqual({ code: 1007, reason: 'bad_event' });
    expect(await two.closed).toEqual({ code: 1003, reason: 'unsupported_data' });
    expect(await three.closed).toEqual({ code: 1009, reason: 'too_big' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('follows a session from one connection to upstream to the next, of which it is shown nothing', async () => {
    const emulator = await startTestEmulator();
    const relay = await startLasting(emulator);
    const client = await talk(relay);
    const [session] = [...relay.relay.sessions];
    const sideband = await following(relay, String(session?.id));
    await say(client, 'Please remember that my parrot is called Nemo.');
    emulator.control.faults.strike('die_mid_response');
    await client.next('relay.upstream_replaced');
    sideband.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Be brief.' }] },
    });
    expect(await say(client, 'What is my parrot called?')).toContain('Nemo');
    for (let answer = 0; answer < 2; answer++) await sideband.next('response.done');
    const itemsOf = ({ events }: TestClient) =>
      events.flatMap(({ type, item }) => (type === 'conversation.item.added' ? [(item as { id: string }).id] : []));
    // Its own, which the client is not shown.
    expect(itemsOf(sideband)).toHaveLength(itemsOf(client).length + 1);
    expect(new Set(itemsOf(sideband)).size).toBe(itemsOf(sideband).length);
    expect(sideband.types().filter((type) => type === 'session.created')).toHaveLength(1);
    const late = await attach(relay, String(session?.id));
    expect((await late.next('session.created')).session).toMatchObject({ id: session?.id });
  });

  it('is told how its session ends, and is closed behind that', async () => {
    const { relay, client, id } = await opened();
    const sideband = await attach(relay, id);
    await sideband.next('session.created');
    client.ws.close(1000);
    expect(await sideband.next('relay.session_ended')).toMatchObject({ reason: 'normal' });
    expect(await sideband.closed).toEqual({ code: 1000, reason: 'normal' });
  });

  it('shows what the client sends where that is asked for, by its own id', async () => {
    const { relay, client, id } = await opened();
    const sideband = await attach(relay, id, { query: '?client_events=on' });
    await sideband.next('session.created');
    client.send({ ...text, event_id: 'mine' });
    const { event } = await sideband.next('relay.client_event');
    expect(event).toMatchObject({ type: 'response.create', event_id: 'mine' });
    expect(JSON.stringify(event)).not.toContain('rly');
    await sideband.next('response.done');
  });

  it('shows sound where that is asked for', async () => {
    const { relay, client, id } = await opened();
    const sideband = await attach(relay, id, { query: '?audio=on' });
    await sideband.next('session.created');
    client.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
    });
    client.send({ type: 'response.create' });
    await sideband.next('response.output_audio.delta');
  });

  it('sees no credentials of the tools of others, whoever sets them and wherever they stand', async () => {
    const secret = { authorization: 'tell-nobody', headers: { 'x-key': 'tell-nobody' } };
    const tool = { type: 'mcp', server_label: 'a', server_url: 'https://a.test', require_approval: 'never', ...secret };
    const { relay, client, id } = await opened({ yaml: 'profiles:\n  default:\n    client: { trust: trusted }\n' });
    const first = await attach(relay, id, { query: '?client_events=on' });
    await first.next('session.created');
    client.send({ ...text, response: { ...text.response, tools: [tool] } });
    const { event } = await first.next('relay.client_event');
    expect(event).toMatchObject({
      response: { tools: [{ ...tool, authorization: '[redacted]', headers: '[redacted]' }] },
    });
    await first.next('response.done');
    first.send({ type: 'session.update', session: { tools: [{ ...tool, server_label: 'b' }] } });
    const { session } = await first.next('session.updated');
    expect(session).toMatchObject({ tools: [{ server_label: 'b', authorization: '[redacted]' }] });
    const second = await attach(relay, id);
    expect((await second.next('session.created')).session).toMatchObject({ tools: [{ server_label: 'b' }] });
    expect(first.raw.join() + second.raw.join()).not.toContain('tell-nobody');
  });

  it('has an item again, which its client is not shown', async () => {
    const { relay, client, id } = await opened();
    const sideband = await attach(relay, id);
    await sideband.next('session.created');
    client.send({ type: 'conversation.item.create', item: spoken });
    const { item } = await sideband.next('conversation.item.done');
    sideband.send({ type: 'conversation.item.retrieve', item_id: (item as { id: string }).id });
    const retrieved = await sideband.next('conversation.item.retrieved');
    expect(retrieved.item).toMatchObject({ content: [{ type: 'input_audio' }] });
    expect(JSON.stringify(retrieved)).not.toContain('"audio":"');
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(client.types()).not.toContain('conversation.item.retrieved');
  });

  it('comes by the id of a call on the paths of sessions, as official clients do', async () => {
    const { relay, id } = await opened();
    const sideband = await relay.connect({ path: `/v1/realtime?call_id=${id}`, token: backend(relay) });
    expect((await sideband.next('session.created')).session).toMatchObject({ id });
  });

  it('is for who has the right, within reach, and to what is there', async () => {
    const { relay, id } = await opened();
    const url = (path: string) => `${relay.relay.url.replace('http', 'ws')}${path}`;
    const ask = async (path: string, jwt: string) => {
      const { status, body } = await refused(url(path), { headers: { authorization: `Bearer ${jwt}` } });
      return [status, body.error.code];
    };
    const own = `/v1/relay/sessions/${id}/sideband`;
    expect(await ask(own, relay.token())).toEqual([403, 'forbidden']);
    expect(await ask(own, backend(relay, 'relay.sessions.write'))).toEqual([403, 'forbidden']);
    expect(await ask(`/v1/realtime?call_id=${id}`, relay.token())).toEqual([403, 'forbidden']);
    expect(await ask(own, backend(relay, both, { tenant: 'acme' }))).toEqual([404, 'not_found']);
    expect(await ask(`/v1/relay/sessions/sess_${'0'.repeat(32)}/sideband`, backend(relay))).toEqual([404, 'not_found']);
    expect(await ask(`${own}?audio=yes`, backend(relay))).toEqual([400, 'bad_event']);
    expect(await ask(`/v1/realtime?call_id=${id}&call_id=${id}`, backend(relay))).toEqual([400, 'bad_event']);
    expect((await fetch(`${relay.relay.url}${own}`)).status).toBe(426);
    expect(await relay.logged('control.request')).toMatchObject({ verb: 'sideband', outcome: 'refused', audit: true });
  });

  it('is for pages of listed origins, by the subprotocol, and for no cookie and no client secret', async () => {
    const origin = 'https://desk.test';
    const { relay, id } = await opened({ env: { RELAY_ALLOWED_ORIGINS: origin } });
    const path = `/v1/relay/sessions/${id}/sideband`;
    const page = (jwt: string, from = origin) => ({
      protocols: ['realtime', `openai-insecure-api-key.${jwt}`],
      headers: { origin: from },
    });
    const sideband = await connect(`${relay.address}${path}`, page(backend(relay)));
    expect(sideband.ws.protocol).toBe('realtime');
    await sideband.next('session.created');
    // What a page cannot read of a handshake it is told on the socket.
    const other = await connect(`${relay.address}/v1/relay/sessions/sess_0/sideband`, page(backend(relay)));
    expect((await other.next('error')).error).toMatchObject({ code: 'not_found' });
    expect(await other.closed).toEqual({ code: 1008, reason: 'not_found' });
    const foreign = page(backend(relay), 'https://evil.test');
    expect((await refused(`${relay.address}${path}`, foreign)).status).toBe(403);
    expect((await refused(`${relay.address}${path}`, page(backend(relay), 'null'))).status).toBe(403);
    const cookie = { headers: { cookie: `token=${backend(relay)}` } };
    expect((await refused(`${relay.address}${path}`, cookie)).status).toBe(401);
    const minted = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${backend(relay)}` },
    });
    const { value } = (await minted.json()) as { value: string };
    const secret = { headers: { authorization: `Bearer ${value}` } };
    expect((await refused(`${relay.address}${path}`, secret)).status).toBe(403);
    // It is as good as before.
    const client = await relay.connect({ token: value });
    await client.next('session.created');
  });
});

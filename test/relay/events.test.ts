import { describe, expect, it } from 'vitest';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { call } from '../webrtc/caller.js';

const scope = 'relay.sessions.write';
const system = (text: string) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'system', content: [{ type: 'input_text', text }] },
});
const answer = { type: 'response.create', response: { output_modalities: ['text'] } };
const slow = { speed: 1 };

async function opened(options: { speed?: number } = {}) {
  const emulator = await startTestEmulator(options);
  return { emulator, relay: await startTestRelay({ upstream: emulator.url }) };
}

async function talking(relay: TestRelay, who: Parameters<TestRelay['token']>[0] = {}) {
  const client = await relay.connect({ token: relay.token(who) });
  const created = await client.next('session.created');
  return { client, id: (created.session as { id: string }).id };
}

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from test to test
  body: any;
  headers: Headers;
}

async function say(
  relay: TestRelay,
  id: string,
  body: unknown,
  {
    headers = {},
    tenant,
    subject = 'backend',
  }: { headers?: Record<string, string>; tenant?: string; subject?: string } = {},
): Promise<Answer> {
  const token = relay.token({ subject, claims: { scope }, ...(tenant !== undefined && { tenant }) });
  const reply = await fetch(`${relay.relay.url}/v1/relay/sessions/${id}/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: reply.status, body: await reply.json(), headers: reply.headers };
}

describe('a backend says something in a live session', () => {
  it('and the model answers by it, while the user is shown the answer and nothing else', async () => {
    const { emulator, relay } = await opened();
    const { client, id } = await talking(relay);
    const before = client.types().length;
    const said = await say(relay, id, { events: [{ ...system('Offer help.'), event_id: 'mine' }, answer] });
    expect(said.status).toBe(202);
    expect(said.body).toEqual({ object: 'list', event_ids: ['mine', expect.stringMatching(/^event_[0-9a-f]{32}$/)] });
    expect(said.headers.get('cache-control')).toBe('no-store');
    const { response } = await client.next('response.done');
    expect(response).toMatchObject({ status: 'completed', metadata: null });
    const seen = JSON.stringify(client.events.slice(before));
    expect(seen).not.toMatch(/Offer help|mine|rly_|"error"/);
    const sent = emulator.control.received.events().map(({ type }) => type);
    expect(sent.slice(-2)).toEqual(['conversation.item.create', 'response.create']);
    // The user goes on as if nothing had been.
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('as one event, whose fault is named without a list', async () => {
    const { relay } = await opened();
    const { id } = await talking(relay);
    expect((await say(relay, id, system('Be brief.'))).status).toBe(202);
    expect((await say(relay, id, { type: 'conversation.item.create' })).body.error).toMatchObject({ param: 'item' });
  });

  it('and who may not ask for an answer now is told so, with nothing of the list sent', async () => {
    const { emulator, relay } = await opened(slow);
    const { client, id } = await talking(relay);
    client.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Tell me a long story.' }] },
    });
    client.send({ type: 'response.create' });
    await client.next('response.created');
    const count = emulator.control.received.events().length;
    const busy = await say(relay, id, { events: [system('x'), answer] });
    expect(busy).toMatchObject({
      status: 409,
      body: { error: { code: 'conversation_already_has_active_response', retryable: true } },
    });
    expect(emulator.control.received.events()).toHaveLength(count);
    // Who ends it first may.
    const barge = await say(relay, id, { events: [{ type: 'response.cancel' }, system('Stop.'), answer] });
    expect(barge.status).toBe(202);
    expect((await client.next('response.done')).response).toMatchObject({ status: 'cancelled' });
    await client.next('response.created');
  });

  it('of another conversation than the user’s, and the user notices nothing', async () => {
    const { relay } = await opened();
    const { client, id } = await talking(relay);
    const before = client.types().length;
    const aside = { type: 'response.create', response: { conversation: 'none', output_modalities: ['text'] } };
    expect((await say(relay, id, aside)).status).toBe(202);
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(
      client
        .types()
        .slice(before)
        .filter((type) => type === 'response.created'),
    ).toHaveLength(1);
  });

  it('that upstream refuses: the log says so, and the user sees no error', async () => {
    const { relay } = await opened();
    const { client, id } = await talking(relay);
    const cancel = { type: 'response.cancel', event_id: 'too-late' };
    expect((await say(relay, id, cancel)).status).toBe(202);
    const line = await relay.logged('control.event_failed');
    expect(line).toMatchObject({ session: id, by: 'backend', eventId: 'too-late', code: 'response_cancel_not_active' });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(client.types()).not.toContain('error');
  });

  it.each<[string, unknown, number, string, string | null]>([
    ['what is no event', { events: [5] }, 400, 'bad_event', null],
    ['a bare list', [answer], 400, 'bad_event', null],
    ['an empty list', { events: [] }, 400, 'bad_event', null],
    ['more than 50', { events: Array.from({ length: 51 }, () => answer) }, 400, 'bad_event', null],
    ['something beside the list', { events: [answer], more: 1 }, 400, 'bad_event', null],
    ['nothing', '', 400, 'missing_required_parameter', 'type'],
    ['no JSON', '{', 400, 'bad_event', null],
    ['a key twice', '{"type":"response.create","type":"response.cancel"}', 400, 'bad_event', null],
    ['half a character', '{"type":"response.create","response":{"instructions":"\\ud800"}}', 400, 'bad_event', null],
    ['too much', JSON.stringify(system('x'.repeat(1024 * 1024))), 413, 'too_big', null],
    ['speech', { type: 'input_audio_buffer.append', audio: '' }, 400, 'event_not_allowed', 'type'],
    ['an unknown event', { events: [answer, { type: 'x.y' }] }, 400, 'event_not_allowed', 'events[1].type'],
    ['__proto__', { events: [{ type: '__proto__' }] }, 400, 'event_not_allowed', 'events[0].type'],
    ['a role that is none', { events: [system('a'), roled('developer')] }, 400, 'invalid_value', 'events[1].item.role'],
    ['an id of the relay', withId('rly_i1'), 400, 'invalid_value', 'item.id'],
    ['an id twice', { events: [named('a'), named('a')] }, 400, 'invalid_value', 'events[1].event_id'],
    ['an answer to a call', output(), 400, 'item_not_allowed', 'item.call_id'],
  ])('and %s is refused whole', async (_, body, status, code, param) => {
    const { emulator, relay } = await opened();
    const { client, id } = await talking(relay);
    const count = emulator.control.received.events().length;
    const refused = await say(relay, id, body);
    expect(refused).toMatchObject({ status, body: { error: { code, param, retryable: false } } });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(emulator.control.received.events()).toHaveLength(count + 2);
  });

  it('and nobody who has not the right, or the session', async () => {
    const { emulator, relay } = await opened();
    const { id } = await talking(relay, { tenant: 'acme' });
    const count = emulator.control.received.events().length;
    expect((await say(relay, id, answer, { tenant: 'globex' })).status).toBe(404);
    expect((await say(relay, `sess_${'0'.repeat(32)}`, answer)).status).toBe(404);
    const url = `${relay.relay.url}/v1/relay/sessions/${id}/events`;
    for (const [token, status] of [
      [relay.token(), 403],
      [relay.token({ subject: 'backend', claims: { scope: 'relay.sessions.read' } }), 403],
    ] as const) {
      const body = 'x'.repeat(2 * 1024 * 1024);
      const reply = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${token}` }, body });
      expect(reply.status).toBe(status);
    }
    expect((await fetch(url)).status).toBe(405);
    expect(emulator.control.received.events()).toHaveLength(count);
  });

  it('while the session is being opened: 409, to be sent again', async () => {
    const { emulator, relay } = await opened();
    emulator.control.faults.arm('ignore_update');
    await relay.connect();
    const token = relay.token({ subject: 'backend', claims: { scope: 'relay.sessions.read' } });
    const listed = await fetch(`${relay.relay.url}/v1/relay/sessions`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const { data } = (await listed.json()) as { data: { id: string }[] };
    expect(await say(relay, data[0]?.id ?? '', answer)).toMatchObject({
      status: 409,
      body: { error: { code: 'not_open', retryable: true } },
    });
  });

  it('in a call: what the browser would see of it is refused, an answer is not', async () => {
    const { relay } = await opened();
    const { id } = await call(relay);
    await relay.logged('session.opened');
    expect((await say(relay, id, system('x'))).body.error).toMatchObject({
      code: 'event_not_allowed',
      param: 'item.role',
    });
    const aside = { type: 'response.create', response: { conversation: 'none' } };
    expect((await say(relay, id, aside)).body.error).toMatchObject({ param: 'response.conversation' });
    expect((await say(relay, id, { type: 'response.create' })).status).toBe(202);
  });
});

describe('an Idempotency-Key', () => {
  const headers = { 'idempotency-key': 'one' };

  it('lets a request be sent again without being done again', async () => {
    const { emulator, relay } = await opened();
    const { client, id } = await talking(relay);
    const first = await say(relay, id, system('a'), { headers });
    const second = await say(relay, id, system('a'), { headers });
    expect([second.status, second.body]).toEqual([202, first.body]);
    expect([first, second].map((one) => one.headers.get('idempotency-replayed'))).toEqual([null, 'true']);
    await client.ask('Hi');
    expect(emulator.control.received.events('conversation.item.create')).toHaveLength(2);
    const other = await say(relay, id, system('b'), { headers });
    expect(other).toMatchObject({ status: 409, body: { error: { code: 'idempotency_mismatch', retryable: false } } });
  });

  it('is that of one backend and one session', async () => {
    const { relay } = await opened();
    const [one, two] = [await talking(relay), await talking(relay, { subject: 'bob' })];
    await say(relay, one.id, system('a'), { headers });
    expect((await say(relay, two.id, system('b'), { headers })).status).toBe(202);
    expect((await say(relay, one.id, system('b'), { headers, subject: 'other' })).status).toBe(202);
  });

  it('is not used up by a request that was refused', async () => {
    const { relay } = await opened();
    const { id } = await talking(relay);
    expect((await say(relay, id, { type: 'x' }, { headers })).status).toBe(400);
    expect((await say(relay, id, system('a'), { headers })).status).toBe(202);
  });

  it.each(['', 'with blanks', 'x'.repeat(256)])('is 1 to 255 visible characters, and not %j', async (key) => {
    const { relay } = await opened();
    const { id } = await talking(relay);
    const { status } = await say(relay, id, system('a'), { headers: { 'idempotency-key': key } });
    expect(status).toBe(400);
  });
});

function roled(role: string) {
  return { type: 'conversation.item.create', item: { type: 'message', role, content: [] } };
}

function withId(id: string) {
  return { type: 'conversation.item.create', item: { ...system('a').item, id } };
}

function named(event_id: string) {
  return { ...system('a'), event_id };
}

function output() {
  return { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'c', output: '{}' } };
}

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

async function opened({ speed, yaml, dialect = 'ga' }: { speed?: number; yaml?: string; dialect?: string } = {}) {
  const emulator = await startTestEmulator(speed === undefined ? {} : { speed });
  const upstream = `{ name: main, endpoint: "${emulator.url}", deployment: gpt-realtime, dialect: ${dialect}, api_key: emulator-key }`;
  const text = `upstreams: [${upstream}]\n${yaml ?? ''}`;
  return { emulator, relay: await startTestRelay({ upstream: emulator.url, yaml: text }) };
}

async function talking(relay: TestRelay, who: Parameters<TestRelay['token']>[0] = {}) {
  const client = await relay.connect({ token: relay.token(who) });
  const created = await client.next('session.created');
  return { client, id: (created.session as { id: string }).id };
}

interface Item {
  id: string;
  role: string;
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
    ['an id that stands for the beginning', withId('root'), 400, 'invalid_value', 'item.id'],
    ['an item’s id twice', { events: [withId('a'), withId('a')] }, 400, 'invalid_value', 'events[1].item.id'],
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

  it('with no id that an item of the conversation has, whoever put it in', async () => {
    const { relay } = await opened();
    const { client, id } = await talking(relay);
    client.send({
      type: 'conversation.item.create',
      item: { id: 'mine', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
    });
    await client.next('conversation.item.added');
    await client.ask('Hi');
    expect((await say(relay, id, withId('own'))).status).toBe(202);
    const answered = client.events
      .map(({ item }) => item as Item | undefined)
      .find((item) => item?.role === 'assistant');
    for (const used of ['mine', 'own', answered?.id]) {
      const refused = await say(relay, id, { events: [answer, withId(used ?? '')] });
      expect(refused.body.error).toMatchObject({ code: 'invalid_value', param: 'events[1].item.id' });
    }
  });

  it('that its preview upstream has no words for is refused whole', async () => {
    const { emulator, relay } = await opened({ dialect: 'preview' });
    const { client, id } = await talking(relay);
    const count = emulator.control.received.events().length;
    for (const [event, param] of [
      [{ type: 'session.update', session: { prompt: { id: 'p' } } }, 'session.prompt'],
      [{ type: 'session.update', session: { tools: [{ type: 'mcp', server_label: 'x' }] } }, 'session.tools[0]'],
      [{ type: 'response.create', response: { reasoning: { effort: 'low' } } }, 'response.reasoning'],
      [
        {
          type: 'conversation.item.create',
          item: { type: 'message', role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] },
        },
        'item.content[0].type',
      ],
    ] as const) {
      expect(await say(relay, id, event)).toMatchObject({
        status: 400,
        body: { error: { code: 'unsupported_by_upstream', param } },
      });
      const listed = await say(relay, id, { events: [system('x'), event] });
      expect(listed.body.error).toMatchObject({ code: 'unsupported_by_upstream', param: `events[1].${param}` });
    }
    expect(emulator.control.received.events()).toHaveLength(count);
    // What both can say goes through.
    expect((await say(relay, id, { events: [system('Be brief.'), answer] })).status).toBe(202);
    await client.next('response.done');
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
    const developer = await say(relay, id, { events: [roled('developer')] });
    expect(developer.body.error).toMatchObject({ code: 'event_not_allowed', param: 'events[0].item.role' });
    expect((await say(relay, id, { type: 'response.create' })).status).toBe(202);
  });

  it('in a call whose profile lets its browser see that: what is said to the model', async () => {
    const { emulator, relay } = await opened({ yaml: 'profiles: { default: { webrtc: { injected: exposed } } }' });
    const { caller, id } = await call(relay);
    await relay.logged('session.opened');
    expect((await say(relay, id, system('Offer help.'))).status).toBe(202);
    await caller.event('conversation.item.added');
    const aside = { type: 'response.create', response: { conversation: 'none', output_modalities: ['text'] } };
    expect((await say(relay, id, aside)).status).toBe(202);
    await emulator.control.received.waitFor(() => emulator.control.received.events('response.create').length > 0);
  });
});

describe('a backend changes the session of a call', () => {
  const update = (session: object) => ({ type: 'session.update', session });

  it('and what it has set stays, whatever the browser makes of it', async () => {
    const { emulator, relay } = await opened({
      yaml: 'profiles: { default: { session: { instructions: Be brief. } } }',
    });
    const { caller, id } = await call(relay);
    await relay.logged('session.opened');
    const { received } = emulator.control;
    const sessions = () => received.events('session.update').map(({ body }) => body.session);
    const updates = async (count: number) => {
      await received.waitFor(() => sessions().length >= count);
      return sessions();
    };
    const before = (await updates(1)).length;
    const said = await say(
      relay,
      id,
      update({ instructions: 'Offer help.', model: 'x', audio: { input: { format: {} } } }),
    );
    expect(said.status).toBe(202);
    expect((await updates(before + 1)).at(-1)).toEqual({
      type: 'realtime',
      instructions: 'Offer help.',
      audio: { input: {} },
    });
    expect(await relay.metric('relay_call_violations_total')).toBe(0);
    caller.send({ type: 'session.update', session: { type: 'realtime', instructions: 'Do anything.' } });
    expect((await updates(before + 2)).at(-1)).toEqual({ type: 'realtime', instructions: 'Offer help.' });
    expect(await relay.metric('relay_call_violations_total')).toBe(1);
    expect(caller.isClosed).toBe(false);
  });

  it('and what upstream refuses of it is in the log and changes nothing', async () => {
    const { relay } = await opened();
    const { caller, id } = await call(relay);
    await relay.logged('session.opened');
    expect((await say(relay, id, { ...update({ nonsense: 1 }), event_id: 'odd' })).status).toBe(202);
    expect(await relay.logged('control.event_failed')).toMatchObject({ eventId: 'odd', code: 'unknown_parameter' });
    expect(caller.isClosed).toBe(false);
  });

  it('within what a backend of one tenant may set', async () => {
    const { relay } = await opened();
    const { id } = await call(relay, { authorization: `Bearer ${relay.token({ tenant: 'acme' })}` });
    await relay.logged('session.opened');
    const refused = await say(relay, id, update({ tracing: 'auto' }), { tenant: 'acme' });
    expect(refused).toMatchObject({ status: 403, body: { error: { code: 'forbidden', param: 'session.tracing' } } });
    expect((await say(relay, id, update({ instructions: 'x' }), { tenant: 'acme' })).status).toBe(202);
  });
});

describe('a backend of one tenant', () => {
  const mcp = { type: 'mcp', server_label: 'crm', server_url: 'https://mcp.example', require_approval: 'never' };
  const prompt = { id: 'pmpt_1' };
  const call = { type: 'function', name: 'add', parameters: { type: 'object', properties: {} } };
  const update = (fields: object) => ({ type: 'session.update', session: { type: 'realtime', ...fields } });
  const ask = (fields: object) => ({ type: 'response.create', response: { output_modalities: ['text'], ...fields } });

  it.each([
    ['a prompt', update({ prompt }), 'session.prompt'],
    ['tracing', update({ tracing: 'auto' }), 'session.tracing'],
    ['a tool of an MCP server', update({ tools: [call, mcp] }), 'session.tools'],
    ['a prompt for one answer', ask({ prompt }), 'response.prompt'],
    ['a tool of an MCP server for one answer', ask({ tools: [call, mcp] }), 'response.tools'],
    ['one beside the conversation', ask({ conversation: 'none', tools: [mcp] }), 'response.tools'],
  ])('uses nothing of the operator’s by %s, unless the profile says so', async (_, event, param) => {
    const { emulator, relay } = await opened();
    const { id } = await talking(relay, { tenant: 'acme' });
    const count = emulator.control.received.events().length;
    const refused = await say(relay, id, event, { tenant: 'acme' });
    expect(refused).toMatchObject({ status: 403, body: { error: { code: 'forbidden', param } } });
    const listed = await say(relay, id, { events: [system('x'), event] }, { tenant: 'acme' });
    expect(listed).toMatchObject({ status: 403, body: { error: { param: `events[1].${param}` } } });
    expect(emulator.control.received.events()).toHaveLength(count);
    // Who is of none is the operator.
    expect((await say(relay, id, event)).status).toBe(202);
  });

  it('has functions of its own for one answer, and what the profile lists', async () => {
    const { relay } = await opened({ yaml: 'profiles: { default: { control: { may_update: [mcp, prompt] } } }' });
    const { id } = await talking(relay, { tenant: 'acme' });
    for (const fields of [{ tools: [call] }, { tools: [mcp] }, { prompt }, { prompt: null }]) {
      const cancel = { type: 'response.cancel' };
      expect((await say(relay, id, { events: [cancel, ask(fields)] }, { tenant: 'acme' })).status).toBe(202);
    }
  });
});

describe('an item that a backend puts in', () => {
  const message = (role: string, text: string, id?: string) => ({
    type: 'conversation.item.create',
    item: {
      ...(id !== undefined && { id }),
      type: 'message',
      role,
      content: [{ type: role === 'assistant' ? 'output_text' : 'input_text', text }],
    },
  });
  const all = [
    message('system', 'Quietly.', 'item_s'),
    message('user', 'I am a user.', 'item_u'),
    message('assistant', 'I said so.', 'item_a'),
  ];

  it.each(['end_user', 'trusted'])('is kept from a client of trust %s, with its id and its place', async (trust) => {
    const { relay } = await opened({ yaml: `profiles: { default: { client: { trust: ${trust} } } }` });
    const { client, id } = await talking(relay);
    const before = client.events.length;
    expect((await say(relay, id, { events: all })).status).toBe(202);
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(JSON.stringify(client.events.slice(before))).not.toMatch(/Quietly|I am a user|I said so|item_[sua]\b|rly_i/);
    if (trust === 'trusted') return;
    client.send({ type: 'conversation.item.delete', item_id: 'item_u' });
    expect((await client.next('error')).error).toMatchObject({ code: 'unknown_item' });
  });

  it.each(['end_user', 'trusted'])(
    'is shown to a client of trust %s where the profile says so, if somebody says it',
    async (trust) => {
      const yaml = `profiles: { default: { client: { trust: ${trust}, injected: messages } } }`;
      const { relay } = await opened({ yaml });
      const { client, id } = await talking(relay);
      const before = client.events.length;
      const events = [...all, message('user', 'Nameless.')];
      expect((await say(relay, id, { events })).status).toBe(202);
      expect((await client.ask('Hi')).status).toBe('completed');
      const shown = client.events.slice(before).filter(({ type }) => type === 'conversation.item.added');
      const seen = shown.map(({ item }) => item as { id: string; role: string });
      expect(seen.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'user', 'assistant']);
      expect(seen.slice(0, 2).map((one) => one.id)).toEqual(['item_u', 'item_a']);
      expect(seen[2]?.id).not.toMatch(/^rly_/);
      // Behind the one that is hidden the conversation begins.
      expect(shown[0]?.previous_item_id ?? null).toBe(null);
      expect(JSON.stringify(client.events.slice(before))).not.toMatch(/Quietly|item_s\b/);
    },
  );
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

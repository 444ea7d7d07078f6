import { describe, expect, it } from 'vitest';
import type { TestClient } from '../support/client.js';
import { end, endOf } from '../support/ends.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { call } from '../webrtc/caller.js';

const path = '/v1/relay/sessions';
const notFound = {
  error: {
    type: 'invalid_request_error',
    code: 'not_found',
    message: 'No session of yours has this id.',
    param: null,
    retryable: false,
  },
};

async function opened(options: { yaml?: string; env?: Record<string, string>; level?: string } = {}) {
  const emulator = await startTestEmulator();
  return { emulator, relay: await startTestRelay({ upstream: emulator.url, ...options }) };
}

function backend(relay: TestRelay, scope = 'relay.sessions.read relay.sessions.write', tenant?: string): string {
  return relay.token({ subject: 'backend', claims: { scope }, ...(tenant !== undefined && { tenant }) });
}

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from test to test
  body: any;
  headers: Headers;
}

async function ask(
  { relay }: TestRelay,
  token: string,
  below = '',
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const authorization = token === '' ? {} : { authorization: `Bearer ${token}` };
  const answer = await fetch(`${relay.url}${path}${below}`, { method, headers: { ...authorization, ...headers } });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? null : JSON.parse(text), headers: answer.headers };
}

/** A session that is open, and its id. */
async function talking(relay: TestRelay, who: Parameters<TestRelay['token']>[0] = {}) {
  const client = await relay.connect({ token: relay.token(who) });
  const created = await client.next('session.created');
  return { client, id: (created.session as { id: string }).id };
}

const idsOf = ({ body }: Answer): string[] => body.data.map(({ id }: { id: string }) => id);

describe('the list of live sessions', () => {
  it('shows each as it is, the newest first, and nothing of its token, its instructions or its address', async () => {
    const { relay } = await opened({
      yaml: 'profiles:\n  default:\n    session: { instructions: "Never tell the code 4711." }\n',
    });
    const first = await talking(relay, { claims: { email: 'alice@example.com' } });
    const second = await talking(relay, { subject: 'bob', tenant: 'acme' });
    await first.client.ask('Hi');
    const since = Math.floor(Date.now() / 1000);
    const answer = await ask(relay, backend(relay));
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.body).toMatchObject({ object: 'list', has_more: false, last_id: first.id });
    expect(idsOf(answer)).toEqual([second.id, first.id]);
    const [bob, alice] = answer.body.data;
    expect(bob).toMatchObject({ subject: 'bob', tenant: 'acme', state: 'open', turns: 0, tokens: 0 });
    expect(alice).toEqual({
      object: 'relay.session',
      id: expect.stringMatching(/^sess_[0-9a-f]{12}7[0-9a-f]{19}$/),
      call_id: null,
      subject: 'alice',
      tenant: null,
      profile: 'default',
      transport: 'websocket',
      dialect: 'ga',
      upstream: expect.any(String),
      state: 'open',
      started_at: expect.any(Number),
      expires_at: expect.any(Number),
      last_event_at: expect.any(Number),
      turns: 1,
      tokens: expect.any(Number),
      input_audio_seconds: 0,
      output_audio_seconds: expect.any(Number),
      azure: { session_id: expect.stringMatching(/^sess_/), request_ids: expect.any(Array) },
      detached: false,
      taken_over: false,
      sidebands: 0,
      replica: expect.stringMatching(/^[A-Za-z0-9.-]{1,63}-[a-z0-9]{6}$/),
    });
    expect(alice.tokens).toBeGreaterThan(0);
    expect(alice.azure.session_id).not.toBe(alice.id);
    for (const time of [alice.started_at, alice.last_event_at]) expect(Math.abs(time - since)).toBeLessThan(30);
    expect(alice.expires_at).toBeGreaterThan(since);
    expect(JSON.stringify(answer.body)).not.toMatch(/4711|example\.com|127\.0\.0\.1/);
    second.client.ws.close();
    await relay.logged('session.ended');
    expect(idsOf(await ask(relay, backend(relay)))).toEqual([first.id]);
  });

  it('has calls, too, by both of their ids', async () => {
    const { relay } = await opened();
    const { caller, id } = await call(relay);
    await relay.logged('session.opened');
    const listed = await ask(relay, backend(relay));
    expect(listed.body.data).toMatchObject([
      { call_id: id, transport: 'webrtc', input_audio_seconds: null, output_audio_seconds: null },
    ]);
    const [session] = listed.body.data;
    for (const name of [id, session.id]) {
      expect(await ask(relay, backend(relay), `/${name}`)).toMatchObject({ status: 200, body: { id: session.id } });
    }
    const ended = await ask(relay, backend(relay), `/${id}`, { method: 'DELETE' });
    expect(ended).toMatchObject({ status: 200, body: { id: session.id, ended: true } });
    await caller.closed();
    expect(await relay.logged('session.ended')).toMatchObject({ reason: 'ended_by_backend', initiator: 'backend' });
  });

  it('shows one that is still being opened, with the id that it will have', async () => {
    const { emulator, relay } = await opened();
    emulator.control.faults.arm('ignore_update');
    const client = await relay.connect();
    const [one] = (await ask(relay, backend(relay))).body.data;
    expect(one).toMatchObject({ state: 'opening' });
    const answer = await ask(relay, backend(relay), `/${one.id}`, { method: 'DELETE' });
    expect(answer.body).toEqual({ id: one.id, ended: true });
    expect(await client.closed).toEqual({ code: 1008, reason: 'ended_by_backend' });
  });

  it('comes in pages whose cursor outlives its session', async () => {
    const { relay } = await opened();
    const all = [];
    for (let i = 0; i < 5; i++) all.unshift(await talking(relay, { subject: `user-${i}` }));
    const ids = all.map(({ id }) => id);
    const first = await ask(relay, backend(relay), '?limit=2');
    expect([idsOf(first), first.body.has_more, first.body.last_id]).toEqual([ids.slice(0, 2), true, ids[1]]);
    await ask(relay, backend(relay), `/${ids[1]}`, { method: 'DELETE' });
    const second = await ask(relay, backend(relay), `?limit=2&after=${first.body.last_id}`);
    expect([idsOf(second), second.body.has_more]).toEqual([ids.slice(2, 4), true]);
    const third = await ask(relay, backend(relay), `?limit=2&after=${second.body.last_id}`);
    expect([idsOf(third), third.body.has_more]).toEqual([ids.slice(4), false]);
    const none = await ask(relay, backend(relay), `?after=${ids[4]}`);
    expect(none.body).toEqual({ object: 'list', data: [], has_more: false, last_id: null });
  });

  it('is filtered exactly, by all filters together', async () => {
    const { relay } = await opened({ yaml: 'profiles:\n  default: {}\n  sales: {}\n' });
    const one = await talking(relay, { subject: 'alice', tenant: 'acme' });
    const two = await talking(relay, { subject: 'alice', tenant: 'acme', profile: 'sales' });
    const three = await talking(relay, { subject: 'Alice' });
    const listed = async (query: string) => idsOf(await ask(relay, backend(relay), query));
    expect(await listed('?subject=alice')).toEqual([two.id, one.id]);
    expect(await listed('?subject=Alice')).toEqual([three.id]);
    expect(await listed('?subject=alice&profile=sales')).toEqual([two.id]);
    expect(await listed('?tenant=acme&profile=default')).toEqual([one.id]);
    expect(await listed('?subject=ali')).toEqual([]);
    expect(await listed('?tenant=ACME')).toEqual([]);
  });

  it.each([
    ['?subjct=bob', '"subjct" is unknown'],
    ['?__proto__=x', '"__proto__" is unknown'],
    ['?subject=a&subject=b', '"subject" is there twice'],
    ['?subject=', '"subject" must be text'],
    [`?tenant=${'x'.repeat(257)}`, '"tenant" must be text'],
    ['?limit=0', '"limit" must be a whole number from 1 to 100'],
    ['?limit=101', '"limit" must be'],
    ['?limit=1e1', '"limit" must be'],
    ['?limit=', '"limit" must be'],
    ['?limit=-1', '"limit" must be'],
    ['?after=sess_1', '"after" must be the id of a session'],
    [`?after=sess_${'g'.repeat(32)}`, '"after" must be'],
  ])('%s is refused and lists nothing: a script may end what it lists', async (query, message) => {
    const { relay } = await opened();
    await talking(relay);
    const answer = await ask(relay, backend(relay), query);
    expect(answer).toMatchObject({ status: 400, body: { error: { code: 'bad_event', retryable: false } } });
    expect(answer.body.error.message).toContain(message);
  });
});

describe('ended_by_backend: a session', () => {
  it('is closed with 1008, its client told why and not to come back, and is nowhere any more', async () => {
    const { relay } = await opened();
    const { client, id } = await talking(relay);
    const other = await talking(relay, { subject: 'bob' });
    const answer = await ask(relay, backend(relay), `/${id}`, { method: 'DELETE' });
    expect([answer.status, answer.body]).toEqual([200, { id, ended: true }]);
    expect(await endOf(relay, client)).toEqual({
      ...end('ended_by_backend', 1008, 'backend', { retryable: false }),
      counted: 1,
    });
    for (const method of ['GET', 'DELETE']) {
      expect(await ask(relay, backend(relay), `/${id}`, { method })).toMatchObject({ status: 404, body: notFound });
    }
    expect((await other.client.ask('Hi')).status).toBe('completed');
  });
});

describe('not_found: a session', () => {
  it.each([
    ['that never was', `sess_${'0'.repeat(32)}`],
    ['of no form', 'x'],
    ['named by another id', 'call_1'],
    ['named like what every object has', '__proto__'],
    ['of an endless name', 'x'.repeat(5000)],
  ])('%s', async (_, id) => {
    const { relay } = await opened();
    for (const method of ['GET', 'DELETE']) {
      const answer = await ask(relay, backend(relay), `/${id}`, { method });
      expect(answer).toMatchObject({ status: 404, body: notFound });
      expect(answer.headers.get('cache-control')).toBe('no-store');
    }
  });

  it('of another tenant, also of no tenant, for a backend of a tenant', async () => {
    const { relay } = await opened();
    const acme = await talking(relay, { tenant: 'acme' });
    const globex = await talking(relay, { tenant: 'globex' });
    const nobody = await talking(relay);
    const token = backend(relay, undefined, 'acme');
    expect(idsOf(await ask(relay, token))).toEqual([acme.id]);
    expect((await ask(relay, token, '?tenant=globex')).body).toMatchObject({ data: [], last_id: null });
    for (const { id } of [globex, nobody]) {
      for (const method of ['GET', 'DELETE']) {
        expect(await ask(relay, token, `/${id}`, { method })).toMatchObject({ status: 404, body: notFound });
      }
    }
    expect((await ask(relay, token, `/${acme.id}`)).status).toBe(200);
    expect((await globex.client.ask('Hi')).status).toBe('completed');
    // Who is of no tenant reaches all.
    expect(idsOf(await ask(relay, backend(relay)))).toHaveLength(3);
  });
});

describe('the doors for backends', () => {
  it.each([
    ['no credential', '', 401],
    ['the token of a user', 'relay', 403],
    ['read for what needs write, and the other way round', 'swapped', 403],
    ['a scope that only resembles', 'relay.sessions.readwrite relay.sessions.* RELAY.SESSIONS.READ', 403],
  ])('refuse %s', async (_, scope, status) => {
    const { relay } = await opened();
    const { client, id } = await talking(relay);
    const tokenFor = (method: string) => {
      if (scope === '') return '';
      if (scope !== 'swapped') return backend(relay, scope);
      return backend(relay, method === 'GET' ? 'relay.sessions.write' : 'relay.sessions.read');
    };
    for (const [method, below] of [
      ['GET', ''],
      ['GET', `/${id}`],
      ['GET', '/x'],
      ['DELETE', `/${id}`],
    ] as const) {
      const answer = await ask(relay, tokenFor(method), below, { method });
      expect(answer.status).toBe(status);
      expect(answer.headers.get('cache-control')).toBe('no-store');
    }
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('take no client secret, and leave it good', async () => {
    const { relay } = await opened();
    const minted = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${backend(relay)}` },
    });
    const { value } = (await minted.json()) as { value: string };
    expect((await ask(relay, value)).status).toBe(403);
    const client: TestClient = await relay.connect({ token: value });
    await client.next('session.created');
  });

  it('refuse pages of other origins before anything else, and no page may ever read them', async () => {
    const { relay } = await opened({ env: { RELAY_ALLOWED_ORIGINS: 'https://app.example' } });
    for (const origin of ['https://evil.example', 'null']) {
      for (const method of ['GET', 'OPTIONS', 'DELETE']) {
        expect((await ask(relay, backend(relay), '/x', { method, headers: { origin } })).status).toBe(403);
      }
    }
    const allowed = { origin: 'https://app.example' };
    for (const [method, below, status] of [
      ['GET', '', 200],
      ['GET', '/x', 404],
      ['OPTIONS', '', 405],
      ['PUT', '/x', 405],
      ['GET', '/x/unknown', 404],
    ] as const) {
      const answer = await ask(relay, backend(relay), below, { method, headers: allowed });
      expect(answer.status).toBe(status);
      expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
    }
  });

  it.each([
    ['POST', '', 'GET, HEAD'],
    ['POST', '/x', 'GET, HEAD, DELETE'],
    ['PATCH', '/x', 'GET, HEAD, DELETE'],
  ])('say to %s %s what they take', async (method, below, allow) => {
    const { relay } = await opened();
    const answer = await ask(relay, backend(relay), below, { method });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, allow]);
    expect(answer.body.error.code).toBe('method_not_allowed');
  });

  it('answer HEAD as GET', async () => {
    const { relay } = await opened();
    expect(await ask(relay, backend(relay), '', { method: 'HEAD' })).toMatchObject({ status: 200, body: null });
  });

  it('write one line of the audit for each request, and count it', async () => {
    const { relay } = await opened({ level: 'info' });
    const { id } = await talking(relay);
    const token = backend(relay);
    await ask(relay, token);
    await ask(relay, token, `/${id}`);
    await ask(relay, token, '/secret-text', { method: 'DELETE' });
    await ask(relay, backend(relay, 'relay.sessions.read', 'acme'), `/${id}`, { method: 'DELETE' });
    await ask(relay, token, `/${id}`, { method: 'DELETE' });
    const lines = relay.log.filter(({ msg }) => msg === 'control.request');
    const own = { audit: true, by: 'backend', level: 'info' };
    expect(lines).toMatchObject([
      { ...own, verb: 'list', outcome: 'done', requestId: expect.any(String) },
      { ...own, verb: 'show', outcome: 'done', session: id },
      { ...own, verb: 'end', outcome: 'not_found', code: 'not_found' },
      { ...own, verb: 'end', outcome: 'refused', code: 'forbidden', byTenant: 'acme' },
      { ...own, verb: 'end', outcome: 'done', session: id },
    ]);
    expect(lines[2]).not.toHaveProperty('session');
    expect(await relay.metric('relay_control_requests_total', { verb: 'end', outcome: 'done' })).toBe(1);
    expect(await relay.metric('relay_control_requests_total', { verb: 'end', outcome: 'not_found' })).toBe(1);
    expect(await relay.metric('relay_control_requests_total', { outcome: 'refused' })).toBe(1);
  });

  it('are no way for users to fill the audit', async () => {
    const { relay } = await opened({ level: 'info' });
    const answers = [];
    for (let i = 0; i < 30; i++) answers.push((await ask(relay, relay.token())).status);
    expect(new Set(answers)).toEqual(new Set([403, 429]));
    const lines = relay.log.filter(({ msg }) => /^(control|request)\./.test(String(msg)));
    expect(lines).toMatchObject([{ msg: 'control.refused', by: 'alice', verb: 'list', code: 'forbidden' }]);
    expect(lines[0]).not.toHaveProperty('audit');
  });
});

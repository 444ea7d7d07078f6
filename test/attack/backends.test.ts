/** Attacks on the doors for backends: by end users, by pages, by backends of other tenants, and by those who only want to disturb. */

import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { type Operation, operations } from '../../src/doors/operations.js';
import { connect, refused } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { attach, backend, both, following, opened, read, talking } from '../support/sideband.js';
import { open } from './tcp.js';

const write = 'relay.sessions.write';
const all = `${both} relay.revoke`;
const scopes: readonly string[] = all.split(' ');
const doors = operations.filter(({ for: who }) => scopes.includes(who));
const plain = doors.filter(({ success }) => success.status !== 101);
const ofSessions = plain.filter(({ path }) => path.includes('{id}'));
const clear = { type: 'input_audio_buffer.clear' };
const nobodys = `sess_${'0'.repeat(32)}`;

interface Answer {
  status: number;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what is looked at differs from case to case
  body: any;
  headers: Headers;
}

/** A body that the door would take. */
function bodyOf({ path }: Operation): string {
  if (path.endsWith('/events')) return JSON.stringify(clear);
  if (path.endsWith('/takeover')) return '{"on":true}';
  return '{"sub":"nobody"}';
}

async function strike(
  relay: TestRelay,
  door: Operation,
  id: string,
  headers: Record<string, string>,
  body = door.method === 'post' ? bodyOf(door) : undefined,
): Promise<Answer> {
  const answer = await fetch(`${relay.relay.url}${door.path.replace('{id}', encodeURIComponent(id))}`, {
    method: door.method.toUpperCase(),
    headers,
    ...(body !== undefined && { body }),
  });
  const text = await answer.text();
  return { status: answer.status, text, body: text === '' ? null : JSON.parse(text), headers: answer.headers };
}

/** The statuses of so many requests that are sent in one piece. */
async function pipelined(relay: TestRelay, path: string, token: string, count: number): Promise<number[]> {
  const socket = await open(relay.relay.url);
  const request = (last: string) =>
    `GET ${path} HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer ${token}\r\n${last}\r\n`;
  socket.write(request('').repeat(count - 1) + request('Connection: close\r\n'));
  let text = '';
  for await (const chunk of socket) text += chunk;
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const say = (relay: TestRelay, id: string, body: string, token = backend(relay), headers = {}) =>
  strike(relay, events, id, { ...bearer(token), ...headers }, body);
const events = doors.find(({ path }) => path.endsWith('/events')) as Operation;

/** How a handshake is refused. */
async function upgrade(relay: TestRelay, path: string, headers: Record<string, string>) {
  const { status, body } = await refused(`${relay.address}${path}`, { headers });
  return { status, code: body.error.code };
}

const sidebandPaths = (id: string) => [
  `/v1/relay/sessions/${id}/sideband`,
  `/v1/realtime?call_id=${id}`,
  `/openai/v1/realtime?model=x&call_id=${id}`,
  `/openai/realtime?api-version=2025-04-01-preview&deployment=x&call_id=${id}`,
  `/realtime?call_id=${id}`,
];

describe('who is no backend', () => {
  it('finds the doors that there are', () => {
    expect(plain.length).toBeGreaterThanOrEqual(5);
    expect(ofSessions.length).toBeGreaterThanOrEqual(3);
  });

  it.each(doors.map((door) => [door.method, door.path, door] as const))(
    'has 403 at %s %s with any token of a user, whatever session it names',
    async (method, path, door) => {
      const { relay, client, id } = await opened();
      const claims = [
        {},
        { scope: '' },
        { scope: 'openid profile' },
        { scope: scopes.map((scope) => `${scope}x`).join(' ') },
        { scope: 'relay.sessions.* relay.* *' },
        { scope: all.toUpperCase() },
        { scope: all.replaceAll(' ', ',') },
        { scp: all, scopes: all, permissions: scopes, roles: scopes },
      ];
      for (const [index, own] of claims.entries()) {
        const token = relay.token({ subject: `user-${index}`, claims: own });
        for (const target of [id, nobodys]) {
          if (door.success.status === 101) {
            for (const at of sidebandPaths(target)) {
              expect(await upgrade(relay, at, bearer(token)), at).toEqual({ status: 403, code: 'forbidden' });
            }
          } else {
            const answer = await strike(relay, door, target, bearer(token));
            expect([answer.status, answer.body.error.code], `${method} ${path} ${JSON.stringify(own)}`).toEqual([
              403,
              'forbidden',
            ]);
          }
        }
      }
      expect((await client.ask('Hi')).status).toBe('completed');
    },
  );

  it('gains nothing by another door’s scope: each takes its own', async () => {
    const { relay, client, id } = await opened();
    for (const door of plain) {
      const others = scopes.filter((scope) => scope !== door.for).join(' ');
      const answer = await strike(relay, door, id, bearer(backend(relay, others)));
      expect([door.path, answer.status]).toEqual([door.path, 403]);
    }
    for (const at of sidebandPaths(id)) {
      expect((await upgrade(relay, at, bearer(backend(relay, write)))).status).toBe(403);
    }
    const watcher = await attach(relay, id, { scope: read });
    await watcher.next('session.created');
    for (const event of [clear, { type: 'session.update', session: {} }, { type: 'response.create' }])
      watcher.send(event);
    for (let i = 0; i < 3; i++) expect((await watcher.next('error')).error).toMatchObject({ code: 'forbidden' });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('cannot use a client secret, also not of a backend, nor use one up by it', async () => {
    const { relay, id } = await opened();
    const minted = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: bearer(backend(relay, all)),
    });
    const { value } = (await minted.json()) as { value: string };
    for (const door of plain) expect((await strike(relay, door, id, bearer(value))).status).toBe(403);
    for (const at of sidebandPaths(id)) expect((await upgrade(relay, at, bearer(value))).status).toBe(403);
    const client = await relay.connect({ token: value });
    await client.next('session.created');
  });

  it('is told nothing without a credential, and has no body of its read', async () => {
    const { relay, id } = await opened();
    for (const door of plain) {
      const body = door.method === 'post' ? 'x'.repeat(1_000_000) : undefined;
      expect((await strike(relay, door, id, {}, body)).status).toBe(401);
      expect((await strike(relay, door, id, bearer('x.y.z'), body)).status).toBe(401);
    }
    for (const at of sidebandPaths(id).slice(0, 1)) expect((await upgrade(relay, at, {})).status).toBe(401);
  });
});

describe('a page', () => {
  const cookie = 'auth: { cookie: rt_token }\n';
  const env = { RELAY_ALLOWED_ORIGINS: 'https://app.example' };
  const forms = [
    ['application/x-www-form-urlencoded', 'sub=nobody&on=true'],
    ['text/plain', '{"sub":"nobody","on":true,"type":"input_audio_buffer.clear"}'],
    ['multipart/form-data; boundary=x', '--x\r\nContent-Disposition: form-data; name="sub"\r\n\r\nnobody\r\n--x--'],
  ] as const;

  it.each(['https://evil.example', 'null', 'https://app.example.evil.example', 'http://app.example'])(
    'of %s is refused before anything else, whatever it knows',
    async (origin) => {
      const { relay, client, id } = await opened({ yaml: cookie, env });
      const token = backend(relay, all);
      const known = { origin, ...bearer(token), cookie: `rt_token=${token}` };
      for (const door of plain) {
        const answer = await strike(relay, door, id, known);
        expect([door.path, answer.status]).toEqual([door.path, 403]);
        for (const [type, body] of door.method === 'post' ? forms : []) {
          expect((await strike(relay, door, id, { ...known, 'content-type': type }, body)).status).toBe(403);
        }
      }
      for (const at of sidebandPaths(id)) expect((await upgrade(relay, at, known)).status).toBe(403);
      expect((await client.ask('Hi')).status).toBe('completed');
    },
  );

  it('of the app has no use for the cookie of a backend, by no form and no WebSocket', async () => {
    const { relay, client, id } = await opened({ yaml: cookie, env });
    const known = { origin: 'https://app.example', cookie: `rt_token=${backend(relay, all)}` };
    for (const door of plain) {
      const tries = door.method === 'post' ? forms : [['', undefined] as const];
      for (const [type, body] of tries) {
        const answer = await strike(relay, door, id, { ...known, ...(type && { 'content-type': type }) }, body);
        expect([door.path, answer.status]).toEqual([door.path, 401]);
        expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
      }
    }
    // A page cannot read a failed handshake: it is told on the open socket.
    for (const at of sidebandPaths(id)) {
      const socket = await connect(`${relay.address}${at}`, { headers: known });
      expect((await socket.next('error')).error).toMatchObject({
        code: at.includes('/relay/') ? 'unauthorized' : expect.stringMatching(/unauthorized|forbidden/),
      });
      expect((await socket.closed).code).toBe(1008);
      expect(socket.types()).toEqual(['error']);
    }
    expect((await client.ask('Hi')).status).toBe('completed');
  });
});

describe('a backend of one tenant', () => {
  it('finds a session of another tenant, of none and of nobody to be one and the same nothing', async () => {
    const { relay, client, id } = await opened();
    const globex = await talking(relay, { tenant: 'globex' });
    const token = backend(relay, all, { tenant: 'acme' });
    const guesses = [
      globex.id,
      id,
      nobodys,
      'call_1',
      'x',
      '__proto__',
      `${globex.id}x`,
      globex.id.toUpperCase(),
      `${globex.id} `,
    ];
    const shapes = new Set<string>();
    for (const door of ofSessions) {
      for (const guess of guesses) {
        const { status, text, headers } = await strike(relay, door, guess, bearer(token));
        const names = [...headers.keys()].filter((name) => name !== 'connection' && name !== 'keep-alive').sort();
        shapes.add(JSON.stringify([status, text, names]));
      }
    }
    expect([...shapes].map((shape) => JSON.parse(shape))).toEqual([
      [404, expect.stringContaining('"message":"No session of yours has this id."'), expect.any(Array)],
    ]);
    const closed = new Set<string>();
    for (const guess of [globex.id, id, nobodys]) {
      for (const at of sidebandPaths(guess)) closed.add(JSON.stringify(await upgrade(relay, at, bearer(token))));
    }
    expect([...closed]).toEqual([JSON.stringify({ status: 404, code: 'not_found' })]);
    for (const one of [client, globex.client]) expect((await one.ask('Hi')).status).toBe('completed');
  });

  it.each([
    ['in other letters', 'ACME'],
    ['with a blank', ' acme'],
    ['that is empty', ''],
    ['that is a list of several', ['acme', 'globex']],
    ['that is an object', { acme: true }],
    ['with a control character', 'acme\u0000'],
    ['that means any', '*'],
  ])('whose token has a tenant %s reaches nothing of it, nor all', async (_, tenant) => {
    const { relay, id } = await opened();
    const acme = await talking(relay, { tenant: 'acme' });
    const token = relay.token({ subject: 'backend', claims: { scope: all, tenant } });
    const listed = await fetch(`${relay.relay.url}/v1/relay/sessions`, { headers: bearer(token) });
    const seen = listed.status === 200 ? ((await listed.json()) as { data: unknown[] }).data : [];
    expect([200, 401, 403]).toContain(listed.status);
    expect(seen).toEqual([]);
    for (const door of ofSessions) {
      for (const target of [acme.id, id]) {
        const { status } = await strike(relay, door, target, bearer(token));
        expect([401, 403, 404]).toContain(status);
      }
    }
    expect((await acme.client.ask('Hi')).status).toBe('completed');
  });

  it('of another issuer reaches no tenant of the same name', async () => {
    const secrets = ['the-secret-of-acme-inc-0123456789abc', 'the-secret-of-acme-ltd-0123456789abc'];
    const issuers = ['https://inc.test', 'https://ltd.test'];
    const yaml = `auth:\n  issuers:\n${issuers
      .map(
        (issuer, index) =>
          `    - { issuer: "${issuer}", audience: relay, secrets: ["${secrets[index]}"], control: tenant }`,
      )
      .join('\n')}\n`;
    const emulator = await startTestEmulator();
    const env = { RELAY_JWT_SECRET: '', RELAY_JWT_ISSUER: '', RELAY_JWT_AUDIENCE: '' };
    const relay = await startTestRelay({ upstream: emulator.url, env, yaml });
    const sign = (index: number, subject: string, claims: object = {}) =>
      signToken({
        secret: secrets[index] as string,
        issuer: issuers[index] as string,
        audience: 'relay',
        subject,
        ttlSeconds: 600,
        claims: { tenant: 'acme', ...claims },
      });
    const client = await relay.connect({ token: sign(0, 'alice') });
    const { session } = await client.next('session.created');
    const { id } = session as { id: string };
    for (const door of ofSessions) {
      expect((await strike(relay, door, id, bearer(sign(1, 'backend', { scope: all })))).status).toBe(404);
    }
    const show = ofSessions.find(({ method }) => method === 'get') as Operation;
    expect((await strike(relay, show, id, bearer(sign(0, 'backend', { scope: all })))).status).toBe(200);
  });
});

describe('an Idempotency-Key that somebody else has used', () => {
  const headers = { 'idempotency-key': 'one' };
  const item = (text: string) =>
    JSON.stringify({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'system', content: [{ type: 'input_text', text }] },
    });

  it('tells nothing of what they said, and takes nothing from who comes after', async () => {
    const { emulator, relay } = await opened();
    const { id } = await talking(relay, { tenant: 'acme' });
    const other = await talking(relay, { tenant: 'acme', subject: 'bob' });
    const who = {
      first: backend(relay, all, { tenant: 'acme' }),
      colleague: relay.token({ subject: 'colleague', tenant: 'acme', claims: { scope: all } }),
      stranger: backend(relay, all, { tenant: 'globex' }),
      operator: backend(relay, all),
    };
    const first = await say(relay, id, item('a'), who.first, headers);
    expect(first.status).toBe(202);
    const replay = await say(relay, id, item('a'), who.first, headers);
    expect([replay.status, replay.text, replay.headers.get('idempotency-replayed')]).toEqual([202, first.text, 'true']);
    for (const body of [item('b'), `${item('a')} `, `{"events":[${item('a')}]}`]) {
      expect((await say(relay, id, body, who.first, headers)).body.error.code).toBe('idempotency_mismatch');
    }
    // Of one name in another tenant or in none, or beside it: all of these are other backends.
    for (const token of [who.colleague, who.operator]) {
      const own = await say(relay, id, item('c'), token, headers);
      expect([own.status, own.headers.get('idempotency-replayed')]).toEqual([202, null]);
      expect(own.body.event_ids).not.toEqual(first.body.event_ids);
    }
    expect((await say(relay, id, item('a'), who.stranger, headers)).status).toBe(404);
    expect((await say(relay, other.id, item('d'), who.first, headers)).status).toBe(202);
    const renewed = relay.token({ subject: 'backend', tenant: 'acme', ttlSeconds: 60, claims: { scope: write } });
    expect((await say(relay, id, item('a'), renewed, headers)).headers.get('idempotency-replayed')).toBe('true');
    const { received } = emulator.control;
    await received.waitFor(() => received.events('conversation.item.create').length >= 4);
    expect(received.events('conversation.item.create')).toHaveLength(4);
  });

  it('is sent by a hundred at once and done once', async () => {
    const { emulator, relay, client, id } = await opened();
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => say(relay, id, item('a'), backend(relay), headers)),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers.filter((one) => !one.headers.has('idempotency-replayed'))).toHaveLength(1);
    await client.ask('Hi');
    const items = emulator.control.received.events('conversation.item.create');
    expect(items.filter(({ body }) => JSON.stringify(body).includes('"a"'))).toHaveLength(1);
  });
});

describe('a flood', () => {
  it('rate_limited: of requests is stopped for its sender, and for nobody else', async () => {
    const { relay, client, id } = await opened();
    const show = ofSessions.find(({ method }) => method === 'get') as Operation;
    const statuses = await pipelined(relay, `/v1/relay/sessions/${id}`, backend(relay), 1500);
    const counts = [200, 429].map((status) => statuses.filter((one) => one === status).length);
    expect(counts[0]).toBeGreaterThanOrEqual(500);
    expect(counts[1]).toBeGreaterThan(0);
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(1500);
    const other = relay.token({ subject: 'other', claims: { scope: all } });
    expect((await strike(relay, show, id, bearer(other))).status).toBe(200);
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('of guesses by an end user is stopped after ten, and is a line in the log', async () => {
    const { relay, id } = await opened();
    const show = ofSessions.find(({ method }) => method === 'get') as Operation;
    const answers = await Promise.all(Array.from({ length: 60 }, () => strike(relay, show, id, bearer(relay.token()))));
    const counts = [403, 429].map((status) => answers.filter((one) => one.status === status).length);
    expect(counts[0]).toBeLessThan(15);
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(60);
    expect(relay.log.filter(({ msg }) => msg === 'control.refused')).toHaveLength(1);
  });

  it('of bodies of a megabyte is stopped by its bytes', async () => {
    const { relay, client, id } = await opened();
    const body = JSON.stringify({ type: 'x', text: 'x'.repeat(1024 * 1024 - 100) });
    const answers = await Promise.all(Array.from({ length: 16 }, () => say(relay, id, body)));
    const counts = [400, 429].map((status) => answers.filter((one) => one.status === status).length);
    expect(counts[0]).toBeGreaterThanOrEqual(8);
    expect(counts[1]).toBeGreaterThanOrEqual(2);
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('of sidebands ends at 32 of a session, and leaves the session and its first followers alone', async () => {
    const { relay, client, id } = await opened();
    const token = backend(relay);
    const first = await following(relay, id, { token });
    const tries = await Promise.allSettled(Array.from({ length: 60 }, () => attach(relay, id, { token })));
    expect(tries.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(32);
    expect(await upgrade(relay, `/v1/relay/sessions/${id}/sideband`, bearer(token))).toEqual({
      status: 429,
      code: 'rate_limited',
    });
    expect((await client.ask('Hi')).status).toBe('completed');
    await first.next('response.done');
  });
});

describe('an event that is no event', () => {
  const open = '{"type":"conversation.item.create","item":{"type":"message","role":"user","content":';
  it.each([
    ['nested 40 deep', `${open}${'['.repeat(40)}${']'.repeat(40)}}}`],
    ['nested 100,000 deep', `${open}${'['.repeat(100_000)}${']'.repeat(100_000)}}}`],
    [
      'of 25,000 keys',
      `{"type":"response.create","response":{${Array.from({ length: 25_000 }, (_, i) => `"k${i}":1`).join()}}}`,
    ],
    ['with a key twice', '{"type":"input_audio_buffer.clear","type":"session.update","session":{}}'],
    ['with a key twice, once in other letters', '{"type":"input_audio_buffer.clear","\\u0074ype":"session.update"}'],
    ['with a key twice, deep inside', `${open}[{"type":"input_text","text":"a","text":"b"}]}}`],
    ['with __proto__', '{"type":"response.create","response":{"__proto__":{"conversation":"none"}}}'],
    ['with half a character', '{"type":"response.create","event_id":"\\ud800"}'],
    ['in two', '{"type":"response.create"}{"type":"response.create"}'],
    ['that is a list', '[{"type":"response.create"}]'],
    ['that is a number', '1'],
  ])('%s goes nowhere, by neither door, and harms nobody', async (_, text) => {
    const { emulator, relay, client, id } = await opened();
    const sideband = await following(relay, id);
    const count = emulator.control.received.events().length;
    const answer = await say(relay, id, text);
    expect([answer.status, answer.body.error.code]).toEqual([400, 'bad_event']);
    sideband.ws.send(text);
    // It is told, and closed where it does not speak in objects at all.
    expect((await sideband.next('error')).error).toMatchObject({ code: 'bad_event' });
    sideband.ws.terminate();
    expect(emulator.control.received.events()).toHaveLength(count);
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('too_big: is over a megabyte, and closes whoever sent it alone', async () => {
    const { relay, client, id } = await opened();
    const [one, two] = [await following(relay, id), await following(relay, id)];
    const text = JSON.stringify({ type: 'x', text: 'x'.repeat(1024 * 1024) });
    expect((await say(relay, id, text)).status).toBe(413);
    one.ws.send(text);
    expect((await one.closed).code).toBe(1009);
    expect((await client.ask('Hi')).status).toBe('completed');
    await two.next('response.done');
  });

  it.each([
    ['a relay.* event', { type: 'relay.taken_over', on: true }],
    ['what upstream says', { type: 'session.updated', session: {} }],
    ['speech', { type: 'input_audio_buffer.append', audio: 'AAAA' }],
    ['the end of speech', { type: 'input_audio_buffer.commit' }],
    ['a type of no text', { type: { toString: 'response.create' } }],
    [
      'a call of a tool',
      { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'x', output: '' } },
    ],
    [
      'an item of the relay',
      { type: 'conversation.item.create', item: { id: 'rly_i1', type: 'message', role: 'user', content: [] } },
    ],
  ])('%s is refused, and nothing of its list is sent', async (_, event) => {
    const { emulator, relay, id } = await opened();
    const count = emulator.control.received.events().length;
    const answer = await say(relay, id, JSON.stringify({ events: [clear, event] }));
    expect(answer.status).toBe(400);
    expect(answer.body.error.param).toMatch(/^events\[1\]\./);
    const sideband = await following(relay, id);
    sideband.send(event);
    expect((await sideband.next('error')).error).toHaveProperty('code');
    expect(emulator.control.received.events()).toHaveLength(count);
  });
});

describe('?call_id=', () => {
  it('twice is refused, and an id of nobody’s form is no sideband but a session of one’s own', async () => {
    const { relay, id } = await opened();
    for (const query of [`call_id=${id}&call_id=${id}`, `call_id=${id}&call_id=x`, `call_id=x&call_id=${id}`]) {
      const answer = await upgrade(relay, `/v1/realtime?${query}`, bearer(backend(relay)));
      expect(answer).toEqual({ status: 400, code: 'bad_event' });
    }
    for (const foreign of ['rtc_1', '', 'SESS_1', 'x sess_1']) {
      const client = await relay.connect({
        path: `/v1/realtime?call_id=${encodeURIComponent(foreign)}`,
        token: relay.token({ subject: `user-${foreign.length}` }),
      });
      const { session } = await client.next('session.created');
      expect((session as { id: string }).id).not.toBe(id);
    }
  });
});

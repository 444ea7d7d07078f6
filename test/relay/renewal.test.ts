import { describe, expect, it } from 'vitest';
import type { TestClient } from '../support/client.js';
import { holdTime } from '../support/clock.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { say } from '../support/tools.js';
import { endpoint } from '../tools/support.js';

const path = '/openai/v1/realtime?model=x&relay_events=on';
const preview = '/openai/realtime?api-version=2025-04-01-preview&deployment=x&relay_events=on';

type Claims = NonNullable<Parameters<TestRelay['token']>[0]>;

async function start(yaml = 'profiles: { default: {}, other: {} }') {
  const emulator = await startTestEmulator();
  return { emulator, relay: await startTestRelay({ upstream: emulator.url, yaml }) };
}

async function join(relay: TestRelay, token: string, where = path) {
  const client = await relay.connect({ path: where, token });
  const { session } = await client.next('session.created');
  return { client, end: (session as { expires_at: number }).expires_at };
}

function authenticate(client: TestClient, token: unknown, more: object = {}): void {
  client.send({ type: 'relay.authenticate', token, ...more });
}

async function renewed(client: TestClient): Promise<number> {
  return (await client.next('relay.authenticated')).expires_at as number;
}

async function refusal(client: TestClient): Promise<Record<string, unknown>> {
  return (await client.next('error')).error as Record<string, unknown>;
}

/** Asks a door for backends. */
async function backend(relay: TestRelay, method: string, door: string, body?: object) {
  const token = relay.token({ subject: 'backend', claims: { scope: 'relay.sessions.read relay.revoke' } });
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(`${relay.relay.url}/v1/relay/${door}`, {
    method,
    headers,
    ...(body && { body: JSON.stringify(body) }),
  });
  return (await answer.json()) as { data: { expires_at: number }[]; ended: number };
}

const now = () => Math.floor(Date.now() / 1000);

describe('a session whose client sends another token', () => {
  it.each([
    ['GA', path],
    ['preview', preview],
  ])('outlives the one it came with, and is warned again before the new end: %s', async (_, where) => {
    const { pass } = holdTime();
    const { relay, emulator } = await start();
    const { client, end } = await join(relay, relay.token({ ttlSeconds: 300 }), where);
    await pass(245);
    expect(await client.next('relay.session_expiring')).toMatchObject({ reason: 'token_expired', expires_at: end });
    authenticate(client, relay.token({ ttlSeconds: 600 }));
    const later = await renewed(client);
    expect(later).toBe(now() + 600);
    expect(await backend(relay, 'GET', 'sessions')).toMatchObject({ data: [{ expires_at: later }] });
    for (const session of [{}, { type: 'realtime', instructions: 'mine' }]) {
      client.send({ type: 'session.update', session });
      expect((await client.next('session.updated')).session).toMatchObject({ expires_at: later });
    }
    await pass(500);
    expect((await client.ask('still there?')).status).toBe('completed');
    expect(client.types().filter((type) => type === 'relay.session_expiring')).toHaveLength(1);
    await pass(45);
    expect(await client.next('relay.session_expiring')).toMatchObject({ reason: 'token_expired', expires_at: later });
    await pass(60);
    expect(await client.closed).toEqual({ code: 1008, reason: 'token_expired' });
    expect(await relay.logged('session.renewed')).toMatchObject({ level: 'info', subject: 'alice', expiresAt: later });
    // Upstream hears nothing of it.
    expect(emulator.control.received.events('relay.authenticate')).toHaveLength(0);
  });

  it('is shortened by one that runs out earlier', async () => {
    const { pass } = holdTime();
    const { relay } = await start();
    const { client } = await join(relay, relay.token({ ttlSeconds: 3600 }));
    authenticate(client, relay.token({ ttlSeconds: 100 }));
    expect(await renewed(client)).toBe(now() + 100);
    await pass(101);
    expect(await client.closed).toEqual({ code: 1008, reason: 'token_expired' });
  });

  it('lives no longer than its profile allows', async () => {
    holdTime();
    const { relay } = await start('profiles: { default: { limits: { session_seconds: 900, idle_seconds: 800 } } }');
    const { client, end } = await join(relay, relay.token({ ttlSeconds: 3600 }));
    authenticate(client, relay.token({ ttlSeconds: 36_000 }));
    expect(await renewed(client)).toBe(end);
  });

  it('is answered behind session.created when it comes before', async () => {
    const { relay } = await start();
    const client = await relay.connect({ path, token: relay.token({ ttlSeconds: 100 }) });
    authenticate(client, relay.token({ ttlSeconds: 1000 }));
    expect(await renewed(client)).toBeGreaterThan(now() + 900);
    expect(client.types().slice(0, 2)).toEqual(['session.created', 'relay.authenticated']);
  });

  it('is asked for tokens of half a minute no more often than they need', async () => {
    const { live } = holdTime();
    const { relay } = await start();
    const { client } = await join(relay, relay.token({ ttlSeconds: 30 }));
    await live(1);
    await client.next('relay.session_expiring');
    authenticate(client, relay.token({ ttlSeconds: 30 }));
    await renewed(client);
    await live(10);
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(client.types().filter((type) => type === 'relay.session_expiring')).toHaveLength(1);
    await live(8);
    await client.next('relay.session_expiring');
  });

  it('gives its tools the claims of the new one from the next call on, and the model the old instructions', async () => {
    const { url, asked } = await endpoint((_request, response) => say(response, { ok: true }));
    const emulator = await startTestEmulator();
    const relay = await startTestRelay({
      upstream: emulator.url,
      yaml: `
profiles:
  default:
    session: { instructions: "Level {{claims.level}}." }
    tools: [{ name: lookup, runs: http, http: { url: "${url}", claims: [level] } }]
`,
    });
    const { client } = await join(relay, relay.token({ claims: { level: 'one' } }));
    const levels = () => asked.map(({ body }) => (JSON.parse(body) as { claims: object }).claims);
    const call = async () => {
      client.send({ type: 'response.create', response: { output_modalities: ['text'] } });
      await client.next('response.done');
      await client.next('response.done');
    };
    const content = [{ type: 'input_text', text: 'Please lookup {"order":7}' }];
    const order = { type: 'conversation.item.create', item: { type: 'message', role: 'user', content } };
    client.send(order);
    await call();
    authenticate(client, relay.token({ claims: { level: 'two' } }));
    await renewed(client);
    client.send(order);
    await call();
    expect(levels()).toEqual([{ level: 'one' }, { level: 'two' }]);
    const [configured, ...others] = emulator.control.received.events('session.update');
    expect(configured?.body).toMatchObject({ session: { instructions: 'Level one.' } });
    expect(others).toEqual([]);
  });
});

describe('renewal_refused: a session whose client sends', () => {
  const good: Claims = { ttlSeconds: 1000 };
  it.each<[string, (relay: TestRelay) => unknown, RegExp]>([
    ['a token of another user', (relay) => relay.token({ ...good, subject: 'bob' }), /not of the user/],
    ['one of another tenant', (relay) => relay.token({ ...good, tenant: 'acme' }), /not of the user/],
    ['one of another profile', (relay) => relay.token({ ...good, profile: 'other' }), /another profile/],
    ['one that ran out', (relay) => relay.token({ ttlSeconds: -5 }), /run out/],
    ['one that nobody signed', (relay) => `${relay.token(good)}x`, /./],
    ['a client secret', () => 'rts_none', /./],
    ['no text', () => 7, /"token"/],
    ['nothing', () => undefined, /"token"/],
    ['two words', () => 'two words', /white space/],
    ['too much', () => 'x'.repeat(20_000), /16 KB/],
  ])('%s goes on until its old end', async (_, token, message) => {
    const { relay, emulator } = await start();
    const { client, end } = await join(relay, relay.token({ ttlSeconds: 300 }));
    authenticate(client, token(relay), { event_id: 'mine' });
    const error = await refusal(client);
    expect(error).toMatchObject({ code: 'renewal_refused', event_id: 'mine', type: 'invalid_request_error' });
    expect(error.message).toMatch(message);
    expect(error).not.toHaveProperty('retryable');
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(await backend(relay, 'GET', 'sessions')).toMatchObject({ data: [{ expires_at: end }] });
    expect(emulator.control.received.events('relay.authenticate')).toHaveLength(0);
    client.ws.close();
    expect(await relay.logged('session.ended')).toMatchObject({ refusals: 0 });
    expect(JSON.stringify(relay.log)).not.toContain('eyJ');
  });

  it('a client secret that is good goes on, and the secret stays good', async () => {
    const { relay } = await start();
    const headers = { authorization: `Bearer ${relay.token()}` };
    const minted = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, { method: 'POST', headers });
    const { value } = (await minted.json()) as { value: string };
    const { client } = await join(relay, relay.token());
    authenticate(client, value);
    expect((await refusal(client)).message).toMatch(/client secret/);
    const { client: other } = await join(relay, value);
    authenticate(other, relay.token({ ttlSeconds: 1000 }));
    expect(await renewed(other)).toBeGreaterThan(now() + 900);
  });

  it('two within a second gets one of them, and the other is not looked at', async () => {
    const { pass } = holdTime();
    const { relay } = await start();
    const { client } = await join(relay, relay.token({ ttlSeconds: 300 }));
    for (let i = 0; i < 100; i++) authenticate(client, relay.token({ ttlSeconds: 600 + i }), { event_id: `e${i}` });
    expect(await renewed(client)).toBe(now() + 600);
    expect((await client.ask('Hi')).status).toBe('completed');
    const errors = client.events.filter(({ type }) => type === 'error');
    expect(errors).toHaveLength(99);
    expect(errors[0]?.error).toMatchObject({ code: 'renewal_refused', event_id: 'e1' });
    await pass(2);
    authenticate(client, relay.token({ ttlSeconds: 800 }));
    expect(await renewed(client)).toBe(now() + 800);
  });

  it.each([
    ['default', 'default: {}'],
    ['trusted', 'default: { client: { trust: trusted } }'],
    ['only reporting', 'default: { client: { report_only: true } }'],
  ])(
    'without ?relay_events=on: any token is refused as every unknown event, by a profile that is %s',
    async (_, profile) => {
      const { relay, emulator } = await start(`profiles: { ${profile} }`);
      const { client } = await join(relay, relay.token(), '/openai/v1/realtime?model=x');
      authenticate(client, relay.token({ ttlSeconds: 1000 }));
      expect(await refusal(client)).toMatchObject({ code: 'event_not_allowed', param: 'type' });
      expect((await client.ask('Hi')).status).toBe('completed');
      expect(emulator.control.received.events('relay.authenticate')).toHaveLength(0);
      expect(JSON.stringify(relay.log)).not.toContain('eyJ');
    },
  );
});

describe('revoked: a session that went on with another token', () => {
  const tokenWith = (relay: TestRelay, jti: string) => relay.token({ ttlSeconds: 1000, claims: { jti } });

  it('stays when the old one is withdrawn, and ends with the new one', async () => {
    const { relay } = await start();
    const { client } = await join(relay, tokenWith(relay, 'old'));
    authenticate(client, tokenWith(relay, 'new'));
    await renewed(client);
    expect(await backend(relay, 'POST', 'revocations', { jti: 'old' })).toMatchObject({ ended: 0 });
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(await backend(relay, 'POST', 'revocations', { jti: 'new' })).toMatchObject({ ended: 1 });
    expect(await client.closed).toEqual({ code: 1008, reason: 'revoked' });
  });

  it('ends with its user', async () => {
    const { relay } = await start();
    const { client } = await join(relay, relay.token());
    authenticate(client, relay.token({ ttlSeconds: 1000 }));
    await renewed(client);
    expect(await backend(relay, 'POST', 'revocations', { sub: 'alice' })).toMatchObject({ ended: 1 });
    expect(await client.closed).toEqual({ code: 1008, reason: 'revoked' });
  });

  it('does not go on with a token that was withdrawn', async () => {
    const { relay } = await start();
    const { client } = await join(relay, tokenWith(relay, 'good'));
    await backend(relay, 'POST', 'revocations', { jti: 'bad' });
    authenticate(client, tokenWith(relay, 'bad'));
    expect(await refusal(client)).toMatchObject({
      code: 'renewal_refused',
      message: expect.stringMatching(/withdrawn/),
    });
    expect((await client.ask('Hi')).status).toBe('completed');
  });
});

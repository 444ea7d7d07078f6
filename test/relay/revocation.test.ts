import jsonwebtoken from 'jsonwebtoken';
import { describe, expect, it, vi } from 'vitest';
import { refused, type TestClient } from '../support/client.js';
import { end, endOf } from '../support/ends.js';
import { jwt, startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { Caller, call, post } from '../webrtc/caller.js';

const path = '/openai/v1/realtime?model=x';
const revoked = { status: 401, body: { error: { code: 'revoked', retryable: false } } };

async function opened(options: { yaml?: string; env?: Record<string, string> } = {}) {
  const emulator = await startTestEmulator();
  const relay = await startTestRelay({ upstream: emulator.url, ...options });
  return { emulator, relay };
}

/** A token of a backend that may withdraw. */
function backend(relay: TestRelay, tenant?: string): string {
  return relay.token({ subject: 'backend', claims: { scope: 'other relay.revoke' }, ...(tenant && { tenant }) });
}

interface Answer {
  status: number;
  body: Record<string, unknown> & { error: { code: string; message: string } };
  headers: Headers;
}

async function revoke(relay: TestRelay, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const answer = await fetch(`${relay.relay.url}/v1/relay/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${backend(relay)}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: answer.status, body: (await answer.json()) as Answer['body'], headers: answer.headers };
}

/** A client whose session is open. */
async function talking(relay: TestRelay, token: string): Promise<TestClient> {
  const client = await relay.connect({ token });
  await client.next('session.created');
  return client;
}

function handshake({ address }: TestRelay, token: string, headers: Record<string, string> = {}) {
  return refused(`${address}${path}`, { headers: { authorization: `Bearer ${token}`, ...headers } });
}

describe('revoked: a user', () => {
  it('loses every session at once, and what was issued to them until then; others do not', async () => {
    const { emulator, relay } = await opened();
    const old = relay.token();
    const alices = [await talking(relay, old), await talking(relay, relay.token({ claims: { jti: 'x' } }))];
    const tenants = await talking(relay, relay.token({ tenant: 'acme' }));
    const bob = await talking(relay, relay.token({ subject: 'bob' }));
    const since = Date.now();
    const answer = revoke(relay, { sub: 'alice' });
    for (const client of [...alices, tenants]) expect(await client.closed).toEqual({ code: 1008, reason: 'revoked' });
    expect(Date.now() - since).toBeLessThan(5000);
    expect(await endOf(relay, alices[0] as TestClient)).toEqual({
      ...end('revoked', 1008, 'relay', { retryable: false }),
      counted: 3,
    });
    expect(await answer).toMatchObject({
      status: 200,
      body: { object: 'relay.revocation', sub: 'alice', tenant: null, ended: 3 },
    });
    expect((await answer).headers.get('cache-control')).toBe('no-store');

    expect(await handshake(relay, old)).toMatchObject(revoked);
    // What is issued after the answer is good.
    const fresh = await talking(relay, relay.token());
    expect((await fresh.ask('Hi')).status).toBe('completed');
    expect((await bob.ask('Hi')).status).toBe('completed');
    expect(emulator.control.received.connections).toHaveLength(5);

    expect(await relay.logged('token.revoked')).toMatchObject({
      level: 'info',
      by: 'backend',
      kind: 'user',
      name: 'alice',
      ended: 3,
    });
    expect(await relay.metric('relay_revocations_total', { kind: 'user', outcome: 'done' })).toBe(1);
    expect(await relay.metric('relay_revocations')).toBe(1);
    expect(await relay.metric('relay_refusals_total', { reason: 'revoked' })).toBe(1);
  });

  it('of one tenant loses those of that tenant only', async () => {
    const { relay } = await opened();
    const acme = await talking(relay, relay.token({ tenant: 'acme' }));
    const other = await talking(relay, relay.token({ tenant: 'other' }));
    expect((await revoke(relay, { sub: 'alice', tenant: 'acme' })).body).toMatchObject({ tenant: 'acme', ended: 1 });
    await acme.closed;
    expect((await other.ask('Hi')).status).toBe('completed');
  });

  it('is withdrawn by a backend of a tenant in that tenant only', async () => {
    const { relay } = await opened();
    const headers = { authorization: `Bearer ${backend(relay, 'acme')}` };
    const acme = await talking(relay, relay.token({ tenant: 'acme' }));
    const none = await talking(relay, relay.token());
    expect(await revoke(relay, { sub: 'alice', tenant: 'other' }, headers)).toMatchObject({
      status: 403,
      body: { error: { code: 'forbidden', message: expect.stringContaining('own tenant') } },
    });
    expect((await revoke(relay, { sub: 'alice' }, headers)).body).toMatchObject({ tenant: 'acme', ended: 1 });
    await acme.closed;
    expect((await none.ask('Hi')).status).toBe('completed');
  });

  it('whose token does not say when it was issued gets in no more', async () => {
    const { relay } = await opened();
    const exp = Math.floor(Date.now() / 1000) + 600;
    const claims = { sub: 'alice', iss: jwt.issuer, aud: jwt.audience, exp };
    const undated = jsonwebtoken.sign(claims, jwt.secret, { noTimestamp: true });
    const client = await talking(relay, undated);
    await revoke(relay, { sub: 'alice' });
    expect((await client.closed).reason).toBe('revoked');
    expect(await handshake(relay, undated)).toMatchObject(revoked);
  });

  it('loses the client secrets, those not used yet and the sessions of those that were', async () => {
    const { emulator, relay } = await opened();
    const token = relay.token();
    const mint = async (credential: string) => {
      const headers = { authorization: `Bearer ${credential}` };
      const answer = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, { method: 'POST', headers });
      return (await answer.json()) as { value: string; error?: { code: string } };
    };
    const [used, unused, forCall] = await Promise.all([mint(token), mint(token), mint(token)]);
    const client = await talking(relay, used?.value ?? '');
    await revoke(relay, { sub: 'alice' });
    expect((await client.closed).reason).toBe('revoked');
    expect(await handshake(relay, unused?.value ?? '')).toMatchObject(revoked);
    const { offer } = await Caller.create();
    const answer = await post(relay, offer, { authorization: `Bearer ${forCall?.value}` });
    expect([answer.status, await answer.json()]).toMatchObject([401, { error: { code: 'revoked' } }]);
    expect((await mint(token)).error).toMatchObject({ code: 'revoked' });
    expect(emulator.control.calls.records.minted).toEqual([]);
  });

  it('in a browser learns of it on the open socket', async () => {
    const { relay } = await opened({ env: { RELAY_ALLOWED_ORIGINS: 'https://app.test' } });
    const token = relay.token();
    await revoke(relay, { sub: 'alice' });
    const client = await relay.connect({ token, headers: { origin: 'https://app.test' } });
    expect(await client.next('error')).toMatchObject({ error: { code: 'revoked' } });
    expect(await client.closed).toEqual({ code: 1008, reason: 'revoked' });
  });
});

describe('revoked: a token', () => {
  it('loses its sessions and starts no others, and the other tokens of its user are as good as before', async () => {
    const { relay } = await opened();
    const token = relay.token({ claims: { jti: 'laptop' } });
    const laptop = await talking(relay, token);
    const phone = await talking(relay, relay.token({ claims: { jti: 'phone' } }));
    expect(await revoke(relay, { jti: 'laptop' })).toMatchObject({ status: 200, body: { jti: 'laptop', ended: 1 } });
    expect(await laptop.closed).toEqual({ code: 1008, reason: 'revoked' });
    expect(await handshake(relay, token)).toMatchObject(revoked);
    expect((await phone.ask('Hi')).status).toBe('completed');
    expect(await relay.metric('relay_revocations_total', { kind: 'token' })).toBe(1);
  });

  it('of another tenant is out of reach of a backend of a tenant', async () => {
    const { relay } = await opened();
    const client = await talking(relay, relay.token({ tenant: 'other', claims: { jti: 'x' } }));
    const headers = { authorization: `Bearer ${backend(relay, 'acme')}` };
    expect((await revoke(relay, { jti: 'x' }, headers)).body).toMatchObject({ ended: 0 });
    expect((await client.ask('Hi')).status).toBe('completed');
  });

  it('withdrawn ten times is one in the list, and nothing more', async () => {
    const { relay } = await opened();
    const answers = await Promise.all(Array.from({ length: 10 }, () => revoke(relay, { jti: 'x' })));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(await relay.metric('relay_revocations')).toBe(1);
  });
});

describe('revoked: a WebRTC call', () => {
  it('is hung up at once, and its user starts no other', async () => {
    const { emulator, relay } = await opened();
    const { caller } = await call(relay);
    await relay.logged('session.opened');
    const token = relay.token();
    const since = Date.now();
    const answer = revoke(relay, { sub: 'alice' });
    await caller.closed();
    expect(Date.now() - since).toBeLessThan(5000);
    expect((await answer).body).toMatchObject({ ended: 1 });
    expect(emulator.control.calls.records).toMatchObject({ open: [], hungUp: [expect.stringMatching(/^rtc_/)] });
    expect(await relay.logged('session.ended')).toMatchObject({
      reason: 'revoked',
      initiator: 'relay',
      transport: 'webrtc',
    });
    const again = await post(relay, caller.offer, { authorization: `Bearer ${token}` });
    expect([again.status, await again.json()]).toMatchObject([401, { error: { code: 'revoked' } }]);
  });

  it('that upstream is just answering is refused, and hung up when it exists', async () => {
    const { emulator, relay } = await opened();
    emulator.control.faults.arm('hang');
    const { offer } = await Caller.create();
    const answer = post(relay, offer);
    await vi.waitFor(() => expect(relay.relay.sessions.size).toBe(1));
    await revoke(relay, { sub: 'alice' });
    expect([(await answer).status, await (await answer).json()]).toMatchObject([401, { error: { code: 'revoked' } }]);
    expect(emulator.control.calls.records.open).toEqual([]);
  });
});

describe('a revocation', () => {
  it.each<[string, string | null, string]>([
    ['an ordinary user', '', 'scope'],
    ['a user of other scopes', 'relay.revoked relay', '"relay.revoke"'],
  ])('of %s is refused, and says which scope is missing', async (_, scope, named) => {
    const { relay } = await opened();
    const client = await talking(relay, relay.token());
    const authorization = `Bearer ${relay.token({ subject: 'mallory', ...(scope && { claims: { scope } }) })}`;
    for (const body of [{ sub: 'alice' }, {}, '{']) {
      const { status, body: answer } = await revoke(relay, body, { authorization });
      // Also what cannot be read: the body of who has no right is not looked at.
      expect([status, answer.error.code]).toEqual([403, 'forbidden']);
      expect(answer.error.message).toContain(named);
    }
    expect((await client.ask('Hi')).status).toBe('completed');
    expect(await relay.metric('relay_revocations')).toBe(0);
  });

  it('needs an app token of a backend that was not withdrawn itself', async () => {
    const { relay } = await opened();
    expect((await revoke(relay, { sub: 'alice' }, { authorization: 'Bearer nonsense' })).status).toBe(401);
    const minted = await fetch(`${relay.relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${backend(relay)}` },
    });
    const { value } = (await minted.json()) as { value: string };
    expect(await revoke(relay, { sub: 'alice' }, { authorization: `Bearer ${value}` })).toMatchObject({
      status: 403,
      body: { error: { code: 'forbidden' } },
    });
    const stolen = { authorization: `Bearer ${backend(relay)}` };
    await revoke(relay, { sub: 'backend' });
    expect(await revoke(relay, { sub: 'alice' }, stolen)).toMatchObject(revoked);
  });

  it.each<[string, unknown, RegExp]>([
    ['nothing', {}, /exactly one of "sub" and "jti"/],
    ['both', { sub: 'a', jti: 'b' }, /exactly one/],
    ['a list', [], /exactly one/],
    ['an empty user', { sub: '' }, /1 to 256/],
    ['a user that is no text', { sub: { $ne: null } }, /1 to 256/],
    ['a user that is too long', { sub: 'x'.repeat(257) }, /1 to 256/],
    ['an id that is a number', { jti: 7 }, /1 to 256/],
    ['a tenant that is null', { sub: 'a', tenant: null }, /"tenant" must be/],
    ['a field it does not know', { sub: 'a', user: 'b' }, /"user" is unknown/],
  ])('of %s says what is wrong and what would be right', async (_, body, message) => {
    const { relay } = await opened();
    const { status, body: answer } = await revoke(relay, body);
    expect([status, answer.error.code]).toEqual([400, 'bad_event']);
    expect(answer.error.message).toMatch(message);
    expect(answer.error.message).toContain('{"sub": "<user>"}');
  });

  it('is for backends: pages are refused, and other methods', async () => {
    const { relay } = await opened();
    expect((await revoke(relay, { sub: 'a' }, { origin: 'https://evil.test' })).status).toBe(403);
    const answer = await fetch(`${relay.relay.url}/v1/relay/revocations`);
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
  });

  it('outlives a change of the settings, which may also make room for more', async () => {
    const { relay } = await opened({ yaml: 'limits: { revocations: 1 }' });
    const token = relay.token();
    await revoke(relay, { sub: 'alice' });
    expect((await revoke(relay, { sub: 'bob' })).status).toBe(503);
    relay.rewrite('limits: { revocations: 2 }');
    relay.relay.reload();
    await relay.logged('config.reloaded');
    expect(await handshake(relay, token)).toMatchObject(revoked);
    expect((await revoke(relay, { sub: 'bob' })).status).toBe(200);
  });

  it('for which there is no room ends the sessions, and fails aloud', async () => {
    const { relay } = await opened({ yaml: 'limits: { revocations: 1 }' });
    const old = relay.token();
    await revoke(relay, { jti: 'other' });
    const client = await talking(relay, old);
    const full = await revoke(relay, { sub: 'alice' });
    expect(full).toMatchObject({
      status: 503,
      body: { error: { code: 'overloaded', retryable: true, message: expect.stringContaining('limits.revocations') } },
    });
    expect(full.headers.get('retry-after')).toBe('60');
    expect((await client.closed).reason).toBe('revoked');
    expect(await relay.logged('token.not_revoked')).toMatchObject({ level: 'error', kind: 'user', name: 'alice' });
    expect(await relay.metric('relay_revocations_total', { outcome: 'done' })).toBe(1);
    expect(await relay.metric('relay_revocations_total', { outcome: 'failed' })).toBe(1);
    // What is in the list stays there.
    expect(await handshake(relay, relay.token({ claims: { jti: 'other' } }))).toMatchObject(revoked);
  });

  it('is remembered for as long as a token can live', async () => {
    const { relay } = await opened({ env: { RELAY_JWT_MAX_SECONDS: '3600' } });
    const { body } = await revoke(relay, { jti: 'x' });
    expect((body.expires_at as number) - Date.now() / 1000).toBeGreaterThan(3600);
    expect((body.expires_at as number) - Date.now() / 1000).toBeLessThan(3700);
    for (const long of [{ ttlSeconds: 3700 }, { ttlSeconds: 1800, claims: { iat: 1 } }]) {
      const { iat } = (long.claims ?? {}) as { iat?: number };
      const exp = Math.floor(Date.now() / 1000) + long.ttlSeconds;
      const claims = { sub: 'alice', iss: jwt.issuer, aud: jwt.audience, exp, ...(iat !== undefined && { iat }) };
      expect(await handshake(relay, jsonwebtoken.sign(claims, jwt.secret))).toMatchObject({
        status: 401,
        body: { error: { code: 'unauthorized', message: expect.stringContaining('more than 3600 seconds') } },
      });
    }
  });
});

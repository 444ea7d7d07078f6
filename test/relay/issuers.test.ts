import jsonwebtoken from 'jsonwebtoken';
import { describe, expect, it } from 'vitest';
import { jwk, keySet, otherRsaKeys, rsaKeys, serveKeys } from '../auth/issuer.js';
import { refused } from '../support/client.js';
import { startTestEmulator, startTestRelay, type TestRelay } from '../support/relay.js';
import { call } from '../webrtc/caller.js';

const path = '/openai/v1/realtime?model=x';
const noVariables = { RELAY_JWT_SECRET: '', RELAY_JWT_ISSUER: '', RELAY_JWT_AUDIENCE: '' };
const current = 'the-current-secret-of-acme-0123456789';
const previous = 'the-previous-secret-of-acme-012345678';
const umbrellas = 'a-secret-that-only-umbrella-has-01234';

const acme = 'https://acme.test';
const umbrella = 'https://umbrella.test';

async function started(auth: string, rest = ''): Promise<TestRelay> {
  const emulator = await startTestEmulator();
  return startTestRelay({ upstream: emulator.url, env: noVariables, yaml: `auth:\n${auth}\n${rest}` });
}

const two = `
  issuers:
    - { issuer: ${acme}, audience: relay, secrets: [${current}, ${previous}], control: all }
    - { issuer: ${umbrella}, audience: [relay, other], secrets: [${umbrellas}], claims: { tenant: org } }`;

function signed(secret: string, iss: string, claims: object = {}): string {
  return jsonwebtoken.sign({ aud: 'relay', sub: 'alice', ...claims, iss }, secret, { expiresIn: 600 });
}

/** What a handshake with this token is answered, or `open`. */
async function answer(relay: TestRelay, token: string, url = path): Promise<string> {
  const headers = { authorization: `Bearer ${token}` };
  try {
    const client = await relay.connect({ token, path: url });
    await client.next('session.created');
    return 'open';
  } catch {
    const { body } = await refused(`${relay.address}${url}`, { headers });
    return (body as { error: { code: string } }).error.code;
  }
}

function revoke(relay: TestRelay, token: string, body: object) {
  return fetch(`${relay.relay.url}/v1/relay/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
}

describe('several issuers', () => {
  it('rate_limited: begin sessions each at a rate of their own, of which a single user cannot take all', async () => {
    const limits = 'limits: { connects_per_second: 0.2 }';
    const relay = await started(
      two.replace('control: all', `control: all, ${limits}`),
      'profiles: { default: { limits: { connects_per_second: 0.001, connects_burst: 1 } } }',
    );
    const as = (sub: string) => answer(relay, signed(current, acme, { sub }));
    expect(await as('one')).toBe('open');
    // Is refused for a rate of their own.
    for (let i = 0; i < 5; i++) expect(await as('one')).toBe('rate_limited');
    expect(await as('two')).toBe('open');
    expect(await as('three')).toBe('rate_limited');
    expect(await answer(relay, signed(umbrellas, umbrella, { sub: 'three' }))).toBe('open');
  });

  it('each have their own keys, audiences and users', async () => {
    const relay = await started(two, 'profiles: { default: { limits: { sessions_per_user: 1 } } }');
    expect(await answer(relay, signed(current, acme))).toBe('open');
    expect(await answer(relay, signed(current, acme))).toBe('rate_limited');
    // The same name at another issuer, and in a tenant of that, is somebody else.
    expect(await answer(relay, signed(umbrellas, umbrella))).toBe('open');
    expect(await answer(relay, signed(umbrellas, umbrella, { org: 'one', aud: 'other' }))).toBe('open');
    expect(await answer(relay, signed(previous, acme, { sub: 'bob' }))).toBe('open');
    for (const forged of [
      signed(umbrellas, acme, { sub: 'eve' }),
      signed(current, umbrella, { sub: 'eve' }),
      signed(current, 'https://evil.test', { sub: 'eve' }),
      signed(current, acme, { sub: 'eve', aud: 'other' }),
    ]) {
      expect(await answer(relay, forged)).toBe('unauthorized');
    }
  });

  it('name no profile unless the operator says which', async () => {
    const relay = await started(two, 'profiles: { admin: {} }');
    expect(await answer(relay, signed(umbrellas, umbrella, { profile: 'admin' }))).toBe('forbidden');
    expect(await answer(relay, signed(umbrellas, umbrella, { profile: 'default' }))).toBe('forbidden');
    expect(await answer(relay, signed(umbrellas, umbrella, { profile: 'https://umbrella.test/~alice' }))).toBe('open');
  });

  it('may use the profiles that take their tokens', async () => {
    const relay = await started(
      two
        .replaceAll('control: all', 'profiles: { map: { a: own, b: default } }')
        .replace('claims: { tenant: org }', 'profiles: { map: { a: own } }'),
      `profiles: { own: { issuers: ["${acme}"], session: { instructions: "Greet {{claims.name}}." } } }`,
    );
    expect(await answer(relay, signed(current, acme, { profile: 'a' }))).toBe('open');
    expect(await answer(relay, signed(current, acme, { profile: ['x', 'b', 'a'] }))).toBe('open');
    expect(await answer(relay, signed(umbrellas, umbrella, { profile: 'a' }))).toBe('forbidden');
  });

  it('withdraw nothing of each other', async () => {
    const relay = await started(two.replace('claims: { tenant: org }', 'claims: { tenant: org }, control: tenant'));
    const theirs = await relay.connect({ token: signed(umbrellas, umbrella, { org: 'one', jti: 'same' }) });
    const ours = await relay.connect({ token: signed(current, acme, { tenant: 'one', jti: 'same' }) });
    await Promise.all([theirs.next('session.created'), ours.next('session.created')]);
    const backend = signed(umbrellas, umbrella, { sub: 'backend', org: 'one', scope: 'relay.revoke' });
    expect((await revoke(relay, backend, { jti: 'same', issuer: acme })).status).toBe(403);
    expect(await (await revoke(relay, backend, { jti: 'same' })).json()).toMatchObject({
      issuer: umbrella,
      tenant: 'one',
      ended: 1,
    });
    expect(await theirs.closed).toMatchObject({ reason: 'revoked' });
    const operator = signed(current, acme, { sub: 'operator', scope: 'relay.revoke' });
    expect(await (await revoke(relay, operator, { sub: 'alice', issuer: umbrella })).json()).toMatchObject({
      ended: 0,
    });
    expect(await (await revoke(relay, operator, { sub: 'alice' })).json()).toMatchObject({ ended: 1 });
    expect(await ours.closed).toMatchObject({ reason: 'revoked' });
  });

  it('hang up no call of each other', async () => {
    const relay = await started(two);
    const authorization = `Bearer ${signed(current, acme)}`;
    const { caller, id } = await call(relay, { authorization });
    const hangUp = (token: string) =>
      fetch(`${relay.relay.url}/v1/realtime/calls/${id}/hangup`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
      });
    expect((await hangUp(signed(umbrellas, umbrella))).status).toBe(404);
    expect((await hangUp(signed(current, acme))).status).toBe(200);
    await caller.closed();
    await caller.close();
  });
});

describe('the users of an issuer', () => {
  const own = (more: string) =>
    `  issuers:\n    - { issuer: ${acme}, audience: relay, secrets: [${current}], ${more} }`;

  it('have at most so many sessions together, and get them back', async () => {
    const relay = await started(own('limits: { sessions: 2 }'));
    const [ada, bob, cleo, dan] = ['ada', 'bob', 'cleo', 'dan'].map((sub) => signed(current, acme, { sub }));
    const first = await relay.connect({ token: ada as string });
    await first.next('session.created');
    expect(await answer(relay, bob as string)).toBe('open');
    expect(await answer(relay, cleo as string)).toBe('rate_limited');
    first.ws.close();
    await relay.logged('session.ended');
    expect(await answer(relay, dan as string)).toBe('open');
  });

  it('leave half of the instance to those of others', async () => {
    const relay = await started(
      two,
      'limits: { sessions: 4 }\nprofiles: { default: { limits: { sessions_per_user: 9 } } }',
    );
    expect(await answer(relay, signed(umbrellas, umbrella))).toBe('open');
    expect(await answer(relay, signed(umbrellas, umbrella, { org: 'b' }))).toBe('open');
    expect(await answer(relay, signed(umbrellas, umbrella, { sub: 'c' }))).toBe('rate_limited');
    expect(await answer(relay, signed(current, acme))).toBe('open');
    expect(await answer(relay, signed(current, acme))).toBe('open');
  });

  it('spend the tokens of a day together', async () => {
    const relay = await started(own('limits: { tokens_per_day: 10 }'));
    const client = await relay.connect({ token: signed(current, acme) });
    await client.next('session.created');
    await client.ask('Say something.').catch(() => undefined);
    expect(await client.closed).toMatchObject({ reason: 'quota_exceeded' });
    expect(await answer(relay, signed(current, acme, { sub: 'bob' }))).toBe('quota_exceeded');
  });
});

describe('the right to withdraw', () => {
  const scope = 'relay.revoke';
  it.each<[string, string, object, number]>([
    ['everybody with one issuer', '', {}, 200],
    ['nobody where the claim of the tenant is named and missing', 'claims: { tenant: org }', {}, 403],
    ['who has a tenant there', 'claims: { tenant: org }', { org: 'one' }, 200],
    ['everybody where that is said', 'claims: { tenant: org }, control: all', {}, 200],
    ['nobody where that is said', 'control: none', {}, 403],
    [
      'who has it by another name',
      'claims: { scope: [scp, roles] }, scopes: { map: { R: relay.revoke } }',
      { roles: ['R'] },
      200,
    ],
  ])('is given to %s', async (_name, more, claims, status) => {
    const relay = await started(
      `  issuers:\n    - { issuer: ${acme}, audience: relay, secrets: [${current}], ${more} }`,
    );
    const token = signed(current, acme, { ...('roles' in claims ? {} : { scope }), ...claims });
    expect((await revoke(relay, token, { sub: 'nobody' })).status).toBe(status);
  });

  it('is given to nobody of several issuers unless that is said', async () => {
    const relay = await started(two);
    expect((await revoke(relay, signed(umbrellas, umbrella, { scope }), { sub: 'x' })).status).toBe(403);
    expect((await revoke(relay, signed(umbrellas, umbrella, { scope, org: 'one' }), { sub: 'x' })).status).toBe(403);
    expect((await revoke(relay, signed(current, acme, { scope }), { sub: 'x' })).status).toBe(200);
  });
});

it('a key set of one issuer that is out of reach keeps nobody of another out', async () => {
  const keys = await serveKeys(keySet(jwk(rsaKeys.publicKey, { kid: 'k' })));
  const gone = await serveKeys(keySet(jwk(otherRsaKeys.publicKey, { kid: 'k' })));
  await gone.close();
  const relay = await started(`
  issuers:
    - { issuer: ${acme}, audience: relay, jwks_uri: "${keys.uri}" }
    - { issuer: ${umbrella}, audience: relay, jwks_uri: "${gone.uri}" }`);
  const by = (iss: string) =>
    jsonwebtoken.sign({ aud: 'relay', sub: 'alice', iss }, rsaKeys.privateKey, {
      algorithm: 'RS256',
      keyid: 'k',
      expiresIn: 600,
    });
  expect(await answer(relay, by(acme))).toBe('open');
  expect(await answer(relay, by(umbrella))).toBe('overloaded');
  await keys.close();
});

import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { findCredential } from '../../src/auth/credentials.js';
import { createClientSecrets, looksLikeClientSecret } from '../../src/auth/secrets.js';
import { createVerifier, type Principal } from '../../src/auth/verify.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store } from '../../src/store/store.js';
import { audience, issuer, secret, start, token } from './issuer.js';

const principal: Principal = {
  issuer,
  subject: 'alice',
  profile: 'kiosk',
  tenant: 'acme',
  scopes: ['talk'],
  expiresAt: start + 3600,
  claims: { sub: 'alice', name: 'Al', nested: { a: [1] } },
};

function minting(most?: number) {
  const clock = { seconds: start };
  const now = () => clock.seconds * 1000;
  const store = new MemoryStore({ now, ...(most && { room: { secrets: most } }) });
  return { clock, store, secrets: createClientSecrets(store, { now }) };
}

describe('a client secret', () => {
  it('starts a session as the principal it was minted for', async () => {
    const { secrets } = minting();
    const { value, expiresAt } = await secrets.mint(principal, 60);
    expect(value).toMatch(/^ek_rly_[A-Za-z0-9_-]{43}$/);
    expect(expiresAt).toBe(start + 60);
    expect((await secrets.look(value))?.principal).toEqual(principal);
    const redeemed = await secrets.redeem(value);
    expect(redeemed).toEqual(principal);
    expect(Object.isFrozen(redeemed)).toBe(true);
    expect(redeemed?.claims.constructor).toBeUndefined();
  });

  it('works as the gateway finds it, without its ek_', async () => {
    const { secrets } = minting();
    const { value } = await secrets.mint(principal, 60);
    const headers = { 'sec-websocket-protocol': `realtime, openai-insecure-api-key.${value}` };
    const found = findCredential({ headers, url: new URL('http://relay/'), queryCredentials: false });
    expect(looksLikeClientSecret(found?.credential ?? '')).toBe(true);
    expect(await secrets.redeem(found?.credential ?? '')).toEqual(principal);
  });

  it('used by eight at once lets exactly one in, and later nobody', async () => {
    const { secrets } = minting();
    const { value } = await secrets.mint(principal, 60);
    const results = await Promise.all(Array.from({ length: 8 }, () => secrets.redeem(value)));
    expect(results.filter((result) => result !== null)).toHaveLength(1);
    expect(await secrets.redeem(value)).toBeNull();
  });

  it('runs out', async () => {
    const { clock, secrets } = minting();
    const { value } = await secrets.mint(principal, 60);
    clock.seconds += 60;
    expect(await secrets.redeem(value)).toBeNull();
  });

  it('never outlives the token it was minted with', async () => {
    const { clock, secrets } = minting();
    const short = { ...principal, expiresAt: start + 10 };
    const { value, expiresAt } = await secrets.mint(short, 600);
    expect(expiresAt).toBe(start + 10);
    clock.seconds += 9;
    expect((await secrets.redeem(value))?.expiresAt).toBe(start + 10);
    clock.seconds += 1;
    await expect(secrets.mint(short, 600)).rejects.toMatchObject({ id: 'token_expired' });
  });

  it('that a store kept too long is still not accepted after the token ran out', async () => {
    const clock = { seconds: start };
    const store = new MemoryStore({ now: () => start * 1000 });
    const secrets = createClientSecrets(store, { now: () => clock.seconds * 1000 });
    const { value } = await secrets.mint(principal, 3600);
    clock.seconds += 3600;
    expect(await secrets.redeem(value)).toBeNull();
  });

  it('is not what the store holds', async () => {
    const seen: string[] = [];
    const memory = new MemoryStore();
    const store: Pick<Store, 'put' | 'look' | 'take'> = {
      put: (text) => {
        seen.push(text.key, text.value);
        return memory.put(text);
      },
      look: (key) => memory.look(key),
      take: (key) => memory.take(key),
    };
    const { value } = await createClientSecrets(store).mint({ ...principal, expiresAt: 9e9 }, 60);
    const hash = createHash('sha256').update(value.slice(3)).digest('hex');
    expect(seen[0]).toBe(`client_secret:${hash}`);
    for (const text of seen) expect(text).not.toContain(value.slice(7));
    expect(await createClientSecrets(store).redeem(`rly_${hash}`)).toBeNull();
  });

  it.each([
    '',
    'ek_',
    'rly_',
    'ek_rly_short',
    `ek_rly_${'a'.repeat(43)}`,
    `rly_${'a'.repeat(43)}\n`,
    'a.b.c',
    'x'.repeat(1e5),
  ])('is not %j', async (credential) => {
    const { secrets } = minting();
    await secrets.mint(principal, 60);
    expect(await secrets.redeem(credential)).toBeNull();
  });

  it('does not pass for a JWT, nor a JWT for a client secret', async () => {
    const { secrets } = minting();
    const { value } = await secrets.mint(principal, 60);
    expect([value, value.slice(3)].every(looksLikeClientSecret)).toBe(true);
    expect([token(), `ek_${token()}`, '', 'ek_', 'sk-rly_'].some(looksLikeClientSecret)).toBe(false);
    const verifier = createVerifier({ issuer, audience, source: { kind: 'secret', secret } });
    await expect(verifier.verify(value)).rejects.toMatchObject({ id: 'unauthorized' });
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('cannot be minted for %d seconds', async (ttl) => {
    await expect(minting().secrets.mint(principal, ttl)).rejects.toThrow(RangeError);
  });
});

describe('one user who mints without end', () => {
  it('is rate limited at 50 unused secrets, while others go on; using one makes room', async () => {
    const { clock, secrets } = minting();
    const minted = await Promise.all(Array.from({ length: 50 }, () => secrets.mint(principal, 60)));
    await expect(secrets.mint(principal, 60)).rejects.toMatchObject({
      id: 'rate_limited',
      message: expect.stringMatching(/50 client secrets/),
      retryAfterMs: 60_000,
    });
    await secrets.mint({ ...principal, tenant: null }, 60);
    await secrets.mint({ ...principal, subject: 'bob' }, 60);
    await secrets.redeem(minted[0]?.value ?? '');
    await secrets.mint(principal, 60);
    await expect(secrets.mint(principal, 60)).rejects.toMatchObject({ id: 'rate_limited' });
    clock.seconds += 60;
    await secrets.mint(principal, 60);
  });

  it('is told when there is no room for anybody, and others may still begin sessions', async () => {
    const { secrets, store } = minting(2);
    for (const subject of ['ann', 'ben']) await secrets.mint({ ...principal, subject }, 60);
    await expect(secrets.mint(principal, 60)).rejects.toMatchObject({ id: 'overloaded', retryAfterMs: 5000 });
    const place = { purpose: 'sessions' as const, group: null, key: 'x', limit: 1, ttlSeconds: 60 };
    expect(await store.enter({ place, holds: [], holder: 'x', owner: '' })).toMatchObject({ outcome: 'in' });
  });
});

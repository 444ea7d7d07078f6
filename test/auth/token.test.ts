import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/auth/token.js';
import { createVerifier } from '../../src/auth/verify.js';
import { audience, issuer, secret } from './issuer.js';

const verifier = createVerifier({ issuer, audience, source: { kind: 'secret', secret } });
const named = { secret, issuer, audience, subject: 'alice', ttlSeconds: 60 };

describe('a token signed for trying out', () => {
  it('verifies as the principal it was signed for', async () => {
    const before = Math.floor(Date.now() / 1000);
    const signed = signToken({ ...named, profile: 'kiosk', tenant: 'acme', scope: 'a b', claims: { name: 'Al' } });
    const principal = await verifier.verify(signed);
    expect(principal).toMatchObject({ subject: 'alice', profile: 'kiosk', tenant: 'acme', scopes: ['a', 'b'] });
    expect(principal.claims).toMatchObject({ name: 'Al', iss: issuer, aud: audience });
    expect(principal.expiresAt - before - 60).toBeLessThanOrEqual(2);
  });

  it('has a default profile when none is named', async () => {
    expect(await verifier.verify(signToken({ ...named, profile: undefined }))).toMatchObject({ profile: 'default' });
  });

  it('cannot be redirected by further claims', async () => {
    const signed = signToken({ ...named, claims: { sub: 'root', exp: 1, iss: 'x', tenant: 'acme' } });
    expect(await verifier.verify(signed)).toMatchObject({ subject: 'alice', tenant: 'acme' });
  });

  it('needs a secret of 32 bytes', () => {
    expect(() => signToken({ ...named, secret: 'short' })).toThrow(/32 bytes/);
  });
});

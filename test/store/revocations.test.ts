import { describe, expect, it } from 'vitest';
import { concerns, hashed, type Revocation, Revocations } from '../../src/store/revocations.js';

const user = (name: string, more: Partial<Revocation> = {}): Revocation =>
  hashed({ kind: 'user', name, issuer: null, tenant: null, issuedUntil: 1000, expiresAt: 2000, ...more });
const token = (name: string, more: Partial<Revocation> = {}) => user(name, { kind: 'token', ...more });
const held = (
  subject: string,
  claims: Record<string, unknown> = { iat: 900 },
  tenant: string | null = null,
  issuer = 'https://a.test',
) => ({
  issuer,
  subject,
  tenant,
  claims,
});

function list(limit = 10) {
  const clock = { seconds: 1000 };
  return { clock, revocations: new Revocations(limit, () => clock.seconds * 1000) };
}

describe('a list of revocations', () => {
  it.each<[string, Revocation, ReturnType<typeof held>, boolean]>([
    ['a token of the user issued before', user('ann'), held('ann'), true],
    ['one issued in the same second', user('ann'), held('ann', { iat: 1000 }), true],
    ['one issued in a part of that second', user('ann'), held('ann', { iat: 1000.9 }), true],
    ['not one issued in the next', user('ann'), held('ann', { iat: 1001 }), false],
    ['one that does not say when it was issued', user('ann'), held('ann', {}), true],
    ['one that says it oddly', user('ann'), held('ann', { iat: '1001' }), true],
    ['not that of another user', user('ann'), held('anna'), false],
    ['the user in any tenant', user('ann'), held('ann', { iat: 900 }, 'acme'), true],
    ['only in the tenant that is named', user('ann', { tenant: 'acme' }), held('ann', { iat: 900 }, 'acme'), true],
    ['not in another', user('ann', { tenant: 'acme' }), held('ann', { iat: 900 }, 'other'), false],
    ['not in none', user('ann', { tenant: 'acme' }), held('ann'), false],
    ['the token of an id, whenever issued', token('t1'), held('ann', { iat: 1999, jti: 't1' }), true],
    ['not of another id', token('t1'), held('ann', { iat: 900, jti: 't2' }), false],
    ['not of an id of another type', token('1'), held('ann', { iat: 900, jti: 1 }), false],
    ['a user of the issuer that is meant', user('ann', { issuer: 'https://a.test' }), held('ann'), true],
    ['not one of that name at another issuer', user('ann', { issuer: 'https://b.test' }), held('ann'), false],
    [
      'not a token of that id of another issuer',
      token('t', { issuer: 'https://b.test' }),
      held('ann', { iat: 900, jti: 't' }),
      false,
    ],
    [
      'not a tenant of that name of another issuer',
      user('ann', { issuer: 'https://b.test', tenant: 'acme' }),
      held('ann', { iat: 900 }, 'acme'),
      false,
    ],
    ['not a user whose name is the id', token('ann'), held('ann'), false],
    ['not a token whose id is the user', user('ann'), held('bob', { iat: 900, jti: 'ann' }), false],
    ['nothing by names of an object', token('toString'), held('__proto__', { iat: 900 }), false],
  ])('covers %s', (_, revocation, presented, isCovered) => {
    const { revocations } = list();
    revocations.add(revocation);
    expect(revocations.covers(presented)).toBe(isCovered);
  });

  it('covers later what is withdrawn again, and nothing less', () => {
    const { revocations } = list();
    revocations.add(user('ann', { issuedUntil: 1000 }));
    revocations.add(user('ann', { issuedUntil: 1500, expiresAt: 2500 }));
    revocations.add(user('ann', { issuedUntil: 1200, expiresAt: 2200 }));
    expect(revocations.size).toBe(1);
    expect(revocations.covers(held('ann', { iat: 1500 }))).toBe(true);
    expect([...revocations]).toMatchObject([{ issuedUntil: 1500, expiresAt: 2500 }]);
  });

  it('takes no more than its limit, forgets nothing for that, and still takes what it has', () => {
    const { revocations } = list(2);
    expect([revocations.add(user('a')), revocations.add(user('b')), revocations.add(user('c'))]).toEqual([
      true,
      true,
      false,
    ]);
    expect([held('a'), held('b'), held('c')].map((one) => revocations.covers(one))).toEqual([true, true, false]);
    expect(revocations.add(user('a', { issuedUntil: 1200 }))).toBe(true);
    revocations.resize(3);
    expect(revocations.add(user('c'))).toBe(true);
    revocations.resize(1);
    expect(revocations.size).toBe(3);
  });

  it('forgets what can be good no more, which makes room', () => {
    const { revocations, clock } = list(2);
    revocations.add(user('a', { expiresAt: 1100 }));
    revocations.add(user('b', { expiresAt: 1200 }));
    clock.seconds = 1099;
    expect(revocations.add(user('c'))).toBe(false);
    clock.seconds = 1100;
    expect(revocations.add(user('c'))).toBe(true);
    clock.seconds = 1200;
    expect(revocations.size).toBe(1);
    expect(revocations.covers(held('c'))).toBe(true);
  });

  it('concerns a session whenever its token was issued', () => {
    expect(concerns(user('ann'), held('ann', { iat: 5000 }))).toBe(true);
    expect(concerns(user('ann', { tenant: 'acme' }), held('ann'))).toBe(false);
    expect(concerns(user('ann', { issuer: 'https://b.test' }), held('ann'))).toBe(false);
    expect(concerns(token('t'), held('ann', { jti: 't' }))).toBe(true);
    expect(concerns(token('t'), held('t'))).toBe(false);
  });
});

describe('a list of revocations of many tenants', () => {
  it('is a quarter full of one of them at the most, and shows no name', () => {
    const { revocations, clock } = list(8);
    const of = (name: string, tenant: string | null) =>
      revocations.add(user(name, { issuer: 'https://a.test', tenant, expiresAt: 1100 }));
    expect(['a', 'b', 'c'].map((name) => of(name, 'acme'))).toEqual([true, true, false]);
    expect([of('a', 'acme'), of('a', 'other'), of('a', null)]).toEqual([true, true, true]);
    expect(JSON.stringify([...revocations])).not.toMatch(/a\.test|acme|other/);
    clock.seconds = 1101;
    expect(of('c', 'acme')).toBe(true);
  });
});

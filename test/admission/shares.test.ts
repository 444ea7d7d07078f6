import { describe, expect, it } from 'vitest';
import { createShares } from '../../src/admission/shares.js';

const user = (subject: string, tenant: string | null = null, issuer = 'i') => ({ issuer, tenant, subject });

describe('places that tenants share', () => {
  it('are a quarter for one tenant, whoever of its users takes them, and free for the others', () => {
    const shares = createShares(() => 16);
    const taken = Array.from({ length: 5 }, (_, i) => shares.take(user(`user ${i}`, 'a'), 1));
    expect(taken.map((place) => place !== null)).toEqual([true, true, true, true, false]);
    expect(shares.take(user('user 9', 'b'), 1)).not.toBeNull();
    expect(shares.take(user('user 0', 'a', 'another issuer'), 1)).not.toBeNull();
    taken[0]?.();
    taken[0]?.();
    expect(shares.take(user('user 8', 'a'), 1)).not.toBeNull();
    expect(shares.take(user('user 8', 'a'), 1)).toBeNull();
  });

  it('are a quarter for one user without a tenant', () => {
    const shares = createShares(() => 8);
    const one = Array.from({ length: 3 }, () => shares.take(user('alice'), 1));
    expect(one.map((place) => place !== null)).toEqual([true, true, false]);
    expect(shares.take(user('bob'), 1)).not.toBeNull();
  });

  it('are enough for one session, and never more than there are', () => {
    let most = 4;
    const shares = createShares(() => most);
    const places = Array.from({ length: 4 }, () => shares.take(user('alice'), 3));
    expect(places.map((place) => place !== null)).toEqual([true, true, true, false]);
    most = 3;
    expect(shares.take(user('bob'), 3)).toBeNull();
    for (const leave of places) leave?.();
    expect(shares.taken).toBe(0);
  });
});

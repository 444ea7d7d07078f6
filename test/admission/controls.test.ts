import { describe, expect, it } from 'vitest';
import { createControls } from '../../src/admission/controls.js';
import type { Principal } from '../../src/auth/principal.js';

const of = (subject: string, tenant: string | null = null, issuer = 'https://issuer.test') =>
  ({ issuer, subject, tenant }) as Principal;

function controls() {
  let now = 0;
  const rates = createControls(() => now);
  const ask = (principal: Principal, isBackend = true): string => {
    try {
      rates.ask(principal, isBackend);
      return 'ok';
    } catch (error) {
      return (error as { id: string }).id;
    }
  };
  return {
    ask,
    many: (count: number, by: () => string) => Array.from({ length: count }, by),
    pass: (ms: number) => (now += ms),
  };
}

const count = (answers: readonly string[], what: string) => answers.filter((one) => one === what).length;

describe('requests about live sessions', () => {
  it('are turned back over 500 at once and 100 a second of one backend, and of nobody else', () => {
    const { ask, many, pass } = controls();
    expect(
      count(
        many(600, () => ask(of('a'))),
        'rate_limited',
      ),
    ).toBe(100);
    expect(ask(of('b'))).toBe('ok');
    expect(ask(of('a', null, 'https://other.test'))).toBe('ok');
    pass(1000);
    expect(
      count(
        many(200, () => ask(of('a'))),
        'ok',
      ),
    ).toBe(100);
  });

  it('count for the tenant, too, however many users it makes', () => {
    const { ask, many } = controls();
    let user = 0;
    expect(
      count(
        many(600, () => ask(of(`user-${user++}`, 'acme'))),
        'ok',
      ),
    ).toBe(500);
    expect(ask(of('a', 'globex'))).toBe('ok');
    expect(ask(of('a', 'acme', 'https://other.test'))).toBe('ok');
  });

  it('are one a second of who has no business there, who shuts nobody else out', () => {
    const { ask, many, pass } = controls();
    expect(
      count(
        many(20, () => ask(of('alice', 'acme'), false)),
        'ok',
      ),
    ).toBe(10);
    pass(1000);
    expect(
      count(
        many(5, () => ask(of('alice', 'acme'), false)),
        'ok',
      ),
    ).toBe(1);
    expect(
      count(
        many(500, () => ask(of('backend', 'acme'))),
        'ok',
      ),
    ).toBe(500);
  });
});

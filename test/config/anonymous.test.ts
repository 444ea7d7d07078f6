import { describe, expect, it } from 'vitest';
import { problemsOf, settingsOf } from '../support/settings.js';

describe('an anonymous profile', () => {
  it.each([
    ['a star', '{ origins: ["https://*.shop.test"] }', /has a star/],
    ['every origin', '{ origins: ["*"] }', /has a star/],
    ['a path', '{ origins: ["https://shop.test/"] }', /is not an origin/],
    ['a port that is the default', '{ origins: ["https://shop.test:443"] }', /not what a browser sends/],
    ['no origin', '{ origins: [] }', /origins/],
    ['no list', '{ sessions: 3 }', /origins/],
    ['a misspelt limit', '{ origins: ["https://shop.test"], session: 3 }', /session/],
  ])('with %s is refused', (_name, anonymous, message) => {
    const problems = problemsOf(`profiles: { shop: { anonymous: ${anonymous} } }`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(message);
    expect(problems[0]).toContain('profiles.shop.anonymous');
  });

  it('with an origin of another one is refused', () => {
    const anonymous = '{ anonymous: { origins: ["https://shop.test"] } }';
    expect(problemsOf(`profiles: { a: ${anonymous}, b: ${anonymous} }`)).toEqual([
      expect.stringMatching(/profiles\.b\.anonymous\.origins: "https:\/\/shop\.test" is in profiles\.a as well/),
    ]);
  });

  it('may not be trusted', () => {
    const shop = '{ client: { trust: trusted }, anonymous: { origins: ["https://shop.test"] } }';
    expect(problemsOf(`profiles: { shop: ${shop} }`)).toEqual([expect.stringContaining('profiles.shop.client.trust')]);
  });

  it('has tight limits when nothing is said of them', () => {
    const { profiles } = settingsOf('profiles: { shop: { anonymous: { origins: ["https://shop.test"] } } }');
    expect(profiles.get('shop')?.anonymous).toMatchObject({ sessions: 10, session_seconds: 300, per_address: 2 });
  });
});

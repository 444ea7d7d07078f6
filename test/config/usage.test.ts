import { describe, expect, it } from 'vitest';
import { describeSettings, secretsOf } from '../../src/config/redact.js';
import { problemsOf, settingsOf } from '../support/settings.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

describe('the webhook for usage records', () => {
  it('is none unless it is set', () => {
    expect(settingsOf('limits: {}').usageWebhook).toBeNull();
    expect(settingsOf('usage: {}').usageWebhook).toBeNull();
  });

  it.each(['https://billing.example/usage?x=1', 'http://127.0.0.1:9/', 'http://localhost/u', 'http://[::1]:9/'])(
    'may be at %s',
    (url) => {
      expect(settingsOf(`usage: { webhook: { url: "${url}", secret: ${secret} } }`).usageWebhook).toEqual({
        url,
        secret,
      });
    },
  );

  it.each([
    'http://billing.example/',
    'http://127.0.0.1.example/',
    'ftp://billing.example/',
    'billing',
    'https://a:b@c.d/',
  ])('may not be at %s', (url) => {
    const found = problemsOf(`usage: { webhook: { url: "${url}", secret: ${secret} } }`);
    expect(found).toEqual([expect.stringMatching(/^usage\.webhook\.url: must /)]);
  });

  it.each(['short', 'whsec_', 'not base64 but long enough to be one', `${'A'.repeat(120)}`])(
    'is refused with a secret that is no key of 24 to 64 bytes: %s',
    (wrong) => {
      const found = problemsOf(`usage: { webhook: { url: "https://billing.example/", secret: "${wrong}" } }`);
      expect(found).toEqual([expect.stringContaining('usage.webhook.secret: a secret is 24 to 64 random bytes')]);
    },
  );

  it('shows its secret neither in the effective configuration nor in the log', () => {
    const settings = settingsOf(`usage: { webhook: { url: "https://billing.example/", secret: ${secret} } }`);
    expect(JSON.stringify(describeSettings(settings))).not.toContain(secret);
    expect(secretsOf(settings)).toContain(secret);
  });
});

describe('budgets', () => {
  it('are none unless they are set, for users and tenants', () => {
    const limits = 'sessions_per_day: 1, minutes_per_day: 0.5, tokens_per_day: 3, tenant: { tokens_per_day: 4 }';
    expect(
      settingsOf(`profiles: { default: { limits: { ${limits} } } }`).profiles.get('default')?.limits,
    ).toMatchObject({
      sessions_per_day: 1,
      minutes_per_day: 0.5,
      tokens_per_day: 3,
      tenant: { tokens_per_day: 4 },
    });
    expect(settingsOf('profiles: {}').profiles.get('default')?.limits).not.toHaveProperty('tokens_per_day');
  });

  it.each(['sessions_per_day: 0', 'tokens_per_day: 1.5', 'minutes_per_day: 0', 'tenant: { refusals: 1 }'])(
    'are refused as %s',
    (limits) => {
      expect(problemsOf(`profiles: { default: { limits: { ${limits} } } }`)).toHaveLength(1);
    },
  );
});

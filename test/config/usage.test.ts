import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { describeSettings, secretsOf } from '../../src/config/redact.js';
import type { Settings } from '../../src/config/settings.js';
import { ConfigError } from '../../src/problems.js';

const folder = mkdtempSync(join(tmpdir(), 'relay-usage-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

function load(yaml: string): Settings {
  const path = join(folder, 'relay.yaml');
  writeFileSync(path, yaml);
  return loadConfig({
    AZURE_OPENAI_ENDPOINT: 'https://my-resource.openai.azure.com',
    AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
    RELAY_JWT_SECRET: 'a-secret-of-the-tests-that-is-long-enough',
    RELAY_JWT_ISSUER: 'https://issuer.test',
    RELAY_JWT_AUDIENCE: 'relay',
    RELAY_CONFIG: path,
  });
}

function problems(yaml: string): readonly string[] {
  try {
    load(yaml);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('the webhook for usage records', () => {
  it('is none unless it is set', () => {
    expect(load('limits: {}').usageWebhook).toBeNull();
    expect(load('usage: {}').usageWebhook).toBeNull();
  });

  it.each(['https://billing.example/usage?x=1', 'http://127.0.0.1:9/', 'http://localhost/u', 'http://[::1]:9/'])(
    'may be at %s',
    (url) => {
      expect(load(`usage: { webhook: { url: "${url}", secret: ${secret} } }`).usageWebhook).toEqual({ url, secret });
    },
  );

  it.each([
    'http://billing.example/',
    'http://127.0.0.1.example/',
    'ftp://billing.example/',
    'billing',
    'https://a:b@c.d/',
  ])('may not be at %s', (url) => {
    const found = problems(`usage: { webhook: { url: "${url}", secret: ${secret} } }`);
    expect(found).toEqual([expect.stringMatching(/^usage\.webhook\.url: must /)]);
  });

  it.each(['short', 'whsec_', 'not base64 but long enough to be one', `${'A'.repeat(120)}`])(
    'is refused with a secret that is no key of 24 to 64 bytes: %s',
    (wrong) => {
      const found = problems(`usage: { webhook: { url: "https://billing.example/", secret: "${wrong}" } }`);
      expect(found).toEqual([expect.stringContaining('usage.webhook.secret: a secret is 24 to 64 random bytes')]);
    },
  );

  it('shows its secret neither in the effective configuration nor in the log', () => {
    const settings = load(`usage: { webhook: { url: "https://billing.example/", secret: ${secret} } }`);
    expect(JSON.stringify(describeSettings(settings))).not.toContain(secret);
    expect(secretsOf(settings)).toContain(secret);
  });
});

describe('budgets', () => {
  it('are none unless they are set, for users and tenants', () => {
    const limits = 'sessions_per_day: 1, minutes_per_day: 0.5, tokens_per_day: 3, tenant: { tokens_per_day: 4 }';
    expect(load(`profiles: { default: { limits: { ${limits} } } }`).profiles.get('default')?.limits).toMatchObject({
      sessions_per_day: 1,
      minutes_per_day: 0.5,
      tokens_per_day: 3,
      tenant: { tokens_per_day: 4 },
    });
    expect(load('profiles: {}').profiles.get('default')?.limits).not.toHaveProperty('tokens_per_day');
  });

  it.each(['sessions_per_day: 0', 'tokens_per_day: 1.5', 'minutes_per_day: 0', 'tenant: { refusals: 1 }'])(
    'are refused as %s',
    (limits) => {
      expect(problems(`profiles: { default: { limits: { ${limits} } } }`)).toHaveLength(1);
    },
  );
});

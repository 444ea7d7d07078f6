import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { describeSettings, secretsOf } from '../../src/config/redact.js';
import { ConfigError } from '../../src/problems.js';

const folder = mkdtempSync(join(tmpdir(), 'relay-webhooks-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const old = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

function load(yaml: string) {
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

describe('webhooks', () => {
  it('are none unless they are set, and ask for all types unless they say which', () => {
    expect(load('limits: {}').webhooks).toEqual([]);
    const [one] = load(`webhooks: [{ url: "https://a.example/", secret: ${secret} }]`).webhooks;
    expect(one?.events).toEqual([
      'session.started',
      'session.ended',
      'session.usage',
      'transcript.item',
      'tool.called',
    ]);
    expect(one?.secrets).toEqual([secret]);
  });

  it('may have two secrets, which are never shown, and one URL twice', () => {
    const settings = load(
      `webhooks: [{ url: "https://a.example/", secret: [${secret}, ${old}] }, { url: "https://a.example/", secret: ${old} }]`,
    );
    expect(settings.webhooks.map(({ secrets }) => secrets)).toEqual([[secret, old], [old]]);
    expect(JSON.stringify(describeSettings(settings))).not.toMatch(new RegExp(`${secret}|${old}`));
    expect(secretsOf(settings)).toEqual(expect.arrayContaining([secret, old]));
  });

  it.each([
    [`{ url: "http://crm.example/", secret: ${secret} }`, 'webhooks.0.url: must be https://'],
    [`{ url: "https://u:p@crm.example/", secret: ${secret} }`, 'webhooks.0.url: must not contain a credential'],
    ['{ url: "https://a.example/" }', 'webhooks.0.secret'],
    [`{ url: "https://a.example/", secret: [] }`, 'webhooks.0.secret'],
    [`{ url: "https://a.example/", secret: [${secret}, ${old}, ${secret}] }`, 'webhooks.0.secret'],
    ['{ url: "https://a.example/", secret: short }', 'webhooks.0.secret'],
    [`{ url: "https://a.example/", secret: ${secret}, events: [] }`, 'webhooks.0.events'],
    [`{ url: "https://a.example/", secret: ${secret}, events: [session.begun] }`, 'webhooks.0.events.0'],
    [`{ url: "https://a.example/", secrets: [${secret}] }`, 'webhooks.0'],
  ])('are not %s', (webhook, problem) => {
    expect(problems(`webhooks: [${webhook}]`).join('\n')).toContain(problem);
  });

  it('are warned of where a profile tells them what is said and none has asked', () => {
    const profile = 'profiles: { desk: { transcripts: { webhook: true } } }';
    const hook = (events: string) =>
      `webhooks: [{ url: "https://a.example/", secret: ${secret}, events: [${events}] }]`;
    const warned = (yaml: string) => load(yaml).warnings.filter((one) => one.includes('transcripts.webhook'));
    expect(warned(profile)).toHaveLength(1);
    expect(warned(`${profile}\n${hook('session.ended')}`)).toHaveLength(1);
    expect(warned(`${profile}\n${hook('transcript.item')}`)).toEqual([]);
    expect(warned('profiles: { desk: { transcripts: { log: true } } }')).toEqual([]);
  });
});

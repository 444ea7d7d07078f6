import { describe, expect, it } from 'vitest';
import { describeSettings, secretsOf } from '../../src/config/redact.js';
import { problemsOf, settingsOf } from '../support/settings.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const old = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

describe('webhooks', () => {
  it('are none unless they are set, and ask for all types unless they say which', () => {
    expect(settingsOf('limits: {}').webhooks).toEqual([]);
    const [one] = settingsOf(`webhooks: [{ url: "https://a.example/", secret: ${secret} }]`).webhooks;
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
    const settings = settingsOf(
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
    expect(problemsOf(`webhooks: [${webhook}]`).join('\n')).toContain(problem);
  });

  it('are warned of where a profile tells them what is said and none has asked', () => {
    const profile = 'profiles: { desk: { transcripts: { webhook: true } } }';
    const hook = (events: string) =>
      `webhooks: [{ url: "https://a.example/", secret: ${secret}, events: [${events}] }]`;
    const warned = (yaml: string) => settingsOf(yaml).warnings.filter((one) => one.includes('transcripts.webhook'));
    expect(warned(profile)).toHaveLength(1);
    expect(warned(`${profile}\n${hook('session.ended')}`)).toHaveLength(1);
    expect(warned(`${profile}\n${hook('transcript.item')}`)).toEqual([]);
    expect(warned('profiles: { desk: { transcripts: { log: true } } }')).toEqual([]);
  });
});

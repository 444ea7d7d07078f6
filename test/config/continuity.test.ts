import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { loadConfig } from '../../src/config/load.js';

function warnings(profile: string): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), 'relay-continuity-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'relay.yaml');
  writeFileSync(path, `profiles: { default: { ${profile} } }`);
  return loadConfig({
    RELAY_CONFIG: path,
    RELAY_JWT_SECRET: 'a-secret-of-the-tests-that-is-long-enough',
    RELAY_JWT_ISSUER: 'issuer',
    RELAY_JWT_AUDIENCE: 'audience',
    AZURE_OPENAI_ENDPOINT: 'https://a.openai.azure.com',
    AZURE_OPENAI_REALTIME_DEPLOYMENT: 'd',
    AZURE_OPENAI_API_KEY: 'key',
  }).warnings;
}

const words = 'audio: { input: { transcription: { model: t } } }';

it.each([
  ['no transcription', 'continuity: { enabled: true }', /transcription is not set/],
  [
    'a transcription session',
    `session: { type: transcription, ${words} }, continuity: { enabled: true }`,
    /no conversation/,
  ],
])('check warns of conversations that cannot be kept whole: %s', (_, profile, warning) => {
  expect(warnings(profile)).toEqual([expect.stringMatching(warning)]);
});

it.each([
  ['nothing said', ''],
  ['transcribed', `session: { ${words} }, continuity: { enabled: true }`],
  [
    'transcribed where the client says so',
    'client: { may_update: [audio.input.transcription] }, continuity: { enabled: true }',
  ],
  ['switched off', 'continuity: { enabled: false }'],
])('and of no other: %s', (_, profile) => {
  expect(warnings(profile)).toEqual([]);
});

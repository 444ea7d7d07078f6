import { expect, it } from 'vitest';
import { settingsOf } from '../support/settings.js';

const warnings = (profile: string) =>
  settingsOf(`profiles: { default: { ${profile} } }`, { AZURE_OPENAI_API_KEY: 'key' }).warnings;

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

/** Settings from the text of a YAML file. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.js';
import type { Settings } from '../../src/config/settings.js';
import { ConfigError } from '../../src/problems.js';

/** Loads a file beside the least that the environment must say. @throws ConfigError */
export function settingsOf(yaml: string, env: Record<string, string> = {}): Settings {
  const folder = mkdtempSync(join(tmpdir(), 'relay-settings-'));
  const path = join(folder, 'relay.yaml');
  try {
    writeFileSync(path, yaml);
    return loadConfig({
      AZURE_OPENAI_ENDPOINT: 'https://my-resource.openai.azure.com',
      AZURE_OPENAI_REALTIME_DEPLOYMENT: 'gpt-realtime',
      RELAY_JWT_SECRET: 'a-secret-of-the-tests-that-is-long-enough',
      RELAY_JWT_ISSUER: 'https://issuer.test',
      RELAY_JWT_AUDIENCE: 'relay',
      RELAY_CONFIG: path,
      ...env,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What is wrong with it; empty when nothing is. */
export function problemsOf(yaml: string, env: Record<string, string> = {}): readonly string[] {
  try {
    settingsOf(yaml, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { commandLine, exitTable, logNames, metricTable, settingsTable } from './contract.js';
import { writtenLines } from './scenes.js';

const folder = new URL('contract/', import.meta.url);
const how =
  'operators, their dashboards and their clients rely on this: if it is meant to change, WRITE_CONTRACT=1 npx vitest run test/project/contract.test.ts writes it anew, and CHANGELOG.md tells of it';

/** Compares with what was kept, or keeps it. */
function holds(name: string, content: object | string): void {
  const text = typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`;
  if (process.env.WRITE_CONTRACT) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(new URL(name, folder), text);
  }
  expect(text, how).toBe(readFileSync(new URL(name, folder), 'utf8'));
}

describe('the contract with operators', () => {
  it('keeps each exit: its codes, its status, and what the client should do', () => {
    holds('exits.json', exitTable());
  });

  it('keeps each metric: its type, its labels and its buckets', () => {
    holds('metrics.json', metricTable());
  });

  it('keeps each setting of the environment: its default and its bounds', () => {
    holds('settings.json', settingsTable());
  });

  it('keeps the words of the command line, and its exit codes', { timeout: 120_000 }, async () => {
    holds('cli.txt', await commandLine());
  });

  it('keeps the name of each log line, and the level and fields of those that a relay writes', {
    timeout: 60_000,
  }, async () => {
    const names = logNames();
    const written = await writtenLines();
    expect(Object.keys(written).filter((name) => !names.includes(name))).toEqual([]);
    holds('log.json', Object.fromEntries(names.map((name) => [name, written[name] ?? null])));
  });
});

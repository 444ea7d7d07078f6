import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { faultNames } from '../../src/emulator/faults.js';
import { exitIds } from '../../src/errors.js';
import { clientEvents, previewClientEvents, previewServerEvents, serverEvents } from '../../src/protocol/catalogue.js';
import { slowReasons } from '../../src/protocol/scan.js';
import { odds, reloadOutcomes, storeCalls } from '../../src/telemetry/labels.js';
import { rewrite, section, settings, tables, textOf } from './tables.js';

const generated = [
  ['docs/configuration.md', 'settings'],
  ['docs/configuration.md', 'example'],
  ['docs/observability.md', 'metrics'],
  ['docs/troubleshooting.md', 'dials'],
  ['docs/commands.md', 'usage'],
  ['PROTOCOL.md', 'exits'],
] as const;

describe('what a document has from the code', () => {
  it.each(generated)('in %s: %s is what the code says (WRITE_TABLES=1 rewrites it)', (path, name) => {
    if (process.env.WRITE_TABLES) rewrite(path, name, tables[name]());
    expect(section(path, name)).toBe(tables[name]());
  });
});

describe('README.md', () => {
  it('starts with what it is and how to run it', () => {
    const start = textOf('README.md').split('\n').slice(0, 14).join('\n');
    expect(start).toContain('npm ci && npm run demo');
    expect(start).toContain('npm ci && npm test');
  });

  it('is a front page: 200 lines at most', () => {
    expect(textOf('README.md').split('\n').length).toBeLessThanOrEqual(200);
  });
});

describe('docs/observability.md', () => {
  it('has a row for each log line, with the levels it was seen at', () => {
    const lines = JSON.parse(textOf('test/project/contract/log.json')) as Record<string, { levels: string[] } | null>;
    const [, table = ''] = /^\| `msg` \|.*\n(?<rows>(?:\|.*\n)+)/m.exec(textOf('docs/observability.md')) ?? [];
    const rows = table.split('\n').map((row) => row.split(' | '));
    const wrong = Object.entries(lines).filter(([name, seen]) => {
      const [, levels] = rows.find(([names]) => names?.includes(`\`${name}\``)) ?? [];
      return levels === undefined || seen?.levels.some((level) => !levels.includes(level));
    });
    expect(wrong.map(([name]) => name)).toEqual([]);
  });
});

describe('the labels in docs/observability.md', () => {
  it.each([
    ['reason', slowReasons],
    ['kind', odds],
    ['outcome', reloadOutcomes],
    ['call', storeCalls],
  ])('%s has every value of its set', (label, values) => {
    const [, row = ''] = new RegExp(`^\\| \`${label}\` \\| (.+) \\|$`, 'm').exec(textOf('docs/observability.md')) ?? [];
    expect(values.filter((value) => !row.includes(`\`${value}\``))).toEqual([]);
  });
});

describe('docs/troubleshooting.md', () => {
  it('has a row for each exit', () => {
    const rows = textOf('docs/troubleshooting.md').split('\n');
    const symptoms = rows.map((row) => row.split(' | ')[0] ?? '');
    expect(exitIds.filter((id) => !symptoms.some((symptom) => symptom.includes(`\`${id}\``)))).toEqual([]);
  });
});

describe('docs/emulator.md', () => {
  it('names every fault', () => {
    const text = textOf('docs/emulator.md');
    expect(faultNames.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe('PROTOCOL.md', () => {
  const text = textOf('PROTOCOL.md');

  it('lists every event of the protocol', () => {
    const events = [...clientEvents, ...previewClientEvents, ...serverEvents, ...previewServerEvents];
    expect(events.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });

  it('lists every code of a refused event, and marks those that are not counted', () => {
    const sources = ['src/policy', 'src/protocol/translate'].flatMap((folder) =>
      // The schema of profiles refuses settings, not events.
      readdirSync(new URL(`../../${folder}`, import.meta.url))
        .filter((name) => name !== 'profile.ts')
        .map((name) => textOf(`${folder}/${name}`)),
    );
    const code = [...sources, textOf('src/session/limits.ts')].join('\n');
    const codesIn = (one: string) => [...one.matchAll(/\bcode: '([a-z_]+)'/g)].map(([, name]) => name as string);
    const ofRenewal = codesIn(textOf('src/session/renewal.ts'));
    const codes = new Set([...codesIn(code), ...ofRenewal]);
    const races = new Set(
      [...code.matchAll(/\bcode: '([a-z_]+)',[^}]*\brace: true/g)].map(([, name]) => name as string),
    );
    expect(codes.size).toBeGreaterThan(8);
    const rows = [...text.matchAll(/^\| `([a-z_]+)`( \*)? \| [^|]+ \|$/gm)].map(([, name, mark]) => ({ name, mark }));
    expect([...codes].filter((name) => !rows.some((row) => row.name === name))).toEqual([]);
    expect(rows.filter(({ mark }) => mark).map(({ name }) => name)).toEqual([...races, ...ofRenewal]);
  });

  it('names no exit that does not exist', () => {
    const named = [...text.matchAll(/`((?:upstream|token|session|slow|quota|rate)_[a-z_]+)`/g)].map(([, name]) => name);
    const known: readonly string[] = [...exitIds, 'session_expiring', ...notExits];
    expect(named.filter((name) => !known.includes(name as string))).toEqual([]);
  });
});

/** Words of the protocol that look like an exit. */
const notExits = ['rate_limit_exceeded', 'rate_limit_error', 'upstream_error'];

describe('.env.example', () => {
  const lines = textOf('.env.example').split('\n');
  const variables = lines
    .map((line) => /^#?([A-Z][A-Z0-9_]+)=(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, name, value]) => ({ name: name as string, value: value as string }));

  it('lists every variable of the environment once and no other', () => {
    const names = settings().map(({ name }) => name);
    expect(variables.map(({ name }) => name).sort()).toEqual([...names].sort());
  });

  it('shows the default where there is one', () => {
    const wrong = settings().filter(
      ({ name, byDefault }) =>
        byDefault !== null && variables.find((variable) => variable.name === name)?.value !== byDefault,
    );
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });

  it('sets nothing as it is', () => {
    expect(lines.filter((line) => /^[A-Z]/.test(line))).toEqual([]);
  });
});

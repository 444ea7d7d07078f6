import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configFileSchema } from '../../src/config/file.js';
import { loadConfig } from '../../src/config/load.js';
import { eventBytesOf } from '../../src/legs/readers.js';
import { defaultMayUpdate } from '../../src/policy/profile.js';
import { textOf } from './tables.js';

interface Schema {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

const schema = configFileSchema() as Schema;
const example = textOf('relay.example.yaml');
/** With every key that is off switched on; of those that exclude each other, the first. */
const complete = example
  .replace(/^( *)#(?=\S)/gm, '$1')
  .replace('tools: [] #', 'tools: #')
  .replace(/^ *eagerness: .*\n/m, '');

const folder = mkdtempSync(join(tmpdir(), 'relay-example-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(yaml: string) {
  const path = join(folder, 'relay.yaml');
  writeFileSync(path, yaml);
  return loadConfig({
    RELAY_CONFIG: path,
    ...(!/^auth:/m.test(yaml) && {
      RELAY_JWT_SECRET: 'a-secret-of-the-tests-that-is-long-enough',
      RELAY_JWT_ISSUER: 'issuer',
      RELAY_JWT_AUDIENCE: 'audience',
    }),
    AZURE_OPENAI_API_KEY: 'key',
    RELAY_REDIS_URL: 'redis://localhost',
    ORDERS_TOKEN: 'token',
    AZURE_SEARCH_KEY: 'key',
    USAGE_WEBHOOK_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  });
}

describe('relay.example.yaml', () => {
  it('is a configuration without warnings', () => {
    expect(load(example).warnings).toEqual([]);
  });

  it('is one also when every key that is off is switched on', () => {
    expect(complete).not.toMatch(/^ *#\S/m);
    expect(load(complete).warnings).toEqual([]);
  });

  it('shows the default of every key that has one', () => {
    const wrong: string[] = [];
    compare(parse(example), schema, 'relay', wrong);
    expect(wrong).toEqual([]);
  });

  it('names every key there is', () => {
    const keys = new Set<string>();
    collect(schema, keys);
    expect(keys.size).toBeGreaterThan(60);
    const missing = [...keys].filter((key) => !new RegExp(`(^|[#{,\\s-])${key}:`, 'm').test(example));
    expect(missing).toEqual([]);
  });

  it('says truly what applies where a key is left out', () => {
    const { client, limits } = parse(complete).profiles.default;
    expect(client.may_update).toEqual(defaultMayUpdate);
    const defaults = load('upstreams: [{ name: a, endpoint: https://a.example, deployment: d }]').profiles.get(
      'default',
    );
    if (!defaults) throw new Error('there is always a profile default');
    expect(limits.event_bytes).toBe(eventBytesOf(defaults));
  });
});

describe('the examples of the documents', () => {
  const pages = readdirSync(new URL('../../docs', import.meta.url)).filter((name) => name.endsWith('.md'));
  const examples = pages.flatMap((name) =>
    [...textOf(`docs/${name}`).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(
      ([, yaml]) => [name, yaml as string] as const,
    ),
  );

  it.each(examples)('of docs/%s are configurations without warnings', (_, yaml) => {
    const upstream = 'upstreams: [{ name: a, endpoint: https://a.example, deployment: d }]\n';
    expect(load(/^upstreams:/m.test(yaml) ? yaml : upstream + yaml).warnings).toEqual([]);
  });
});

describe('config.schema.json', () => {
  it('is the schema that `check --schema` prints', () => {
    expect(JSON.parse(textOf('config.schema.json'))).toEqual(JSON.parse(JSON.stringify(schema)));
  });

  it('accepts the example and refuses a misspelt key', () => {
    const validate = new Ajv2020({ strict: false }).compile(JSON.parse(textOf('config.schema.json')));
    expect(validate(parse(example))).toBe(true);
    expect(validate({ limits: { session: 1 } })).toBe(false);
  });
});

/** Notes every place at which a key with a default is missing or shows another value. */
function compare(
  value: unknown,
  { properties, additionalProperties, items }: Schema,
  at: string,
  wrong: string[],
): void {
  if (Array.isArray(value)) {
    for (const element of value) if (typeof items === 'object') compare(element, items, `${at}[]`, wrong);
    return;
  }
  const given = value as Record<string, unknown>;
  if (typeof additionalProperties === 'object') {
    for (const [key, inner] of Object.entries(given)) compare(inner, additionalProperties, `${at}.${key}`, wrong);
  }
  for (const [key, inner] of Object.entries(properties ?? {})) {
    const isLeaf = inner.properties === undefined && typeof inner.additionalProperties !== 'object';
    if (inner.default !== undefined && isLeaf && JSON.stringify(given[key]) !== JSON.stringify(inner.default)) {
      wrong.push(`${at}.${key} is ${JSON.stringify(given[key])}, the default is ${JSON.stringify(inner.default)}`);
    }
    if (!isLeaf || inner.items) if (given[key] !== undefined) compare(given[key], inner, `${at}.${key}`, wrong);
  }
}

function collect(schemaAt: Schema, keys: Set<string>): void {
  for (const [key, inner] of Object.entries(schemaAt.properties ?? {})) {
    keys.add(key);
    collect(inner, keys);
  }
  for (const inner of [
    schemaAt.additionalProperties,
    schemaAt.items,
    ...(schemaAt.anyOf ?? []),
    ...(schemaAt.oneOf ?? []),
  ]) {
    if (typeof inner === 'object') collect(inner, keys);
  }
}

import { describe, expect, it } from 'vitest';
import { toolSchema } from '../../src/policy/tools.js';
import { createJudge } from '../../src/tools/arguments.js';

function judge(parameters: object | undefined, args: string) {
  const tool = toolSchema.parse({ name: 'a', runs: 'backend', ...(parameters && { parameters }) });
  return createJudge(tool)(args);
}

const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const any = { type: 'object' };

describe('arguments that fit', () => {
  it.each(['', ' ', '\n\t', '{}', ' { } '])('are an empty object, as %j is', (args) => {
    expect(judge(undefined, args)).toEqual({ arguments: {} });
  });

  it('are what the model wrote: nothing is filled in, coerced or taken away', () => {
    const parameters = { type: 'object', properties: { n: { type: 'integer', default: 5 } } };
    expect(judge(parameters, '{"other":"5"}')).toEqual({ arguments: { other: '5' } });
    expect(judge(parameters, '{"n":"5"}')).toEqual({ problem: 'n must be integer' });
    expect(judge(parameters, '{"n":null}')).toEqual({ problem: 'n must be integer' });
  });

  it('may have extra properties unless the schema says no', () => {
    expect(judge(city, '{"city":"Rome","x":1}')).toHaveProperty('arguments');
    expect(judge({ ...city, additionalProperties: false }, '{"city":"Rome","x":1}')).toEqual({
      problem: 'must NOT have additional properties',
    });
  });

  it('are not judged by the format of a text', () => {
    const parameters = { type: 'object', properties: { at: { type: 'string', format: 'date' } } };
    expect(judge(parameters, '{"at":"tomorrow"}')).toHaveProperty('arguments');
  });

  it('may have as many keys and levels as 16 KiB and 16 levels hold', () => {
    const wide = JSON.stringify(Object.fromEntries(Array.from({ length: 1200 }, (_, index) => [`k${index}`, 1])));
    expect(judge(any, wide)).toHaveProperty('arguments');
    expect(judge(any, `${'{"a":'.repeat(15)}[]${'}'.repeat(15)}`)).toHaveProperty('arguments');
  });
});

describe('arguments that do not fit', () => {
  it.each([
    ['null', 'null'],
    ['a list', '[]'],
    ['a text', '"x"'],
    ['a number', '5'],
    ['a truth value', 'true'],
    ['two objects', '{}{}'],
    ['half an object', '{"city":"Ro'],
    ['a key twice', '{"city":"Rome","city":"Oslo"}'],
    ['a key twice further in', '{"a":{"b":1,"\\u0062":2}}'],
    ['__proto__', '{"__proto__":{}}'],
    ['a byte order mark', '\ufeff{}'],
    ['another kind of blank', '\u00a0'],
    ['a comment', '{/* */}'],
    ['single quotes', "{'a':1}"],
    ['17 levels', `${'{"a":'.repeat(16)}[]${'}'.repeat(16)}`],
    ['over 16 KiB', JSON.stringify({ a: 'x'.repeat(16 * 1024) })],
    ['over 16 KiB in few characters', JSON.stringify({ a: '€'.repeat(6000) })],
    ['half of a surrogate pair', '{"a":"\\ud800"}'],
    ['half of a surrogate pair as it is', '{"a":"\ud800"}'],
    ['a number out of range', '{"a":1e400}'],
    ['half of a surrogate pair in a key', '{"\\udc00":1}'],
  ])('are %s', (_name, args) => {
    expect(judge(any, args)).toEqual({ problem: expect.stringMatching(/^.{10,200}$/) });
  });

  const properties = {
    unit: { enum: ['metric', 'imperial'] },
    kind: { const: 'a' },
    list: { type: 'array', items: { type: 'object', properties: { id: { type: 'integer' } } } },
    'a/b~c': { type: 'string' },
    map: { type: 'object', additionalProperties: { type: 'integer' } },
    code: { type: 'string', pattern: '^[a-z]+$' },
    either: { anyOf: [{ type: 'string' }, { type: 'integer' }] },
  };
  it.each([
    ['{"unit":"kelvin"}', 'unit must be one of "metric","imperial"'],
    ['{"kind":"b"}', 'kind must be "a"'],
    ['{"list":[{"id":1},{"id":"secret"}]}', 'list.1.id must be integer'],
    ['{"a/b~c":1}', 'a/b~c must be string'],
    ['{"map":{"secret":"secret"}}', 'map.* must be integer'],
    ['{"code":"SECRET"}', 'code must match pattern "^[a-z]+$"'],
    ['{"either":[]}', 'either must match a schema in anyOf'],
  ])('say of %s what the schema says: %s', (args, problem) => {
    expect(judge({ type: 'object', properties }, args)).toEqual({ problem });
  });

  it('never say what was in them, nor more than 200 characters', () => {
    const long = { type: 'object', properties: { ['x'.repeat(300)]: { type: 'string' } } };
    const found = judge(long, JSON.stringify({ ['x'.repeat(300)]: 1 })) as { problem: string };
    expect(found.problem).toHaveLength(200);
  });

  it('are texts of over 1,024 characters where there is a pattern, however long it would take to match', () => {
    const parameters = { type: 'object', properties: { a: { type: 'string', pattern: '^(a|a)*$' } } };
    const started = performance.now();
    expect(judge(parameters, JSON.stringify({ a: `${'a'.repeat(1025)}!` }))).toHaveProperty('problem');
    expect(performance.now() - started).toBeLessThan(1000);
    expect(
      judge({ type: 'object', properties: { a: { pattern: '^a*$' } } }, JSON.stringify({ a: 'a'.repeat(1024) })),
    ).toHaveProperty('arguments');
    expect(
      judge({ type: 'object', properties: { a: { pattern: '^a*$' } } }, JSON.stringify({ a: 'a'.repeat(1025) })),
    ).toHaveProperty('problem');
  });

  it('are held against each pattern of a schema', () => {
    const parameters = { type: 'object', properties: { a: { pattern: '^a$' }, b: { pattern: '^b$' } } };
    expect(judge(parameters, '{"a":"a","b":"b"}')).toHaveProperty('arguments');
    expect(judge(parameters, '{"a":"a","b":"a"}')).toHaveProperty('problem');
  });
});

describe('a schema that cannot be used', () => {
  it.each([
    ['of another type', { type: 'string' }],
    ['without a type', {}],
    ['of several types', { type: ['object', 'null'] }],
    ['that does not compile', { type: 'object', properties: { a: { type: 'strin' } } }],
    ['with a remote reference', { type: 'object', properties: { a: { $ref: 'https://example.com/a.json' } } }],
    ['with a reference to nothing', { type: 'object', properties: { a: { $ref: '#/$defs/a' } } }],
    ['with a bad pattern', { type: 'object', properties: { a: { pattern: '(' } } }],
    ['of another draft', { $schema: 'http://json-schema.org/draft-07/schema#', type: 'object' }],
    ['that is asynchronous', { $async: true, type: 'object' }],
    ['that leads to itself', { type: 'object', $ref: '#' }],
  ])('%s is refused when it is compiled', (_name, parameters) => {
    expect(() => judge(parameters, '{}')).toThrow();
  });

  it('does not hinder another one with the same $id', () => {
    const schema = {
      $id: 'https://example.com/one',
      type: 'object',
      properties: { a: { $ref: '#/$defs/a' } },
      $defs: { a: { type: 'string' } },
    };
    expect(judge(schema, '{"a":"x"}')).toHaveProperty('arguments');
    expect(judge({ ...schema, $defs: { a: { type: 'integer' } } }, '{"a":1}')).toHaveProperty('arguments');
  });
});

import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { type JsonRules, parseStrict, readJson } from '../../src/protocol/json.js';

const rules: JsonRules = { depth: 4, keys: 5, elements: 6 };
const read = (text: string | Uint8Array, more: Partial<JsonRules> = {}) => readJson(text, { ...rules, ...more });

describe('text that readers could take for different things', () => {
  it.each([
    ['a key twice', '{"a":1,"a":1}', 'has a key twice'],
    ['a key twice, once escaped', '{"a":1,"\\u0061":2}', 'has a key twice'],
    ['a key twice in an object of a list', '{"l":[{"a":1,"a":2}]}', 'has a key twice'],
    ['__proto__', '{"__proto__":{}}', 'has the key __proto__'],
    ['__proto__, escaped and deep', '{"a":[{"\\u005f_proto__":1}]}', 'has the key __proto__'],
    ['a key with a line break', '{"a\\nb":1}', 'has a key with a control character or half of a surrogate pair'],
    ['half a pair in a key', '{"\\ud800":1}', 'has a key with a control character or half of a surrogate pair'],
    ['half a pair in a string', '{"a":["\\udc00"]}', 'has half of a surrogate pair in a string'],
    ['a number out of range', '{"a":-1e999}', 'has a number out of range'],
    ['too deep', '{"a":[[[[]]]]}', 'is nested over 4 levels deep'],
    ['too deep and never closed', '{"a":'.repeat(5), 'is nested over 4 levels deep'],
    ['too many keys', '{"a":{"b":1,"c":2},"d":{"e":1,"f":2}}', 'has over 5 keys'],
    ['too many elements', `{"a":[${'1,'.repeat(6)}1]}`, 'has over 6 array elements'],
    ['too many elements for both', `{"a":[${'1,'.repeat(20)}1]}`, 'has too many keys and elements'],
  ])('is refused: %s', (_, text, fault) => {
    expect(read(text)).toEqual({ fault, isObject: true });
    expect(read(Buffer.from(text))).toEqual({ fault, isObject: true });
    expect(() => parseStrict(text, rules)).toThrow(new TypeError(`it ${fault}`));
  });

  it.each([
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'is not valid UTF-8'],
    ['a byte order mark', '\ufeff{}', 'is not valid JSON'],
    ['two texts', '{}{}', 'is not valid JSON'],
    ['nothing', '', 'is not valid JSON'],
    ['a list of what is doubled', '[{"a":1,"a":1}]', 'has a key twice'],
  ])('is no object to anybody: %s', (_, text, fault) => {
    expect(read(text)).toEqual({ fault, isObject: false });
  });

  it('is quoted in no message', () => {
    for (const text of ['{"secret" 1}', '["secret"', '{"secret":1,"secret":2}', '{"secret":"\\ud800"}']) {
      expect(() => parseStrict(text, rules)).toThrow(/^it (?!.*secret)/);
    }
  });

  it('costs no time and no stack, however deep it is', () => {
    const before = performance.now();
    expect(read('['.repeat(1_000_000))).toMatchObject({ fault: 'is nested over 4 levels deep' });
    expect(read(`{"a":"${'\\"'.repeat(500_000)}`)).toMatchObject({ fault: 'is not valid JSON' });
    expect(performance.now() - before).toBeLessThan(500);
  });
});

describe('text with one meaning', () => {
  it('is read as it is, of any kind', () => {
    for (const text of ['{"a":{"a":[1,"a","a"]},"b":"\\"a\\":1"}', '[]', 'null', '"x"', '0']) {
      expect(read(text)).toEqual({ fault: null, value: JSON.parse(text), halves: 0 });
    }
    expect(read('{"constructor":1,"prototype":2}')).toMatchObject({ fault: null });
    expect(() => parseStrict('[]', rules)).toThrow('it is JSON of another kind');
  });

  it('has as many levels, keys and elements as it may', () => {
    expect(read('{"a":[[[1,2,3,4]]],"b":1,"c":1,"d":1,"e":1}')).toMatchObject({ fault: null });
    expect(readJson(`[${'1,'.repeat(9999)}1]`, { depth: 1, keys: 0 })).toMatchObject({ fault: null });
  });

  it('may be kept from more keys, and let through with values that somebody else judges', () => {
    expect(read('{"constructor":1}', { forbidden: new Set(['constructor']) })).toEqual({
      fault: 'has the key constructor',
      isObject: true,
    });
    const halved = '{"a":"\\ud800","b":["x\\udc00"]}';
    expect(read(halved, { allows: 'halves' })).toMatchObject({ fault: null, halves: 2 });
    expect(read('{"a":1e999}', { allows: 'halves' })).toMatchObject({ fault: 'has a number out of range' });
    expect(read('{"a":1e999,"b":"\\ud800"}', { allows: 'any' })).toMatchObject({ fault: null, halves: 1 });
  });
});

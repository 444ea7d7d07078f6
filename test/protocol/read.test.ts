import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encode, eventOf } from '../../src/protocol/event.js';
import { createReader, spliceType } from '../../src/protocol/read.js';
import type { SlowReason } from '../../src/protocol/scan.js';
import { disagreement, type Rules } from './reference.js';

const upRules: Rules = {
  direction: 'up',
  dialect: 'ga',
  slowBytes: 262_144,
  eventBytes: 1_048_576,
  tree: { depth: 16, keys: 512, elements: 4096 },
};
const downRules: Rules = {
  direction: 'down',
  dialect: 'ga',
  slowBytes: 33_554_432,
  eventBytes: 33_554_432,
  halves: true,
  tree: { depth: 32, keys: 20_000, elements: 100_000 },
};
const { tree: _up, ...upOptions } = upRules;
const { tree: _down, halves: _halves, ...downOptions } = downRules;
const readUp = createReader(upOptions);
const readDown = createReader({ ...downOptions, onHalf: () => undefined });

const append = '{"type":"input_audio_buffer.append","audio":"QUJD"}';
const create = '{"type":"response.create"}';
const delta =
  '{"type":"response.output_audio.delta","event_id":"event_1","response_id":"resp_1","item_id":"item_1",' +
  '"output_index":0,"content_index":0,"delta":"UklGRgAA"}';
const utf16 = Buffer.from(append, 'utf16le');
const bytes = (...parts: (string | number[])[]) => Buffer.concat(parts.map((part) => Buffer.from(part as string)));
const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth);
const keys = (count: number) => Array.from({ length: count }, (_, i) => `"k${i}":0`).join(',');

type Row = readonly [name: string, message: string | Buffer];

const refused: Row[] = [
  ['nothing', ''],
  ['blanks only', ' \n'],
  ['a top-level array', `[${create}]`],
  ['a top-level null', 'null'],
  ['a top-level number', '1'],
  ['a top-level string', '"response.create"'],
  ['a top-level true', 'true'],
  ['text that is no JSON', 'hello'],
  ['two documents', create + create],
  ['two appends', append + append],
  ['an append and another event', append + create],
  ['two documents on two lines', `${append}\n${create}`],
  ['trailing garbage', `${create}x`],
  ['a closing brace too many', `${create}}`],
  ['a NUL after', `${create}\0`],
  ['a NUL after an append', `${append}\0`],
  ['a NUL before', `\0${create}`],
  ['a byte order mark', `\ufeff${create}`],
  ['a byte order mark before an append', `\ufeff${append}`],
  ['a byte order mark after', `${create}\ufeff`],
  ['UTF-16 little endian', utf16],
  ['UTF-16 big endian', Buffer.from(utf16).swap16()],
  ['UTF-16 with its mark', bytes([0xff, 0xfe], create)],
  ['a no-break space for a blank', `{\u00a0"type":"a"}`],
  ['a zero-width space for a blank', `{\u200b"type":"a"}`],
  ['a line separator for a blank', `{\u2028"type":"a"}`],
  ['a form feed for a blank', '{\f"type":"a"}'],
  ['a vertical tab for a blank', '{\v"type":"a"}'],
  ['a comment', '{/* */"type":"a"}'],
  ['a line comment', '{"type":"a"}//'],
  ['a hash comment', '{"type":"a"}#'],
  ['single quotes', "{'type':'a'}"],
  ['typographic quotes', '{“type”:“a”}'],
  ['a key without quotes', '{type:"a"}'],
  ['a comma at the end', '{"type":"a",}'],
  ['a comma at the end of an array', '{"a":[1,]}'],
  ['two commas', '{"type":"a",,"b":1}'],
  ['an elision in an array', '{"a":[1,,2]}'],
  ['NaN', '{"a":NaN}'],
  ['Infinity', '{"a":-Infinity}'],
  ['undefined', '{"a":undefined}'],
  ['capitals in a literal', '{"a":True}'],
  ['a number with a leading zero', '{"a":01}'],
  ['a number with a plus', '{"a":+1}'],
  ['a hexadecimal number', '{"a":0x10}'],
  ['a number that starts with its point', '{"a":.5}'],
  ['a number that ends with its point', '{"a":5.}'],
  ['a number beyond the range', '{"a":1e999}'],
  ['a negative number beyond the range', '{"a":[-1e999]}'],
  ['a number of 400 digits', `{"a":${'9'.repeat(400)}}`],
  ['a raw line break in a string', '{"a":"x\ny"}'],
  ['a raw tab in a string', '{"a":"x\ty"}'],
  ['a raw NUL in a string', '{"a":"x\0y"}'],
  ['a raw NUL in a key', '{"type\0x":"a"}'],
  ['an escaped NUL in a key', '{"type\\u0000x":"a"}'],
  ['an escaped line break in a key', '{"ty\\npe":"a"}'],
  ['a delete character in a key', '{"type\x7f":"a"}'],
  ['a C1 control character in a key', '{"type\u0085":"a"}'],
  ['a NUL in a nested key', '{"a":[{"b\\u0000":1}]}'],
  ['an unknown escape', '{"a":"\\x41"}'],
  ['a short unicode escape', '{"a":"\\u41"}'],
  ['half a surrogate pair', '{"a":"\\ud83d"}'],
  ['the second half alone, lower case', '{"a":"\\udfff"}'],
  ['the second half alone, capitals', '{"a":"\\uDE00"}'],
  ['halves in the wrong order', '{"a":"\\ude00\\ud83d"}'],
  ['half a pair in an array', '{"a":[{"b":["\\uD800x"]}]}'],
  ['half a pair in a key', '{"\\ud83d":1}'],
  ['half a pair in the type', '{"type":"session.update\\ud800"}'],
  ['a surrogate written as UTF-8', bytes('{"a":"', [0xed, 0xa0, 0x80], '"}')],
  ['a pair written as CESU-8', bytes('{"a":"', [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], '"}')],
  ['an overlong t in a key', bytes('{"', [0xc1, 0xb4], 'ype":"a"}')],
  ['an overlong slash', bytes('{"a":"', [0xe0, 0x80, 0xaf], '"}')],
  ['an overlong NUL', bytes('{"a":"', [0xc0, 0x80], '"}')],
  ['a byte that is never UTF-8', bytes('{"a":"', [0xff], '"}')],
  ['a continuation byte alone', bytes('{"a":"', [0x80], '"}')],
  ['a character cut short', bytes('{"a":"', [0xe2, 0x82], '"}')],
  ['a character beyond U+10FFFF', bytes('{"a":"', [0xf4, 0x90, 0x80, 0x80], '"}')],
  ['a stray byte in audio', bytes('{"type":"input_audio_buffer.append","audio":"', [0xff, 0x41, 0x42, 0x43], '"}')],
  ['type twice, the same', '{"type":"response.create","type":"response.create"}'],
  ['type twice, the harmless one last', '{"type":"session.update","type":"response.create"}'],
  ['type twice, the harmless one first', '{"type":"response.create","type":"session.update"}'],
  ['type twice in an append', append.replace('}', ',"type":"session.update"}')],
  ['type before and after in an append', append.replace('{', '{"type":"session.update",')],
  ['type three times', '{"type":"a","type":"b","type":"c"}'],
  ['type twice with other members between', '{"type":"a","x":{"y":[1,2]},"type":"b"}'],
  ['type twice behind 64 KB of audio', append.replace('QUJD', 'QUJD'.repeat(16_384)).replace('}', ',"type":"x"}')],
  ['an escaped type after the plain one', '{"type":"response.create","\\u0074ype":"session.update"}'],
  ['an escaped type before the plain one', '{"\\u0074ype":"session.update","type":"response.create"}'],
  ['an escaped type in an append', append.replace('}', ',"typ\\u0065":"session.update"}')],
  ['the same key escaped in two ways', '{"\\u0074ype":"a","t\\u0079pe":"b"}'],
  ['escapes in capitals and lower case', '{"\\u00e9":1,"\\u00E9":2}'],
  ['a key escaped and as UTF-8', '{"\\u00e9":1,"é":2}'],
  ['an escaped slash in one of two keys', '{"a/b":1,"a\\/b":2}'],
  ['audio twice', append.replace('}', ',"audio":"QUJD"}')],
  ['audio and escaped audio', append.replace('}', ',"\\u0061udio":"QUJD"}')],
  ['a duplicate with a backslash before its quote', '{"a\\\\":1,"a\\\\":2}'],
  ['a duplicate with a quote in it', '{"a\\"":1,"a\\"":2}'],
  ['a duplicate behind colons in strings', '{"a":"::\\"::","b":":","a":":"}'],
  ['a duplicate of an empty key', '{"":1,"":2}'],
  ['a duplicate of a numeric key', '{"1":1,"1":2}'],
  ['a duplicate in a nested object', '{"session":{"instructions":"a","instructions":"b"}}'],
  ['a duplicate inside arrays', '{"a":[[{"b":1,"b":1}]]}'],
  ['an object twice, the first hiding keys', '{"item":{"role":"user","x":1},"item":{"role":"system"}}'],
  ['a duplicate in an object that a duplicate hides', '{"a":{"b":1,"b":2},"a":1}'],
  ['__proto__', '{"type":"a","__proto__":{"x":1}}'],
  ['__proto__ in an append', append.replace('}', ',"__proto__":{"type":"session.update"}}')],
  ['an escaped __proto__', '{"\\u005f_proto__":{}}'],
  ['__proto__ nested', '{"session":{"audio":[{"__proto__":null}]}}'],
  ['__proto__ twice', '{"__proto__":1,"__proto__":2}'],
  ['constructor', '{"constructor":{"prototype":{}}}'],
  ['constructor nested', '{"a":{"constructor":1}}'],
  ['prototype', '{"a":{"prototype":1}}'],
  ['17 levels of objects', `${'{"a":'.repeat(16)}{}${'}'.repeat(16)}`],
  ['17 levels of arrays', `{"a":${nested('[', ']', 16)}}`],
  ['100,000 arrays', `{"a":${nested('[', ']', 100_000)}}`],
  ['100,000 arrays without an end', `{"a":${'['.repeat(100_000)}`],
  ['40,000 objects', `{"audio":${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}}`],
  ['513 keys', `{${keys(513)}}`],
  ['20,000 keys', `{${keys(20_000)}}`],
  ['513 keys in many objects', `{"a":[${Array.from({ length: 256 }, () => '{"x":1,"y":2}').join(',')}]}`],
  ['4097 elements', `{"a":[${'0,'.repeat(4096)}0]}`],
  ['4097 elements in two arrays', `{"a":[${'0,'.repeat(2999)}0],"b":[${'0,'.repeat(1096)}0]}`],
  ['130,000 empty arrays', `{"a":[${'[],'.repeat(80_000)}[]]}`],
  ['a string without an end', '{"type":"response.create'],
  ['a string that ends in a backslash', '{"type":"a\\"}'],
  ['an object without an end', '{"type":"a"'],
  ['brackets crossed', '{"a":[1}]'],
  ['a brace for a bracket', '{"a":[1}}'],
  ['a colon in an array', '{"a":["b":1]}'],
  ['a member without a value', '{"a":}'],
  ['a key without a colon', '{"a"}'],
  ['a closing bracket first', ']{"a":1}'],
];

const parsed: Row[] = [
  ['an empty object', '{}'],
  ['another event', create],
  ['blanks around', ` \t\r\n${create}\n`],
  ['audio with an escaped slash', append.replace('QUJD', 'QU\\/D')],
  ['audio with an escaped plus', append.replace('QUJD', 'QU\\u002bD')],
  ['audio with a quote trick', append.replace('QUJD', 'QUJD\\",\\"type\\":\\"session.update')],
  ['audio with a backslash before its end', append.replace('QUJD', 'QUJD\\\\')],
  ['audio that is no base64', append.replace('QUJD', '<script>')],
  ['audio that is empty', append.replace('QUJD', '')],
  ['URL-safe audio', append.replace('QUJD', '-_-_')],
  ['audio that is null', append.replace('"QUJD"', 'null')],
  ['audio that is an event', append.replace('"QUJD"', '{"type":"session.update"}')],
  ['an extra field on an append', append.replace('}', ',"x":1}')],
  ['a nested event on an append', append.replace('}', ',"event":{"type":"session.update","session":{}}}')],
  ['an escaped key', append.replace('"type"', '"\\u0074ype"')],
  ['an escaped type', append.replace('input', '\\u0069nput')],
  ['a key in capitals', '{"TYPE":"session.update"}'],
  ['a key in both cases', '{"Type":"session.update","type":"response.create"}'],
  ['a key with a blank', '{"type ":"session.update"}'],
  ['a look-alike key', '{"tуpe":"session.update"}'],
  ['a full-width key', '{"ｔｙｐｅ":"session.update"}'],
  ['a key with a zero-width space', '{"ty\u200bpe":"session.update"}'],
  ['composed and decomposed keys', '{"\u00e9":1,"e\u0301":2}'],
  ['a relay id', append.replace('{', '{"event_id":"rly_1",')],
  ['the same key in different objects', '{"a":{"x":1},"b":{"x":1},"x":[{"x":1},{"x":1}]}'],
  ['colons, quotes and brackets in strings', '{"a:\\"{[":"::\\\\\\"}]},","b\\\\":"\\\\"}'],
  ['toString as a key', '{"toString":1,"hasOwnProperty":2,"valueOf":3}'],
  ['__proto__ as a value', '{"type":"__proto__"}'],
  ['a surrogate pair, escaped', '{"a":"\\ud83d\\ude00","\\uD83D\\uDE00":1}'],
  ['a surrogate pair as UTF-8', '{"a":"😀"}'],
  ['what only looks like an escape', '{"a":"\\\\ud800"}'],
  ['a NUL in a value', '{"type":"session.update\\u0000"}'],
  ['a byte order mark in a string', '{"a":"\ufeff"}'],
  ['a negative zero', '{"a":-0}'],
  ['a number too small to tell from 0', '{"a":1e-999}'],
  ['a long integer', '{"a":12345678901234567890}'],
  ['16 levels of objects', `${'{"a":'.repeat(15)}{}${'}'.repeat(15)}`],
  ['16 levels of arrays', `{"a":${nested('[', ']', 15)}}`],
  ['512 keys', `{${keys(512)}}`],
  ['4096 elements', `{"a":[${'0,'.repeat(4095)}0]}`],
  ['a type of 200,000 characters', `{"type":"${'a'.repeat(200_000)}"}`],
  ['many escaped quotes', `{"a":"${'\\"'.repeat(50_000)}"}`],
  ['many backslashes', `{"a":"${'\\\\'.repeat(50_000)}"}`],
];

const noType: Row[] = [
  ['missing', '{"event_id":"a"}'],
  ['null', '{"type":null}'],
  ['a number', '{"type":1}'],
  ['true', '{"type":true}'],
  ['an array', '{"type":["input_audio_buffer.append"],"audio":"QUJD"}'],
  ['an object', '{"type":{"toString":"session.update"}}'],
  ['empty', '{"type":""}'],
];

describe('a message that is invalid or could be read in two ways is refused', () => {
  it.each(refused)('%s', (_name, message) => {
    const whole = Buffer.from(message as string);
    expect(() => readUp(Buffer.from(whole))).toThrow(expect.objectContaining({ name: 'RelayError', id: 'bad_event' }));
    expect(disagreement(whole, readUp, upRules)).toMatchObject({ verdict: 'reject', fault: null });
  });

  it('without quoting the message in what is logged', () => {
    for (const secret of ['{"a":tiger}', '{"tiger":1,"tiger":2}', 'tiger']) {
      try {
        readUp(Buffer.from(secret));
        expect.unreachable();
      } catch (error) {
        expect(`${error} ${(error as Error).cause}`).not.toContain('tiger');
      }
    }
  });
});

describe('half of a surrogate pair', () => {
  const text = '{"type":"response.output_text.delta","delta":"\\ud83d"}';

  it('is passed on where upstream cuts its words, and told', () => {
    let halves = 0;
    const read = createReader({ ...downOptions, onHalf: () => halves++ });
    expect(encode(read(Buffer.from(text))).toString()).toBe(text);
    expect(() => read(Buffer.from('{"\\ud83d":1}'))).toThrow(expect.objectContaining({ isBearable: true }));
    expect(halves).toBe(1);
  });
});

describe('a message that is valid but not plain audio is parsed', () => {
  it.each(parsed)('%s', (_name, message) => {
    const whole = Buffer.from(message as string);
    const event = readUp(whole);
    expect(event.raw).toBeNull();
    expect(event.body).toEqual(JSON.parse(whole.toString()));
    expect(disagreement(whole, readUp, upRules)).toMatchObject({ verdict: 'slow', fault: null });
  });

  it.each(noType)('and has the empty type when type is %s', (_name, message) => {
    expect(readUp(Buffer.from(message as string))).toMatchObject({ type: '', raw: null });
  });

  it('and does not take a type from its prototype', () => {
    expect(readUp(Buffer.from('{"type":"toString"}')).type).toBe('toString');
    expect(Object.keys(readUp(Buffer.from('{}')).body ?? { unread: 1 })).toEqual([]);
  });
});

describe('the size of a message is limited by what it carries', () => {
  const limits = { direction: 'up', dialect: 'ga', slowBytes: 200, eventBytes: 400 } as const;
  const read = createReader(limits);
  const sized = (before: string, after: string, length: number) =>
    Buffer.from(before + 'A'.repeat(length - before.length - after.length) + after);

  const item = '"type":"conversation.item.create","item":{"content":[{';

  it.each([
    ['plain audio up to the event limit', sized('{"type":"input_audio_buffer.append","audio":"', '"}', 399), true],
    ['escaped audio up to the event limit', sized('{"type":"input_audio_buffer.append","audio":"\\/', '"}', 400), true],
    ['an item with audio up to the event limit', sized(`{${item}"audio":"`, '"}]}}', 400), true],
    ['an item with a little audio over the slow limit', sized(`{${item}"audio":"AAAA","text":"`, '"}]}}', 300), false],
    ['an item whose audio is no text over the slow limit', sized(`{${item}"audio":["`, '"]}]}}', 300), false],
    ['audio of a type that has none over the slow limit', sized('{"type":"x","audio":"', '"}', 300), false],
    [
      'audio of an escaped type over the slow limit',
      sized('{"type":"response\\u002ecreate","audio":"', '"}', 300),
      false,
    ],
    ['audio in words over the slow limit', sized('{"type":"response.create","x":"\\"audio\\":', '"}', 300), false],
    [
      'audio of an event within another over the slow limit',
      sized('{"x":{"type":"response.create","audio":"', '"}}', 300),
      false,
    ],
    ['an event without audio up to the slow limit', sized('{"type":"', '"}', 200), true],
    ['an event without audio over the slow limit', sized('{"type":"', '"}', 201), false],
    ['an event whose audio key is escaped over the slow limit', sized('{"\\u0061udio":"', '"}', 201), false],
    ['escaped audio over the event limit', sized('{"type":"input_audio_buffer.append","audio":"\\/', '"}', 401), false],
    ['plain audio over the event limit', sized('{"type":"input_audio_buffer.append","audio":"', '"}', 403), false],
    ['bytes that are no JSON over the event limit', Buffer.alloc(401), false],
  ])('%s', (_name, message, isRead) => {
    if (isRead) expect(read(message)).toHaveProperty('type');
    else expect(() => read(message)).toThrow(expect.objectContaining({ id: 'too_big' }));
  });

  it('and a larger tree is read from the upstream than from a client', () => {
    const wide = Buffer.from(`{"type":"x","a":${nested('[', ']', 31)},${keys(5000)}}`);
    expect(() => readUp(wide)).toThrow(expect.objectContaining({ id: 'bad_event' }));
    expect(readDown(wide).type).toBe('x');
    expect(() => readDown(Buffer.from(`{"a":${nested('[', ']', 32)}}`))).toThrow(/32 levels/);
    expect(() => readDown(Buffer.from(`{${keys(20_001)}}`))).toThrow(/20000 keys/);
  });

  it('and a tree too wide is refused before it is built', () => {
    expect(() => readUp(Buffer.from(`{"a":[${'0,'.repeat(4096 + 513)}0]}`))).toThrow(/too many keys and elements/);
  });

  it('and hostile megabytes are refused in a bounded time', () => {
    const room = 1_048_000;
    const floods = ['[', '{"a":', '\\"', '"', ':', ',', '[],', '"a":1,', '\\', '\\\\', ' ', '{', '"",', '\\u', '1'];
    const start = performance.now();
    for (const flood of floods) {
      for (const before of ['{"audio":', '{"audio":"', '{"audio":[']) {
        expect(() => readUp(Buffer.from(before + flood.repeat(Math.floor(room / flood.length))))).toThrow();
      }
    }
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

it('tells why each message left the fast path, and nothing for one that did not', () => {
  const reasons: SlowReason[] = [];
  const read = createReader({ ...upOptions, onSlow: (reason) => reasons.push(reason) });
  read(Buffer.from(append));
  expect(reasons).toEqual([]);
  read(Buffer.from(create));
  read(Buffer.from(append.replace('QUJD', 'QU\\/D')));
  expect(() => read(Buffer.from('nonsense'))).toThrow();
  expect(reasons).toEqual(['type', 'escape', 'shape']);
});

describe('an event is renamed', () => {
  const old = 'response.audio.delta';
  it.each([
    ['the type first', delta],
    ['the type last', '{"delta":"UklGRgAA","response_id":"r","item_id":"i","type":"response.output_audio.delta"}'],
    ['blanks around the type', delta.replace('"type":', ' "type" \n:\t ')],
    ['an id that reads like the key', delta.replace('"event_1"', '"type"')],
    ['an id that reads like the value', delta.replace('"event_1"', '"response.output_audio.delta"')],
    [
      'such ids before the type',
      '{"event_id":"type" ,"item_id":"response.output_audio.delta","response_id":"type","type":"response.output_audio.delta","delta":"UklGRgAA"}',
    ],
  ])('in its bytes, to a shorter, longer and equal name, with %s', (_name, text) => {
    for (const to of [old, 'x', 'response.output_audio.delta', 'response.output_audio.delta.of.more.bytes']) {
      const event = readDown(Buffer.from(text));
      const renamed = spliceType(event, to);
      const at = text.search(/"type"\s*:/);
      const expected = text.slice(0, at) + text.slice(at).replace('"response.output_audio.delta"', `"${to}"`);
      expect(renamed.raw?.toString()).toBe(expected);
      expect(renamed).toMatchObject({ type: to, body: null, audioBytes: 6, itemId: event.itemId });
    }
  });

  it('without touching its neighbours in a shared buffer', () => {
    const shared = Buffer.from(`<<${delta}>>`);
    const renamed = spliceType(readDown(shared.subarray(2, 2 + delta.length)), old);
    expect(encode(renamed).toString()).toBe(delta.replace('output_audio', 'audio'));
    expect(shared.subarray(0, 2).toString()).toBe('<<');
    expect(shared.subarray(-2).toString()).toBe('>>');
  });

  it('in its body when it was parsed', () => {
    const renamed = spliceType(eventOf({ type: 'a', delta: 'x' }), 'b');
    expect(renamed).toEqual(eventOf({ type: 'b', delta: 'x' }));
  });
});

describe('the reader and a second, independent one agree', () => {
  const honest = [
    append,
    append.replace('{', '{"event_id":"event_1",'),
    '{"audio":"QUI=","type":"input_audio_buffer.append"}',
    '{"type":"session.update","session":{"type":"realtime","audio":{"input":{"turn_detection":null}}}}',
    '{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"é"}]}}',
    delta,
    delta.replace('output_audio', 'audio'),
  ].map((text) => Buffer.from(text).toString('latin1'));
  const inserts = [
    ' ',
    '\n',
    '\0',
    '\xef\xbb\xbf',
    '"',
    '\\',
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '=',
    '-',
    '\\u0074',
    '\\ud800',
  ];
  inserts.push(
    '"type":"x",',
    ',"audio":"QUJD"',
    '"__proto__":1,',
    '\xed\xa0\x80',
    '\xd1\x83',
    '{"a":',
    '1e999',
    'rly_',
    '[[[[',
  );
  const mutation = fc.oneof(
    fc.record({ kind: fc.constant('byte'), at: fc.nat(400), byte: fc.nat(255) }),
    fc.record({ kind: fc.constant('insert'), at: fc.nat(400), text: fc.constantFrom(...inserts) }),
    fc.record({ kind: fc.constant('cut'), at: fc.nat(400), count: fc.nat(12) }),
    fc.record({ kind: fc.constant('double'), at: fc.nat(400), count: fc.nat(40) }),
    fc.record({ kind: fc.constant('escape'), at: fc.nat(400) }),
    fc.record({ kind: fc.constant('end'), at: fc.nat(400) }),
  );
  type Mutation = { kind: string; at: number; byte?: number; text?: string; count?: number };
  const mutate = (text: string, { kind, at: wish, byte = 0, text: added = '', count = 0 }: Mutation) => {
    const at = wish % (text.length + 1);
    if (kind === 'byte') return text.slice(0, at) + String.fromCharCode(byte) + text.slice(at + 1);
    if (kind === 'insert') return text.slice(0, at) + added + text.slice(at);
    if (kind === 'cut') return text.slice(0, at) + text.slice(at + count);
    if (kind === 'double') return text.slice(0, at + count) + text.slice(at);
    if (kind === 'end') return text.slice(0, at);
    return `${text.slice(0, at)}\\u00${(text.charCodeAt(at) || 0).toString(16).padStart(2, '0')}${text.slice(at + 1)}`;
  };
  const small = { slowBytes: 100, eventBytes: 180, tree: { depth: 3, keys: 8, elements: 2 } };
  const sides = [
    upRules,
    { ...upRules, ...small },
    downRules,
    { ...downRules, ...small, dialect: 'preview' as const },
  ].map((rules) => ({ rules, read: createReader({ ...rules, ...(rules.halves && { onHalf: () => undefined }) }) }));
  const agree = (message: Buffer) => {
    for (const { rules, read } of sides) expect(disagreement(Buffer.from(message), read, rules).fault).toBeNull();
  };

  it('on honest events that were damaged', () => {
    const events = fc.tuple(fc.constantFrom(...honest), fc.array(mutation, { maxLength: 4 }));
    fc.assert(
      fc.property(events, ([text, mutations]) => agree(Buffer.from(mutations.reduce<string>(mutate, text), 'latin1'))),
      { numRuns: 4000 },
    );
  });

  it('on any JSON', () => {
    const anyKey = fc.oneof(fc.constantFrom('type', 'audio', 'delta', '__proto__', 'a'), fc.string({ unit: 'binary' }));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        fc.jsonValue({ maxDepth: 1 }),
        fc.string({ unit: 'binary' }),
        tie('list'),
        tie('object'),
      ),
      list: fc.array(tie('value'), { maxLength: 4 }),
      object: fc.array(fc.tuple(anyKey, tie('value')), { maxLength: 4 }).map((members) => ({ members })),
    }));
    const write = (node: unknown): string => {
      if (Array.isArray(node)) return `[${node.map(write).join(',')}]`;
      if (typeof node !== 'object' || node === null || !('members' in node)) return JSON.stringify(node);
      const members = node.members as [string, unknown][];
      return `{${members.map(([key, field]) => `${JSON.stringify(key)}:${write(field)}`).join(', ')}}`;
    };
    fc.assert(
      fc.property(value, (node) => agree(Buffer.from(write(node)))),
      { numRuns: 2000 },
    );
  });

  it('on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (any) => agree(Buffer.from(any))),
      { numRuns: 1000 },
    );
  });
});

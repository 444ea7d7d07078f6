import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { scan, scanTable, slowReasons } from '../../src/protocol/scan.js';

const up = scanTable('up', 'ga');
const down = scanTable('down', 'ga');
const preview = scanTable('down', 'preview');

const append = '{"type":"input_audio_buffer.append","audio":"QUJD"}';
const delta =
  '{"type":"response.output_audio.delta","event_id":"event_1","response_id":"resp_1","item_id":"item_1",' +
  '"output_index":0,"content_index":0,"delta":"UklGRgAA"}';

const scanUp = (text: string) => scan(Buffer.from(text), up);

describe('an audio event in the strict language is forwarded as it came', () => {
  const long = 'i'.repeat(128);
  it.each([
    ['the usual append', append, 3],
    ['keys in the other order', '{"audio":"QUJD","type":"input_audio_buffer.append"}', 3],
    ['an event id first', '{"event_id":"event_1","type":"input_audio_buffer.append","audio":"QUJD"}', 3],
    ['an event id last', '{"type":"input_audio_buffer.append","audio":"QUJD","event_id":"A.b:c-d_9"}', 3],
    ['an event id of 128 characters', `{"event_id":"${long}","type":"input_audio_buffer.append","audio":"QUJD"}`, 3],
    ['every blank everywhere', ' \t\r\n{ "type"\t:\r"input_audio_buffer.append"\n, "audio" : "QUJD" } \t\r\n', 3],
    ['one sign of padding', '{"type":"input_audio_buffer.append","audio":"QUI="}', 2],
    ['two signs of padding', '{"type":"input_audio_buffer.append","audio":"QQ=="}', 1],
    ['plus and slash', '{"type":"input_audio_buffer.append","audio":"+/+/"}', 3],
    ['an id that only resembles the reserved prefix', append.replace('{', '{"event_id":"rly-1",'), 3],
  ])('%s', (_name, text, audioBytes) => {
    const message = Buffer.from(text);
    const event = scan(message, up);
    expect(event).toEqual({
      type: 'input_audio_buffer.append',
      raw: message,
      body: null,
      audioBytes,
      itemId: null,
      responseId: null,
      framed: false,
    });
    expect(event).toHaveProperty('raw', message);
    expect(message.toString()).toBe(text);
  });

  it.each([65_532, 65_536, 65_540, 131_072, 131_076, 200_000])('with %i characters of audio', (length) => {
    for (const tail of ['QUJD', 'QUI=', 'QQ==']) {
      const audio = 'QUJD'.repeat(length / 4 - 1) + tail;
      expect(scanUp(append.replace('QUJD', audio))).toMatchObject({ audioBytes: Buffer.from(audio, 'base64').length });
    }
  });

  it.each([
    ['response.output_text.delta', down],
    ['response.output_audio_transcript.delta', down],
    ['response.text.delta', preview],
    ['response.audio_transcript.delta', preview],
  ])('forwards the words of %s as they came', (type, table) => {
    const wordsOf = (written: string) =>
      Buffer.from(delta.replace('response.output_audio.delta', type).replace('"UklGRgAA"', `"${written}"`));
    for (const plain of ['', ' and', 'café 你好 🎉', "it's 50/50", '\u007f']) {
      const message = wordsOf(plain);
      expect(scan(message, table)).toEqual({
        type,
        raw: message,
        body: null,
        audioBytes: 0,
        itemId: 'item_1',
        responseId: 'resp_1',
        framed: false,
      });
    }
    expect(scan(wordsOf('a\\nb'), table)).toBe('escape');
    expect(scan(wordsOf('a\nb'), table)).toBe('value');
    expect(scan(wordsOf('x'.repeat(4097)), table)).toBe('value');
    const broken = wordsOf('ab');
    broken[broken.lastIndexOf('ab')] = 0xff;
    expect(scan(broken, table)).toBe('value');
  });

  const padded = (type: string, padding: string) =>
    delta.replace('response.output_audio.delta', type).replace('"UklGRgAA"', `" and","obfuscation":"${padding}"`);

  it.each([
    ['response.output_text.delta', down],
    ['response.output_audio_transcript.delta', down],
    ['response.text.delta', preview],
    ['response.audio_transcript.delta', preview],
  ])('forwards the padding of %s with the words', (type, table) => {
    for (const padding of ['', 'a', 'aB3dE5fG7hI9', 'x'.repeat(127)]) {
      const message = Buffer.from(padded(type, padding));
      expect(scan(message, table)).toMatchObject({ type, raw: message });
    }
    expect(scan(Buffer.from(padded(type, 'x'.repeat(129))), table)).toBe('value');
    expect(scan(Buffer.from(padded(type, 'a b')), table)).toBe('value');
    expect(scan(Buffer.from(padded(type, 'a\\u0041')), table)).toBe('escape');
    const twice = padded(type, 'a').replace('"obfuscation"', '"obfuscation":"b","obfuscation"');
    expect(() => scan(Buffer.from(twice), table)).toThrow('more than once');
  });

  it('forwards what the user is heard to say, which belongs to no response', () => {
    const heard =
      '{"type":"conversation.item.input_audio_transcription.delta","event_id":"event_1","item_id":"item_1",' +
      '"content_index":0,"delta":" hello","obfuscation":"aB3dE5fG7h"}';
    for (const table of [down, preview]) {
      const message = Buffer.from(heard);
      expect(scan(message, table)).toEqual({
        type: 'conversation.item.input_audio_transcription.delta',
        raw: message,
        body: null,
        audioBytes: 0,
        itemId: 'item_1',
        responseId: null,
        framed: false,
      });
      const ofResponse = heard.replace('"item_id"', '"response_id":"resp_1","item_id"');
      expect(scan(Buffer.from(ofResponse), table)).toBe('key');
      expect(scan(Buffer.from(heard.replace('"item_id":"item_1",', '')), table)).toBe('missing');
    }
  });

  it('reads the ids and the audio length of a server delta', () => {
    const message = Buffer.from(delta);
    expect(scan(message, down)).toEqual({
      type: 'response.output_audio.delta',
      raw: message,
      body: null,
      audioBytes: 6,
      itemId: 'item_1',
      responseId: 'resp_1',
      framed: false,
    });
    const old = delta.replace('output_audio', 'audio');
    expect(scan(Buffer.from(old), preview)).toMatchObject({ type: 'response.audio.delta', itemId: 'item_1' });
  });

  it.each(['0', '7', '10', '9999'])('with the index %s', (index) => {
    expect(scan(Buffer.from(delta.replace('"content_index":0', `"content_index":${index}`)), down)).toBeTypeOf(
      'object',
    );
  });

  it('reads a message that lies inside a larger buffer', () => {
    const around = Buffer.from(`"QUJD${append}QUJD"`);
    const inside = around.subarray(5, 5 + append.length);
    expect(scan(inside, up)).toMatchObject({ raw: inside, audioBytes: 3 });
    expect(scan(around.subarray(5, 4 + append.length), up)).toBe('shape');
    expect(scan(around.subarray(5, 6 + append.length), up)).toBe('shape');
  });
});

describe('any other message takes the slow path, for a named reason', () => {
  const audio = (value: string) => `{"type":"input_audio_buffer.append","audio":"${value}"}`;
  const index = (value: string) => delta.replace('"output_index":0', `"output_index":${value}`);
  it.each([
    ['type', 'another event', '{"type":"session.update","session":{}}', up],
    ['type', 'the other direction', delta, up],
    ['type', 'the other dialect', delta, preview],
    ['type', 'a type that begins alike', append.replace('append', 'append2'), up],
    ['type', 'a type that is cut short', append.replace('append', 'appen'), up],
    ['type', 'the type in capitals', append.replace('input', 'INPUT'), up],
    ['shape', 'an empty message', '', up],
    ['shape', 'blanks only', '  ', up],
    ['shape', 'an empty object', '{}', up],
    ['shape', 'an array', `[${append}]`, up],
    ['shape', 'a byte order mark', `\ufeff${append}`, up],
    ['shape', 'a NUL before', `\0${append}`, up],
    ['shape', 'a NUL after', `${append}\0`, up],
    ['shape', 'a form feed for a blank', `\f${append}`, up],
    ['shape', 'a no-break space for a blank', `\u00a0${append}`, up],
    ['shape', 'two documents', append + append, up],
    ['shape', 'a comma at the end', append.replace('}', ',}'), up],
    ['shape', 'a comma at the start', append.replace('{', '{,'), up],
    ['shape', 'no comma between members', append.replace(',', ' '), up],
    ['shape', 'no colon', append.replace(':', ' '), up],
    ['shape', 'single quotes', append.replaceAll('"', "'"), up],
    ['shape', 'a comment', append.replace('{', '{/**/'), up],
    ['shape', 'a comment at the end', `${append}//`, up],
    ['shape', 'no closing brace', append.slice(0, -1), up],
    ['shape', 'no closing quote', append.slice(0, -2), up],
    ['shape', 'a key without quotes', append.replace('"type"', 'type'), up],
    ['key', 'an unknown key', append.replace('{', '{"x":1,'), up],
    ['key', 'a server key', append.replace('{', '{"item_id":"item_1",'), up],
    ['key', 'a key in capitals', append.replace('"audio"', '"Audio"'), up],
    ['key', 'an escaped key', append.replace('"type"', '"\\u0074ype"'), up],
    ['key', 'a key with a NUL', append.replace('"type"', '"type\0"'), up],
    ['key', 'a key with a blank', append.replace('"type"', '"type "'), up],
    ['key', 'a look-alike key', append.replace('"type"', '"tуpe"'), up],
    ['key', 'an empty key', append.replace('"type"', '""'), up],
    ['key', 'padding on speech', delta.replace('{', '{"obfuscation":"aa",'), down],
    ['escape', 'an escaped slash in audio', audio('QU\\/D'), up],
    ['shape', 'an escaped quote in audio', audio('QUJ\\"'), up],
    ['escape', 'a unicode escape in audio', audio('\\u0041AA'), up],
    ['escape', 'an escaped type', append.replace('input', '\\u0069nput'), up],
    ['escape', 'an escaped id', append.replace('{', '{"event_id":"a\\n",'), up],
    ['base64', 'empty audio', audio(''), up],
    ['base64', 'a length that is no multiple of 4', audio('QUJDR'), up],
    ['base64', 'base64 without its padding', audio('QQ'), up],
    ['base64', 'padding only', audio('===='), up],
    ['base64', 'three signs of padding', audio('Q==='), up],
    ['base64', 'padding in the middle', audio('QQ==QUJD'), up],
    ['base64', 'padding twice', audio('QQ==QQ=='), up],
    ['base64', 'padding before the last character', audio('QU=D'), up],
    ['base64', 'URL-safe minus', audio('QU-D'), up],
    ['base64', 'URL-safe underscore', audio('_UJD'), up],
    ['base64', 'a blank in the base64', audio('QU D'), up],
    ['base64', 'a line break in the base64', audio('QUJD\nQUJ'), up],
    ['base64', 'a NUL in the base64', audio('QU\0D'), up],
    ['base64', 'a character beyond ASCII', audio('QUé'), up],
    ['base64', 'a flaw behind 64 KB', audio(`${'QUJD'.repeat(20_000)}QU!D`), up],
    ['base64', 'a flaw at the edge of a chunk', audio(`${'QUJD'.repeat(16_383)}QU=D${'QUJD'.repeat(9)}`), up],
    ['base64', 'a full quantum of padding at the edge', audio(`${'QUJD'.repeat(16_383)}QQ==${'QUJD'.repeat(9)}`), up],
    ['base64', 'a minus behind 64 KB', audio(`${'QUJD'.repeat(20_000)}QU-D`), up],
    ['value', 'audio that is null', append.replace('"QUJD"', 'null'), up],
    ['value', 'audio in an array', append.replace('"QUJD"', '["QUJD"]'), up],
    ['value', 'a type that is a number', append.replace('"input_audio_buffer.append"', '1'), up],
    ['value', 'an empty type', append.replace('input_audio_buffer.append', ''), up],
    ['value', 'an empty id', append.replace('{', '{"event_id":"",'), up],
    ['value', 'an id of 129 characters', append.replace('{', `{"event_id":"${'i'.repeat(129)}",`), up],
    ['value', 'a blank in an id', append.replace('{', '{"event_id":"a b",'), up],
    ['value', 'a NUL in an id', append.replace('{', '{"event_id":"a\0",'), up],
    ['value', 'a character beyond ASCII in an id', append.replace('{', '{"event_id":"é",'), up],
    ['value', 'a type with a zero-width space', append.replace('append', 'append\u200b'), up],
    ['value', 'an index with a sign', index('-1'), down],
    ['value', 'an index with a plus', index('+1'), down],
    ['value', 'an index that is a string', index('"0"'), down],
    ['value', 'an index that is null', index('null'), down],
    ['value', 'an index with a leading zero', index('01'), down],
    ['shape', 'an index over 9999', index('10000'), down],
    ['shape', 'an index with a fraction', index('1.0'), down],
    ['shape', 'an index with an exponent', index('1e0'), down],
    ['missing', 'no audio', '{"type":"input_audio_buffer.append"}', up],
    ['missing', 'no type', '{"audio":"QUJD"}', up],
    ['missing', 'no item', delta.replace('"item_id":"item_1",', ''), down],
    ['missing', 'no response', delta.replace('"response_id":"resp_1",', ''), down],
    ['relay_id', "an id of the relay's", append.replace('{', '{"event_id":"rly_1",'), up],
    ['relay_id', 'the prefix alone', append.replace('{', '{"event_id":"rly_",'), up],
  ])('%s: %s', (reason, _name, text, table) => {
    expect(slowReasons).toContain(reason);
    expect(scan(Buffer.from(text), table)).toBe(reason);
  });

  it('every proper beginning of an append', () => {
    for (let end = 0; end < append.length; end++) expect(scanUp(append.slice(0, end))).toBeTypeOf('string');
  });

  it('an append with any one byte replaced is forwarded only when the strict language allows it', () => {
    const inAudio = append.indexOf('QUJD');
    const original = Buffer.from(append);
    for (let at = 0; at < append.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const message = Buffer.from(original);
        message[at] = byte;
        const isAudio = at >= inAudio && at < inAudio + 4 && /[A-Za-z0-9+/]/.test(String.fromCharCode(byte));
        const isPadding = at === inAudio + 3 && byte === 0x3d;
        const isForwarded = typeof scan(message, up) !== 'string';
        expect(isForwarded, `byte ${byte} at ${at}`).toBe(byte === original[at] || isAudio || isPadding);
      }
    }
  });

  it('an append with any one byte inserted is forwarded only when the strict language allows it', () => {
    const isBetweenTokens = (at: number) => /[{}:,]/.test(append.charAt(at - 1) + append.charAt(at)) || at === 0;
    for (let at = 0; at <= append.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const message = Buffer.from(`${append.slice(0, at)} ${append.slice(at)}`);
        message[at] = byte;
        const isForwarded = typeof scan(message, up) !== 'string';
        expect(isForwarded, `byte ${byte} at ${at}`).toBe(isBetweenTokens(at) && [0x20, 9, 10, 13].includes(byte));
      }
    }
  });
});

describe('a known key that is there twice is refused', () => {
  it.each([
    ['the same type', append.replace('}', ',"type":"input_audio_buffer.append"}')],
    ['another type after it', append.replace('}', ',"type":"session.update"}')],
    ['two audios', append.replace('}', ',"audio":"QUJD"}')],
    ['two ids', append.replace('{', '{"event_id":"a","event_id":"b",')],
    ['a type behind 64 KB of audio', append.replace('QUJD', 'QUJD'.repeat(16_384)).replace('}', ',"type":"x"}')],
    ['a second type that would be slow', append.replace('}', ',"type":"\\u0061"}')],
    ['a second key before the message breaks off', append.replace('}', ',"type":')],
  ])('%s', (_name, text) => {
    expect(() => scanUp(text)).toThrow(expect.objectContaining({ id: 'bad_event' }));
  });
});

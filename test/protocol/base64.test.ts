import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import wabt from 'wabt';
import { exactBase64Bytes } from '../../src/protocol/base64.js';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const bytesOf = (text: string | Buffer) => {
  const message = Buffer.concat([Buffer.from('{"'), Buffer.from(text), Buffer.from('"}')]);
  return exactBase64Bytes(message, 2, message.length - 2);
};

describe('exact base64', () => {
  it('knows the decoded length of every length of text', () => {
    for (let size = 1; size < 200; size++) expect(bytesOf(randomBytes(size).toString('base64'))).toBe(size);
  });

  it('tells the alphabet from every other byte, wherever in the text it stands', () => {
    for (const at of [0, 1, 15, 16, 17, 62, 63]) {
      for (let byte = 0; byte < 256; byte++) {
        const text = Buffer.from('A'.repeat(64));
        text[at] = byte;
        const isLastPadding = at === 63 && byte === 0x3d;
        const expected = isLastPadding ? 47 : alphabet.includes(String.fromCharCode(byte)) ? 48 : 0;
        expect(bytesOf(text), `byte ${byte} at ${at}`).toBe(expected);
      }
    }
  });

  it('refuses what is empty, cut short or padded in the wrong place', () => {
    for (const text of ['', 'A', 'AA', 'AAA', 'AAAAA', 'A===', '====', '=AAA', 'AA=A', 'AA==AAAA', 'AAAA===='])
      expect(bytesOf(text), text).toBe(0);
  });

  it('checks text that is longer than its memory to the end', () => {
    const text = Buffer.from(randomBytes(600_000).toString('base64'));
    expect(bytesOf(text)).toBe(600_000);
    for (const at of [65_535, 65_536, 131_071, 400_000, text.length - 1]) {
      const broken = Buffer.from(text);
      broken[at] = 0x2d;
      expect(bytesOf(broken), `byte ${at}`).toBe(0);
    }
  });

  it('does not see what an earlier, longer text has left behind', () => {
    expect(bytesOf('-'.repeat(64))).toBe(0);
    for (let size = 1; size < 40; size++) expect(bytesOf(randomBytes(size).toString('base64'))).toBe(size);
  });

  it('runs the code that base64.wat says', async () => {
    const source = readFileSync(new URL('../../src/protocol/base64.wat', import.meta.url), 'utf8');
    const tools = await wabt();
    const { buffer } = tools.parseWat('base64.wat', source, { simd: true }).toBinary({});
    const own = readFileSync(new URL('../../src/protocol/base64.ts', import.meta.url), 'utf8');
    const parts = [...own.matchAll(/^ +'([A-Za-z0-9+/=]{20,})'/gm)].map((match) => match[1]);
    expect(parts.join('')).toBe(Buffer.from(buffer).toString('base64'));
  });
});

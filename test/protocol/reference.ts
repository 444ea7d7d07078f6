/**
 * A second opinion on what a message is: a plain recursive reader of JSON (RFC 8259) over UTF-8 (RFC 3629), byte by
 * byte, that keeps every member as it was written. It shares no code with the relay's reader and is not meant to be fast.
 */

import { Buffer } from 'node:buffer';
import type { RealtimeEvent } from '../../src/protocol/event.js';

/** The limits and the audio event that a reader was made for. */
export interface Rules {
  readonly direction: 'up' | 'down';
  readonly dialect: 'preview' | 'ga';
  readonly slowBytes: number;
  readonly eventBytes: number;
  /** Whether half of a surrogate pair may stand in a value. */
  readonly halves?: boolean;
  readonly tree: { readonly depth: number; readonly keys: number; readonly elements: number };
}

interface Member {
  /** The key as written between its quotes, one character a byte. */
  readonly written: string;
  readonly key: string;
  readonly value: Value;
}

type Value =
  | { readonly kind: 'object'; readonly members: Member[] }
  | { readonly kind: 'array'; readonly elements: Value[] }
  | { readonly kind: 'string'; readonly written: string; readonly text: string }
  | { readonly kind: 'number'; readonly written: string }
  | { readonly kind: 'literal'; readonly value: boolean | null };

type Judgement =
  | { readonly verdict: 'fast'; readonly value: Value }
  | { readonly verdict: 'slow'; readonly value: Value }
  | { readonly verdict: 'reject'; readonly id: 'bad_event' | 'too_big'; readonly why: string };

class Rejected extends Error {}

/** Reads one document; anything that is not one valid, unambiguous document within the limits throws `Rejected`. */
class Document {
  readonly #bytes: Uint8Array;
  readonly #rules: Rules;
  #at = 0;
  #keys = 0;
  #elements = 0;

  constructor(bytes: Uint8Array, rules: Rules) {
    this.#bytes = bytes;
    this.#rules = rules;
  }

  read(): Value {
    const value = this.#value(0);
    if (this.#at !== this.#bytes.length) throw new Rejected('something follows the document');
    return value;
  }

  #peek(): string {
    const byte = this.#bytes[this.#at];
    return byte === undefined ? '' : String.fromCharCode(byte);
  }

  #blanks(): void {
    for (;;) {
      const next = this.#peek();
      if (next !== ' ' && next !== '\n' && next !== '\r' && next !== '\t') return;
      this.#at++;
    }
  }

  #expect(word: string): void {
    for (const character of word) {
      if (this.#peek() !== character) throw new Rejected(`expected ${word} at byte ${this.#at}`);
      this.#at++;
    }
  }

  #value(depth: number): Value {
    this.#blanks();
    const value = this.#bare(depth);
    this.#blanks();
    return value;
  }

  #bare(depth: number): Value {
    switch (this.#peek()) {
      case '{':
        return this.#object(depth + 1);
      case '[':
        return this.#array(depth + 1);
      case '"':
        return this.#string();
      case 't':
        this.#expect('true');
        return { kind: 'literal', value: true };
      case 'f':
        this.#expect('false');
        return { kind: 'literal', value: false };
      case 'n':
        this.#expect('null');
        return { kind: 'literal', value: null };
      default:
        return this.#number();
    }
  }

  #object(depth: number): Value {
    if (depth > this.#rules.tree.depth) throw new Rejected('too deep');
    const members: Member[] = [];
    const names = new Set<string>();
    this.#expect('{');
    this.#blanks();
    if (this.#peek() !== '}') {
      for (;;) {
        this.#blanks();
        const name = this.#string();
        this.#checkKey(name.text, names);
        this.#blanks();
        this.#expect(':');
        checkPairs(name.text);
        members.push({ written: name.written, key: name.text, value: this.#value(depth) });
        if (this.#peek() !== ',') break;
        this.#expect(',');
      }
    }
    this.#expect('}');
    return { kind: 'object', members };
  }

  #checkKey(key: string, names: Set<string>): void {
    if (names.has(key)) throw new Rejected('duplicate key');
    names.add(key);
    if (key === '__proto__' || key === 'constructor' || key === 'prototype') throw new Rejected('forbidden key');
    for (let i = 0; i < key.length; i++) {
      const code = key.charCodeAt(i);
      if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) throw new Rejected('control character in a key');
    }
    this.#keys++;
    if (this.#keys > this.#rules.tree.keys) throw new Rejected('too many keys');
  }

  #array(depth: number): Value {
    if (depth > this.#rules.tree.depth) throw new Rejected('too deep');
    const elements: Value[] = [];
    this.#expect('[');
    this.#blanks();
    if (this.#peek() !== ']') {
      for (;;) {
        elements.push(this.#value(depth));
        this.#elements++;
        if (this.#elements > this.#rules.tree.elements) throw new Rejected('too many elements');
        if (this.#peek() !== ',') break;
        this.#expect(',');
      }
    }
    this.#expect(']');
    return { kind: 'array', elements };
  }

  #string(): { kind: 'string'; written: string; text: string } {
    this.#expect('"');
    const start = this.#at;
    let text = '';
    while (this.#peek() !== '"') {
      if (this.#at >= this.#bytes.length) throw new Rejected('string without an end');
      text += this.#peek() === '\\' ? this.#escape() : this.#character();
    }
    const written = Buffer.from(this.#bytes.subarray(start, this.#at)).toString('latin1');
    this.#expect('"');
    if (!this.#rules.halves) checkPairs(text);
    return { kind: 'string', written, text };
  }

  #escape(): string {
    this.#expect('\\');
    const letter = this.#peek();
    this.#at++;
    if (letter === 'u') {
      let code = 0;
      for (let i = 0; i < 4; i++) {
        const digit = '0123456789abcdef'.indexOf(this.#peek().toLowerCase());
        if (this.#peek() === '' || digit === -1) throw new Rejected('bad \\u escape');
        code = code * 16 + digit;
        this.#at++;
      }
      return String.fromCharCode(code);
    }
    const place = '"\\/bfnrt'.indexOf(letter);
    if (letter === '' || place === -1) throw new Rejected('unknown escape');
    return '"\\/\b\f\n\r\t'.charAt(place);
  }

  /** One character of UTF-8: no overlong form, no surrogate, nothing over U+10FFFF. */
  #character(): string {
    const first = this.#bytes[this.#at] as number;
    if (first < 0x20) throw new Rejected('control character in a string');
    if (first < 0x80) {
      this.#at++;
      return String.fromCharCode(first);
    }
    const [length, least, bits] =
      first >= 0xf0 && first < 0xf8
        ? [4, 0x10000, first & 7]
        : first >= 0xe0 && first < 0xf0
          ? [3, 0x800, first & 15]
          : first >= 0xc0 && first < 0xe0
            ? [2, 0x80, first & 31]
            : [0, 0, 0];
    if (length === 0) throw new Rejected('not UTF-8');
    let code = bits;
    for (let i = 1; i < length; i++) {
      const next = this.#bytes[this.#at + i];
      if (next === undefined || next < 0x80 || next > 0xbf) throw new Rejected('not UTF-8');
      code = code * 64 + (next & 63);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) throw new Rejected('not UTF-8');
    this.#at += length;
    return String.fromCodePoint(code);
  }

  #number(): Value {
    const start = this.#at;
    while (this.#peek() !== '' && '+-.0123456789eE'.includes(this.#peek())) this.#at++;
    const written = Buffer.from(this.#bytes.subarray(start, this.#at)).toString('latin1');
    if (!/^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(written)) throw new Rejected('not a value');
    if (!Number.isFinite(Number(written))) throw new Rejected('number out of range');
    return { kind: 'number', written };
  }
}

function checkPairs(text: string): void {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0xd800 || code > 0xdfff) continue;
    const next = text.charCodeAt(i + 1);
    if (code > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) throw new Rejected('lone surrogate');
    i++;
  }
}

const base64Alphabet = new Set('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');

function isBase64(written: string): boolean {
  if (written.length === 0 || written.length % 4 !== 0) return false;
  const body = written.endsWith('==') ? written.slice(0, -2) : written.endsWith('=') ? written.slice(0, -1) : written;
  for (let i = 0; i < body.length; i++) if (!base64Alphabet.has(body.charAt(i))) return false;
  return true;
}

const isId = (written: string) => /^[A-Za-z0-9_.:-]{1,128}$/.test(written);

const audioTypes = {
  up: 'input_audio_buffer.append',
  ga: 'response.output_audio.delta',
  preview: 'response.audio.delta',
};
const wordTypes = {
  ga: ['response.output_text.delta', 'response.output_audio_transcript.delta'],
  preview: ['response.text.delta', 'response.audio_transcript.delta'],
};

const heardType = 'conversation.item.input_audio_transcription.delta';

const isPadding = (written: string) => /^[A-Za-z0-9]{0,128}$/.test(written);

/** Words that stand for themselves: what was written is what is meant, and there is not too much of it. */
function isWords(written: string): boolean {
  if (written.length > 4096) return false;
  for (let i = 0; i < written.length; i++) {
    if (written.charAt(i) === '\\' || written.charCodeAt(i) < 0x20) return false;
  }
  return true;
}

function isPlain(value: Value, rules: Rules): boolean {
  if (value.kind !== 'object') return false;
  const up = rules.direction === 'up';
  const names = value.members.map((member) => member.written);
  const type = value.members.find((member) => member.written === 'type')?.value;
  const typed = type?.kind === 'string' ? type.written : '';
  const isAudio = typed === audioTypes[up ? 'up' : rules.dialect];
  const isHeard = !up && typed === heardType;
  if (!isAudio && !isHeard && (up || !wordTypes[rules.dialect].includes(typed))) return false;
  const needed = up ? ['audio'] : isHeard ? ['delta', 'item_id'] : ['delta', 'response_id', 'item_id'];
  if (!needed.every((name) => names.includes(name))) return false;
  if (isHeard && (names.includes('response_id') || names.includes('output_index'))) return false;
  return value.members.every(({ written: name, value: field }) => {
    if (field.kind === 'number') {
      return (
        !up && (name === 'output_index' || name === 'content_index') && /^(0|[1-9][0-9]{0,3})$/.test(field.written)
      );
    }
    if (field.kind !== 'string') return false;
    if (name === 'type') return true;
    if (name === (up ? 'audio' : 'delta')) return isAudio ? isBase64(field.written) : isWords(field.written);
    if (name === 'obfuscation') return !up && !isAudio && isPadding(field.written);
    if (name === 'event_id') return isId(field.written) && !(up && field.written.startsWith('rly_'));
    return !up && (name === 'response_id' || name === 'item_id') && isId(field.written);
  });
}

const withAudio = ['input_audio_buffer.append', 'conversation.item.create', 'response.create'];

/** How much of a message's text is audio. */
function audioIn(value: Value): number {
  if (value.kind === 'array') return value.elements.reduce((sum, element) => sum + audioIn(element), 0);
  if (value.kind !== 'object') return 0;
  return value.members.reduce((sum, { written, value: of }) => {
    return sum + (written === 'audio' && of.kind === 'string' ? of.written.length : audioIn(of));
  }, 0);
}

function mayHaveAudio(value: Value): boolean {
  const type = value.kind === 'object' ? value.members.find(({ written }) => written === 'type')?.value : undefined;
  return type?.kind === 'string' && withAudio.includes(type.written);
}

/** What must become of a message: forwarded as it is, parsed and rebuilt, or refused. */
function judge(message: Uint8Array, rules: Rules): Judgement {
  if (message.length > rules.eventBytes) return { verdict: 'reject', id: 'too_big', why: 'over the event limit' };
  let value: Value;
  try {
    value = new Document(message, rules).read();
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    return { verdict: 'reject', id: 'bad_event', why: error.message };
  }
  if (isPlain(value, rules)) return { verdict: 'fast', value };
  if (message.length - (mayHaveAudio(value) ? audioIn(value) : 0) > rules.slowBytes) {
    return { verdict: 'reject', id: 'too_big', why: 'over the slow-path limit' };
  }
  if (value.kind !== 'object') return { verdict: 'reject', id: 'bad_event', why: 'not an object' };
  return { verdict: 'slow', value };
}

/** Whether a parsed JavaScript value is what the reference read, key for key, in the same order. */
function isSame(expected: Value, actual: unknown): boolean {
  switch (expected.kind) {
    case 'literal':
      return actual === expected.value;
    case 'string':
      return actual === expected.text;
    case 'number':
      return Object.is(actual, Number(expected.written));
    case 'array':
      return (
        Array.isArray(actual) &&
        actual.length === expected.elements.length &&
        expected.elements.every((element, i) => isSame(element, actual[i]))
      );
    case 'object': {
      if (typeof actual !== 'object' || actual === null || Array.isArray(actual)) return false;
      const own = actual as Record<string, unknown>;
      return (
        Object.keys(own).length === expected.members.length &&
        expected.members.every(({ key, value }) => Object.hasOwn(own, key) && isSame(value, own[key]))
      );
    }
  }
}

function field(value: Value, name: string): Value | undefined {
  return value.kind === 'object' ? value.members.find((member) => member.key === name)?.value : undefined;
}

function textOf(value: Value | undefined): string | null {
  return value?.kind === 'string' ? value.text : null;
}

/** Runs a reader over a message and says how it differs from the reference, or null. */
export function disagreement(
  message: Buffer,
  read: (message: Buffer) => RealtimeEvent,
  rules: Rules,
): { readonly verdict: Judgement['verdict']; readonly fault: string | null; readonly event: RealtimeEvent | null } {
  const before = message.toString('latin1');
  const judged = judge(message, rules);
  const { verdict } = judged;
  let event: RealtimeEvent;
  try {
    event = read(message);
  } catch (error) {
    const id = (error as { id?: unknown }).id;
    const fault =
      id !== 'bad_event' && id !== 'too_big'
        ? `the reader broke: ${error}`
        : judged.verdict === 'reject'
          ? null
          : `${verdict} expected, refused: ${error}`;
    return { verdict, fault, event: null };
  }
  if (judged.verdict === 'reject') return { verdict, fault: `reject expected (${judged.why}), accepted`, event };
  if (message.toString('latin1') !== before) return { verdict, fault: 'the message was changed', event };
  const fault =
    judged.verdict === 'fast' ? fastFault(judged.value, event, message, rules) : slowFault(judged.value, event, rules);
  return { verdict, fault, event };
}

function fastFault(value: Value, event: RealtimeEvent, message: Buffer, rules: Rules): string | null {
  if (event.raw !== message || event.body !== null) return 'fast expected, the reader took the slow path';
  if (event.type !== textOf(field(value, 'type'))) return `type read as ${event.type}`;
  const isAudio = Object.values(audioTypes).includes(event.type);
  const audio = isAudio ? (textOf(field(value, rules.direction === 'up' ? 'audio' : 'delta')) ?? '') : '';
  const padding = audio.endsWith('==') ? 2 : audio.endsWith('=') ? 1 : 0;
  if (event.audioBytes !== (audio.length / 4) * 3 - padding) return `audioBytes read as ${event.audioBytes}`;
  if (event.itemId !== textOf(field(value, 'item_id'))) return `itemId read as ${event.itemId}`;
  if (event.responseId !== textOf(field(value, 'response_id'))) return `responseId read as ${event.responseId}`;
  return isSame(value, JSON.parse(message.toString('utf8'))) ? null : 'JSON.parse reads the forwarded bytes otherwise';
}

function slowFault(value: Value, event: RealtimeEvent, rules: Rules): string | null {
  if (event.raw !== null || event.body === null) return 'slow expected, the reader forwards the bytes';
  if (event.audioBytes !== 0 || event.itemId !== null || event.responseId !== null)
    return 'a parsed event with scan results';
  if (event.type !== (textOf(field(value, 'type')) ?? '')) return `type read as ${event.type}`;
  if (!isSame(value, event.body)) return 'the body is not what the message says';
  const sent = Buffer.from(JSON.stringify(event.body));
  const again = judge(sent, { ...rules, slowBytes: Infinity, eventBytes: Infinity });
  return again.verdict !== 'reject' ? null : `its own serialisation is refused: ${again.why}`;
}

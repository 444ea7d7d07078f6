/**
 * The fast path: decides from the bytes alone whether a frequent event is so plain that every JSON parser reads it alike.
 * Only such a message is forwarded as it came; for any other the scan names the reason and the strict parse takes over.
 *
 * The language is a subset of RFC 8259 objects: known keys, each at most once and none escaped; ids of a small alphabet,
 * small plain integers, exact base64 (RFC 4648 section 4), words without escapes or control characters in valid UTF-8,
 * and the letters and digits that pad words; nothing before or after but JSON's own blanks.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { RelayError } from '../errors.js';
import { exactBase64Bytes } from './base64.js';
import { audioDown, audioUp, type Dialect, type Direction, heardDown, relayPrefix, textDown } from './catalogue.js';
import type { RealtimeEvent } from './event.js';

/** What took a message off the fast path; `type` means it simply is another event. A closed set, for metric labels. */
export const slowReasons = ['type', 'shape', 'key', 'escape', 'value', 'base64', 'missing', 'relay_id'] as const;

/** One of `slowReasons`. */
export type SlowReason = (typeof slowReasons)[number];

type Kind = 'type' | 'id' | 'item_id' | 'response_id' | 'index' | 'payload' | 'padding';

interface ScanKey {
  readonly name: string;
  /** The key as it stands in the message, with its quotes. */
  readonly quoted: Buffer;
  readonly kind: Kind;
  readonly bit: number;
}

/** An event of the strict language, and what its payload is. */
interface Plain {
  readonly type: string;
  readonly bytes: Buffer;
  readonly payload: 'base64' | 'words';
  /** The bits of the keys without which it is not of the language, and of all that it may have. */
  readonly required: number;
  readonly allowed: number;
}

/** The strict language of one direction: its events, the keys they may have and what each may hold. */
export interface ScanTable {
  readonly events: readonly Plain[];
  readonly keys: readonly ScanKey[];
  /** What no id may start with, or null. */
  readonly reserved: Buffer | null;
}

type Row = readonly [name: string, kind: Kind];

/** Events of one form: what their payload is, and which keys they must and may have. */
interface Form {
  readonly types: readonly string[];
  readonly payload: Plain['payload'];
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

function table(rows: readonly Row[], reserved: string | null, forms: readonly Form[]): ScanTable {
  const keys = rows.map(([name, kind], index) => ({ name, kind, quoted: Buffer.from(`"${name}"`), bit: 1 << index }));
  const bitsOf = (names: readonly string[]) =>
    keys.reduce((bits, { name, bit }) => (names.includes(name) ? bits | bit : bits), 0);
  const events = forms.flatMap(({ types, payload, required, optional }) =>
    types.map((type) => ({
      type,
      bytes: Buffer.from(type),
      payload,
      required: bitsOf(required),
      allowed: bitsOf([...required, ...optional]),
    })),
  );
  return { events, keys, reserved: reserved === null ? null : Buffer.from(reserved) };
}

const appendRows: readonly Row[] = [
  ['type', 'type'],
  ['audio', 'payload'],
  ['event_id', 'id'],
];

const deltaRows: readonly Row[] = [
  ['type', 'type'],
  ['event_id', 'id'],
  ['response_id', 'response_id'],
  ['item_id', 'item_id'],
  ['output_index', 'index'],
  ['content_index', 'index'],
  ['delta', 'payload'],
  ['obfuscation', 'padding'],
];

const ofAnswer = ['type', 'response_id', 'item_id', 'delta'];
const indices = ['event_id', 'output_index', 'content_index'];

/** Live upstreams pad every delta of words, so that its length on the wire does not tell which word it is. */
function deltaTable(dialect: Dialect): ScanTable {
  const padded = [...indices, 'obfuscation'];
  const heard = ['event_id', 'content_index', 'obfuscation'];
  return table(deltaRows, null, [
    { types: [audioDown[dialect]], payload: 'base64', required: ofAnswer, optional: indices },
    { types: textDown[dialect], payload: 'words', required: ofAnswer, optional: padded },
    { types: [heardDown], payload: 'words', required: ['type', 'item_id', 'delta'], optional: heard },
  ]);
}

const tables = {
  up: table(appendRows, relayPrefix, [
    { types: [audioUp], payload: 'base64', required: ['type', 'audio'], optional: ['event_id'] },
  ]),
  ga: deltaTable('ga'),
  preview: deltaTable('preview'),
} as const;

/** The events that go this way fast; `append` is the same in both dialects. */
export function scanTable(direction: Direction, dialect: Dialect): ScanTable {
  return direction === 'up' ? tables.up : tables[dialect];
}

const OPEN = 0x7b;
const CLOSE = 0x7d;
const QUOTE = 0x22;
const COLON = 0x3a;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const ZERO = 0x30;
const NINE = 0x39;

const idLength = 128;
const idBytes = new Uint8Array(256);
for (const byte of Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-')) idBytes[byte] = 1;

/**
 * Judges one whole message. Returns the event, with the message itself as `raw`, when it is in the strict language of
 * `table`, else the reason why it must be parsed. Throws `bad_event` when a known key is there twice.
 */
export function scan(message: Buffer, table: ScanTable, framed = false): RealtimeEvent | SlowReason {
  let seen = 0;
  let plain: Plain | null = null;
  let payloadStart = 0;
  let payloadEnd = 0;
  let itemId: string | null = null;
  let responseId: string | null = null;
  let at = blanksEnd(message, 0);
  if (message[at] !== OPEN) return 'shape';
  do {
    at = blanksEnd(message, at + 1);
    const key = keyAt(message, at, table.keys);
    if (key === null) return message[at] === QUOTE ? 'key' : 'shape';
    if ((seen & key.bit) !== 0)
      throw new RelayError('bad_event', `The event has the key "${key.name}" more than once.`, { isBearable: true });
    seen |= key.bit;
    at = blanksEnd(message, at + key.quoted.length);
    if (message[at] !== COLON) return 'shape';
    at = blanksEnd(message, at + 1);

    if (key.kind === 'index') {
      const end = indexEnd(message, at);
      if (end === at) return 'value';
      at = blanksEnd(message, end);
      continue;
    }
    if (message[at] !== QUOTE) return 'value';
    const start = at + 1;
    let end: number;
    if (key.kind === 'padding') {
      end = paddingEnd(message, start);
      if (message[end] !== QUOTE) return message[end] === BACKSLASH ? 'escape' : 'value';
    } else if (key.kind === 'payload') {
      // Judged at the end, when the type is known; until then this is its end only if no quote in it is escaped.
      end = message.indexOf(QUOTE, start);
      if (end === -1) return 'shape';
      payloadStart = start;
      payloadEnd = end;
    } else {
      end = idEnd(message, start);
      if (message[end] !== QUOTE || end === start) return message[end] === BACKSLASH ? 'escape' : 'value';
      if (key.kind === 'type') {
        plain = plainAt(message, start, end, table.events);
        if (plain === null) return 'type';
      } else if (key.kind === 'item_id') {
        itemId = message.toString('latin1', start, end);
      } else if (key.kind === 'response_id') {
        responseId = message.toString('latin1', start, end);
      } else if (table.reserved !== null && startsWith(message, start, table.reserved)) {
        return 'relay_id';
      }
    }
    at = blanksEnd(message, end + 1);
  } while (message[at] === COMMA);
  if (message[at] !== CLOSE || blanksEnd(message, at + 1) !== message.length) return 'shape';
  if (plain === null || (seen & plain.required) !== plain.required) return 'missing';
  if ((seen & ~plain.allowed) !== 0) return 'key';
  let audioBytes = 0;
  if (plain.payload === 'words') {
    if (!isPlainText(message, payloadStart, payloadEnd)) return textFault(message, payloadStart, payloadEnd);
  } else {
    audioBytes = exactBase64Bytes(message, payloadStart, payloadEnd);
    if (audioBytes === 0) return hasEscape(message, payloadStart, payloadEnd) ? 'escape' : 'base64';
  }
  return { type: plain.type, raw: message, body: null, audioBytes, itemId, responseId, framed };
}

const typeKey = Buffer.from('"type"');

/**
 * Where the value of `type` begins in a message of the strict language. There a quoted `type` that is followed by a
 * colon can only be the key, because no string of the language holds a quote.
 */
export function typeValueAt(message: Buffer): number {
  let at = message.indexOf(typeKey);
  while (at !== -1) {
    const colon = blanksEnd(message, at + typeKey.length);
    if (message[colon] === COLON) return blanksEnd(message, colon + 1) + 1;
    at = message.indexOf(typeKey, at + 1);
  }
  throw new RelayError('internal', 'The relay failed to rename an event.');
}

/** The first position from `at` on that holds none of JSON's four blanks (RFC 8259 section 2). */
export function blanksEnd(message: Buffer, at: number): number {
  let end = at;
  while (end < message.length) {
    const byte = message[end];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    end++;
  }
  return end;
}

function plainAt(message: Buffer, start: number, end: number, events: readonly Plain[]): Plain | null {
  for (const event of events) {
    if (event.bytes.length === end - start && startsWith(message, start, event.bytes)) return event;
  }
  return null;
}

function keyAt(message: Buffer, at: number, keys: readonly ScanKey[]): ScanKey | null {
  for (const key of keys) if (startsWith(message, at, key.quoted)) return key;
  return null;
}

function startsWith(message: Buffer, at: number, expected: Buffer): boolean {
  if (at + expected.length > message.length) return false;
  for (let i = 0; i < expected.length; i++) if (message[at + i] !== expected[i]) return false;
  return true;
}

/** The end of the run of id characters, of at most 128. */
function idEnd(message: Buffer, start: number): number {
  const limit = Math.min(start + idLength, message.length);
  let end = start;
  while (end < limit && idBytes[message[end] as number] === 1) end++;
  return end;
}

const letters = /[A-Za-z0-9]/;
const paddingBytes = Uint8Array.from({ length: 256 }, (_, byte) => (letters.test(String.fromCharCode(byte)) ? 1 : 0));

/** The end of the run of letters and digits, of at most 128, that hides how long words are; there may be none. */
function paddingEnd(message: Buffer, start: number): number {
  const limit = Math.min(start + idLength, message.length);
  let end = start;
  while (end < limit && paddingBytes[message[end] as number] === 1) end++;
  return end;
}

/** The end of an integer from 0 to 9999 without leading zeros, or `start` when there is none. */
function indexEnd(message: Buffer, start: number): number {
  const limit = Math.min(start + 4, message.length);
  let end = start;
  while (end < limit) {
    const byte = message[end] as number;
    if (byte < ZERO || byte > NINE) break;
    end++;
  }
  return message[start] === ZERO && end > start + 1 ? start : end;
}

const wordsLength = 4096;

/** Whether these bytes are a short text that stands for itself: no escapes, no control characters, valid UTF-8. */
function isPlainText(message: Buffer, start: number, end: number): boolean {
  if (end - start > wordsLength) return false;
  let isAscii = true;
  for (let at = start; at < end; at++) {
    const byte = message[at] as number;
    if (byte < 0x20 || byte === BACKSLASH) return false;
    if (byte >= 0x80) isAscii = false;
  }
  return isAscii || isUtf8(message.subarray(start, end));
}

function textFault(message: Buffer, start: number, end: number): SlowReason {
  return hasEscape(message, start, end) ? 'escape' : 'value';
}

function hasEscape(message: Buffer, start: number, end: number): boolean {
  return message.subarray(start, end).includes(BACKSLASH);
}

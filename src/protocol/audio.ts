/** Sound in what a client sends, wherever it may stand: in an append, in items, in the input of a response. */

import type { Buffer } from 'node:buffer';
import { audioUp } from './catalogue.js';
import { isObject, type Json, type RealtimeEvent } from './event.js';
import { blanksEnd } from './scan.js';

/** Decoded length of base64 audio in a parsed event; 0 when it is not a string. */
export function base64Bytes(value: unknown): number {
  return typeof value === 'string' ? Math.floor((value.length * 3) / 4) : 0;
}

/** The decoded bytes of all audio in one event of a client. */
export function audioBytesUp({ type, raw, body, audioBytes }: RealtimeEvent): number {
  if (raw !== null || body === null) return audioBytes;
  if (type === audioUp) return base64Bytes(body.audio);
  if (type === 'conversation.item.create') return inItem(body.item);
  if (type === 'response.create') return inResponse(body.response);
  return 0;
}

function inResponse(response: Json | undefined): number {
  return isObject(response) ? sum(response.input, inItem) : 0;
}

function inItem(item: Json | undefined): number {
  return isObject(item) ? sum(item.content, inPart) : 0;
}

function inPart(part: Json | undefined): number {
  return isObject(part) ? base64Bytes(part.audio) : 0;
}

function sum(list: Json | undefined, of: (one: Json) => number): number {
  return Array.isArray(list) ? list.reduce<number>((total, one) => total + of(one), 0) : 0;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** No key and no type that matters here is longer. */
const longestWord = 64;
const withAudio: ReadonlySet<string> = new Set([audioUp, 'conversation.item.create', 'response.create']);

/**
 * The bytes of a message's text that are audio, found without a parse: the strings under keys written `"audio"`, of an
 * event of a type that may have such. 0 for any other, and for what is not JSON as far as that is seen.
 */
export function audioLength(message: Buffer): number {
  let type = '';
  let depth = 0;
  let length = 0;
  for (let at = 0; at < message.length; at++) {
    const byte = message[at];
    if (byte === OPEN) depth++;
    else if (byte === CLOSE) depth--;
    if (byte !== QUOTE) continue;
    const end = stringEnd(message, at);
    const colon = blanksEnd(message, end + 1);
    const open = blanksEnd(message, colon + 1);
    const isText = message[colon] === COLON && message[open] === QUOTE;
    const close = isText ? stringEnd(message, open) : end;
    const key = isText ? wordAt(message, at, end) : '';
    if (key === 'audio') length += close - open - 1;
    else if (key === 'type' && depth === 1) type = wordAt(message, open, close);
    at = close;
  }
  return withAudio.has(type) ? length : 0;
}

/** What stands between two quotes, unless it is longer than any word that matters here. */
function wordAt(message: Buffer, open: number, close: number): string {
  return close - open > longestWord ? '' : message.toString('latin1', open + 1, close);
}

/** The position of the quote that closes the string opened at `open`, or the end of the message. */
function stringEnd(message: Buffer, open: number): number {
  let end = message.indexOf(QUOTE, open + 1);
  while (end !== -1) {
    let before = end - 1;
    while (message[before] === BACKSLASH) before--;
    if ((end - before) % 2 === 1) return end;
    end = message.indexOf(QUOTE, end + 1);
  }
  return message.length;
}

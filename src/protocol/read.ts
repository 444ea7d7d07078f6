/**
 * From the bytes of one message to the one event it is, or a refusal: the scan where it can, else a strict parse.
 * What either accepts has one meaning only, so what is judged afterwards is what the other side will read.
 *
 * `body` comes from `JSON.parse` and is made of ordinary objects, in which no own key is `__proto__`, `constructor` or
 * `prototype`. Reading a field of the protocol by its name is safe: no such name is a property of `Object.prototype`.
 * A look-up by text that a peer chose (`table[body.type]`) must go through a Map or `Object.hasOwn`.
 */

import { Buffer } from 'node:buffer';
import { RelayError } from '../errors.js';
import { audioLength } from './audio.js';
import type { Dialect, Direction } from './catalogue.js';
import { eventOf, type Json, type JsonObject, type RealtimeEvent } from './event.js';
import { type SlowReason, scan, scanTable, typeValueAt } from './scan.js';

/**
 * Reads one whole message. Throws `bad_event` when it is no JSON object; bearable, when it is one that could be read in
 * two ways or is too deep or too wide, and `too_big` when it is over the limit for its kind. A missing `type`, or one that is not a string, is the empty string: policy refuses it.
 */
export type Reader = (message: Buffer) => RealtimeEvent;

/** How large the tree of a parsed message may be. */
interface TreeLimits {
  /** Objects and arrays within each other, the message itself being the first. */
  readonly depth: number;
  /** Keys of all objects together. */
  readonly keys: number;
  /** Elements of all arrays together. */
  readonly elements: number;
}

const treeLimits: Record<Direction, TreeLimits> = {
  up: { depth: 16, keys: 512, elements: 4096 },
  down: { depth: 32, keys: 20_000, elements: 100_000 },
};

interface ReaderOptions {
  readonly direction: Direction;
  /** What the sender of these messages speaks. */
  readonly dialect: Dialect;
  /** Bytes of a message that must be parsed, its audio not counted. */
  readonly slowBytes: number;
  /** Bytes of any message. */
  readonly eventBytes: number;
  /** Default: 16 levels, 512 keys and 4096 elements up; 32, 20,000 and 100,000 down. */
  readonly tree?: TreeLimits;
  /** Told why each message that is not on the fast path is not. */
  readonly onSlow?: (reason: SlowReason) => void;
  /** Halves of surrogate pairs are passed on, as upstream sends them when it cuts its words anywhere; told of each message. */
  readonly onHalf?: () => void;
}

/** Makes the function that reads every message of one direction of a session. */
export function createReader(options: ReaderOptions): Reader {
  const { direction, dialect, slowBytes, eventBytes, onSlow, onHalf } = options;
  const table = scanTable(direction, dialect);
  const limits = options.tree ?? treeLimits[direction];
  return (message) => {
    if (message.length > eventBytes) throw tooBig(message.length, eventBytes, 'events');
    const judged = scan(message, table);
    if (typeof judged !== 'string') return judged;
    onSlow?.(judged);
    // Speech is large by nature, and some honest clients escape `/` in base64; all else that large is an attack.
    if (message.length > slowBytes && message.length - audioLength(message) > slowBytes) {
      throw tooBig(message.length, slowBytes, 'all that is not audio');
    }
    return eventOf(parse(message, limits, onHalf));
  };
}

/**
 * Renames an event. In a raw one the new name is spliced into the bytes without a parse; a shorter name reuses the
 * buffer, so the given event must not be used any more.
 */
export function spliceType(event: RealtimeEvent, to: string): RealtimeEvent {
  const { raw, type, audioBytes, itemId, responseId } = event;
  if (raw === null) return eventOf({ ...event.body, type: to });
  const at = typeValueAt(raw);
  const shift = type.length - to.length;
  let renamed: Buffer;
  if (shift >= 0) {
    raw.copyWithin(shift, 0, at);
    raw.write(to, at + shift, 'latin1');
    renamed = shift === 0 ? raw : raw.subarray(shift);
  } else {
    renamed = Buffer.allocUnsafe(raw.length - shift);
    raw.copy(renamed, 0, 0, at);
    renamed.write(to, at, 'latin1');
    raw.copy(renamed, at + to.length, at + type.length);
  }
  return { type: to, raw: renamed, body: null, audioBytes, itemId, responseId };
}

// ignoreBOM keeps the mark in the text, where JSON.parse refuses it; without it the decoder would hide it.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype']);
const unsafeInKey = /[\p{Cc}\p{Cs}]/u;
const loneSurrogate = /\p{Cs}/u;
// Decoded UTF-8 holds no lone surrogate (RFC 3629 section 3), so only an escape can make one.
const surrogateEscape = /\\u[dD][89a-fA-F]/;

function parse(message: Buffer, limits: TreeLimits, onHalf: (() => void) | undefined): JsonObject {
  let text: string;
  try {
    text = utf8.decode(message);
  } catch {
    throw noObject('is not valid UTF-8');
  }
  const colons = survey(text, limits);
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which must not reach a log.
    throw noObject('is not valid JSON');
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw noObject('is not a JSON object');
  const tree: Tree = { keys: 0, elements: 0, halves: 0, limits, mayHoldSurrogates: surrogateEscape.test(text) };
  inspect(value, tree);
  if (tree.halves > 0) {
    if (!onHalf) throw refuse('has half of a surrogate pair in a string');
    onHalf();
  }
  if (tree.keys !== colons) throw refuse('has a key more than once in the same object');
  return value;
}

/**
 * Counts the colons outside strings, which in valid JSON is the number of keys as written: if the parsed tree has fewer,
 * a key was there twice. Refuses what is too deep or too wide before a tree is built of it, and so before recursion.
 */
function survey(text: string, limits: TreeLimits): number {
  const maxCommas = limits.keys + limits.elements;
  let colons = 0;
  let commas = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        at = stringEnd(text, at);
        break;
      case 0x3a: // :
        if (++colons > limits.keys) throw refuse(`has more than ${limits.keys} keys`);
        break;
      case 0x2c: // ,
        if (++commas > maxCommas) throw refuse('has too many keys and elements');
        break;
      case 0x7b: // {
      case 0x5b: // [
        if (++depth > limits.depth) throw refuse(`is nested more than ${limits.depth} levels deep`);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth--;
        break;
    }
  }
  return colons;
}

/** The position of the quote that closes the string opened at `open`, or the end of the text. */
function stringEnd(text: string, open: number): number {
  let end = text.indexOf('"', open + 1);
  while (end !== -1) {
    let before = end - 1;
    while (text.charCodeAt(before) === 0x5c) before--;
    if ((end - before) % 2 === 1) return end;
    end = text.indexOf('"', end + 1);
  }
  return text.length;
}

interface Tree {
  keys: number;
  elements: number;
  halves: number;
  readonly limits: TreeLimits;
  readonly mayHoldSurrogates: boolean;
}

/** Recursion is bounded: `survey` has measured the depth. */
function inspect(value: Json | undefined, tree: Tree): void {
  if (typeof value === 'string') {
    if (tree.mayHoldSurrogates && loneSurrogate.test(value)) tree.halves++;
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw refuse('has a number out of range');
  } else if (Array.isArray(value)) {
    tree.elements += value.length;
    if (tree.elements > tree.limits.elements) throw refuse(`has more than ${tree.limits.elements} array elements`);
    for (const element of value) inspect(element, tree);
  } else if (typeof value === 'object' && value !== null) {
    for (const key of Object.keys(value)) {
      if (forbiddenKeys.has(key)) throw refuse(`has the key "${key}", which is never allowed`);
      if (unsafeInKey.test(key)) throw refuse('has a key with a control character or half of a surrogate pair');
      tree.keys++;
      inspect(value[key], tree);
    }
  }
}

function noObject(fault: string): RelayError {
  return new RelayError('bad_event', `The event ${fault}.`);
}

function refuse(fault: string): RelayError {
  return new RelayError('bad_event', `The event ${fault}.`, { isBearable: true });
}

function tooBig(bytes: number, limit: number, what: string): RelayError {
  const message = `The event has ${bytes} bytes; the limit for ${what} is ${limit}.`;
  return new RelayError('too_big', message, { isBearable: true });
}

/**
 * JSON that every reader reads alike: one strict reader, for whose texts how large may be is said by who asks. It refuses
 * what parsers disagree about: bytes that are not UTF-8, a byte order mark, a key given twice in one object, `__proto__`, a
 * key with a control character, a number out of range, half of a surrogate pair.
 */

import { isObject, type Json, type JsonObject } from './event.js';

/** How large the tree of a text may be, and what else is asked of it. */
export interface JsonRules {
  /** Objects and arrays within each other, the outermost being the first. */
  readonly depth: number;
  /** Keys of all objects together. */
  readonly keys: number;
  /** Elements of all arrays together; left out: as many as the text has room for. */
  readonly elements?: number;
  /** Keys that no object may have, beside `__proto__`. */
  readonly forbidden?: ReadonlySet<string>;
  /**
   * Values that some readers cannot keep as they are: `halves` lets halves of surrogate pairs stand in strings, and `any`
   * numbers out of range as well, for who judges each value anyway. Left out: they are refused.
   */
  readonly allows?: 'halves' | 'any' | undefined;
}

/** What a text says, or what is wrong with it, in words that go on after "it" and quote nothing of it. */
export type JsonReading =
  | { readonly fault: null; readonly value: Json; readonly halves: number }
  /** `isObject`: to other readers it may well be an object; else it is none to anybody. */
  | { readonly fault: string; readonly isObject: boolean };

const usual: JsonRules = { depth: 16, keys: 512 };
// ignoreBOM keeps the mark in the text, where JSON.parse refuses it; without it the decoder would hide it.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const unsafeInKey = /[\p{Cc}\p{Cs}]/u;
const loneSurrogate = /\p{Cs}/u;
// Decoded UTF-8 holds no lone surrogate (RFC 3629 section 3), so only an escape can make one.
const surrogateEscape = /\\u[dD][89a-fA-F]/;

/** The JSON object in these bytes, or in this text. Throws a TypeError that says what is wrong, as `it …`. */
export function parseStrict(source: Uint8Array | string, rules: JsonRules = usual): JsonObject {
  const reading = readJson(source, rules);
  if (reading.fault !== null) throw new TypeError(`it ${reading.fault}`);
  if (!isObject(reading.value)) throw new TypeError('it is JSON of another kind');
  return reading.value;
}

/** Reads JSON of any kind. */
export function readJson(source: Uint8Array | string, rules: JsonRules): JsonReading {
  const text = typeof source === 'string' ? source : decoded(source);
  if (text === null) return { fault: 'is not valid UTF-8', isObject: false };
  const written = survey(text, rules);
  if (typeof written === 'string') return { fault: written, isObject: true };
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    // The parser's own message quotes the text, which must not reach a log.
    return { fault: 'is not valid JSON', isObject: false };
  }
  const tree: Tree = { rules, keys: 0, elements: 0, halves: 0, mayHoldHalves: surrogateEscape.test(text) };
  const fault = inspect(value, tree) ?? (tree.keys === written ? null : 'has a key twice');
  return fault === null ? { fault, value, halves: tree.halves } : { fault, isObject: isObject(value) };
}

function decoded(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/**
 * Counts the colons outside strings, which in valid JSON is the number of keys as written: if the parsed tree has fewer,
 * a key was there twice. Or says what is too deep or too wide, before a tree is built of it, and so before recursion.
 */
function survey(text: string, { depth: deepest, keys, elements = Number.POSITIVE_INFINITY }: JsonRules) {
  let colons = 0;
  let commas = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        at = stringEnd(text, at);
        break;
      case 0x3a: // :
        if (++colons > keys) return `has over ${keys} keys`;
        break;
      case 0x2c: // ,
        if (++commas > keys + elements) return 'has too many keys and elements';
        break;
      case 0x7b: // {
      case 0x5b: // [
        if (++depth > deepest) return `is nested over ${deepest} levels deep`;
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
  readonly rules: JsonRules;
  readonly mayHoldHalves: boolean;
  keys: number;
  elements: number;
  halves: number;
}

/** What is wrong in a value, or null. Recursion is bounded: `survey` has measured the depth. */
function inspect(value: Json | undefined, tree: Tree): string | null {
  const { elements = Number.POSITIVE_INFINITY, allows } = tree.rules;
  if (typeof value === 'string') {
    if (!tree.mayHoldHalves || !loneSurrogate.test(value)) return null;
    tree.halves++;
    return allows ? null : 'has half of a surrogate pair in a string';
  }
  if (typeof value === 'number') return Number.isFinite(value) || allows === 'any' ? null : 'has a number out of range';
  if (typeof value !== 'object' || value === null) return null;
  if (Array.isArray(value)) {
    tree.elements += value.length;
    if (tree.elements > elements) return `has over ${elements} array elements`;
    for (const element of value) {
      const fault = inspect(element, tree);
      if (fault !== null) return fault;
    }
    return null;
  }
  for (const key of Object.keys(value)) {
    tree.keys++;
    const fault = faultOfKey(key, tree.rules) ?? inspect(value[key], tree);
    if (fault !== null) return fault;
  }
  return null;
}

function faultOfKey(key: string, { forbidden }: JsonRules): string | null {
  if (key === '__proto__' || forbidden?.has(key)) return `has the key ${key}`;
  return unsafeInKey.test(key) ? 'has a key with a control character or half of a surrogate pair' : null;
}

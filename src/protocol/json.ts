/** JSON that every reader reads alike. */

import type { Json, JsonObject } from './event.js';

/** How large the tree of a text may be. */
interface Bounds {
  /** Objects and arrays within each other, the outermost being the first. */
  readonly depth: number;
  /** Keys of all objects together. */
  readonly keys: number;
}

const usual: Bounds = { depth: 16, keys: 512 };
// Strings are matched whole, so that what is inside them is not seen. The last quote is optional: without it, text of
// escaped quotes that never ends would be searched again from each of them.
const tokens = /("[^"\\]*(?:\\.[^"\\]*)*"?)(\s*:)?|[{}[\]]/g;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The JSON object in these bytes, or in this text. Throws a TypeError for what parsers disagree about: bytes that are not
 * UTF-8, a byte order mark, a key given twice in one object, `__proto__`; and for more levels or keys than the bounds, by
 * default 16 and 512. Its message says which in words for whoever made the text, and does not quote it.
 */
export function parseStrict(source: Uint8Array | string, bounds: Bounds = usual): JsonObject {
  const value = parse(typeof source === 'string' ? source : decoded(source), bounds);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError('it is JSON of another kind');
  return value;
}

function parse(text: string, bounds: Bounds): Json {
  try {
    // Before the parser, which takes a millisecond for 10,000 open brackets.
    const problem = ambiguity(text, bounds);
    if (problem !== null) throw new TypeError(problem);
    return JSON.parse(text) as Json;
  } catch (error) {
    // A SyntaxError quotes what was read, which may be personal.
    throw error instanceof SyntaxError ? new TypeError('it is not valid JSON') : error;
  }
}

function decoded(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new TypeError('it is not valid UTF-8', { cause });
  }
}

/** Why valid JSON is not acceptable, or null. Of other text it says nothing reliable. */
function ambiguity(text: string, { depth, keys: maxKeys }: Bounds): string | null {
  const open: Set<string>[] = [];
  let keyCount = 0;
  tokens.lastIndex = 0;
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const [token, string, colon] = match;
    if (token === '{' || token === '[') {
      if (open.push(new Set()) > depth) return `it is nested over ${depth} levels deep`;
    } else if (string === undefined) {
      open.pop();
    } else if (colon !== undefined) {
      const key = string.includes('\\') ? (JSON.parse(string) as string) : string.slice(1, -1);
      const keys = open.at(-1);
      if (keys?.has(key)) return 'it has a key twice';
      if (key === '__proto__') return 'it has the key __proto__';
      if (++keyCount > maxKeys) return `it has over ${maxKeys} keys`;
      keys?.add(key);
    }
  }
  return null;
}

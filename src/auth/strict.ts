/** JSON that every reader reads alike. */

import type { Json, JsonObject } from '../protocol/event.js';

const maxDepth = 16;
const maxKeys = 512;
// Strings are matched whole, so that what is inside them is not seen. The last quote is optional: without it, text of
// escaped quotes that never ends would be searched again from each of them.
const tokens = /("[^"\\]*(?:\\.[^"\\]*)*"?)(\s*:)?|[{}[\]]/g;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The JSON object in these bytes. Throws a TypeError for what parsers disagree about: bytes that are not UTF-8, a byte
 * order mark, a key given twice in one object, `__proto__`; and for more than 16 levels or 512 keys. Its message says which
 * in words for whoever made the text, and does not quote it.
 */
export function parseStrict(bytes: Uint8Array): JsonObject {
  const value = parse(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError('it is JSON of another kind');
  return value;
}

function parse(bytes: Uint8Array): Json {
  const text = decoded(bytes);
  try {
    // Before the parser, which takes a millisecond for 10,000 open brackets.
    const problem = ambiguity(text);
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
function ambiguity(text: string): string | null {
  const open: Set<string>[] = [];
  let keyCount = 0;
  tokens.lastIndex = 0;
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const [token, string, colon] = match;
    if (token === '{' || token === '[') {
      if (open.push(new Set()) > maxDepth) return `it is nested over ${maxDepth} levels deep`;
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

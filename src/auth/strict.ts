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
 * order mark, a key given twice in one object, `__proto__`; and for more than 16 levels or 512 keys. Errors do not quote
 * the text.
 */
export function parseStrict(bytes: Uint8Array): JsonObject {
  const value = parse(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('not a JSON object');
  return value;
}

function parse(bytes: Uint8Array): Json {
  try {
    const text = utf8.decode(bytes);
    // Before the parser, which takes a millisecond for 10,000 open brackets.
    const problem = ambiguity(text);
    if (problem !== null) throw new TypeError(problem);
    return JSON.parse(text) as Json;
  } catch (error) {
    // A SyntaxError quotes what was read, which may be personal.
    throw error instanceof SyntaxError ? new TypeError('not valid JSON') : error;
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
      if (open.push(new Set()) > maxDepth) return 'nested too deeply';
    } else if (string === undefined) {
      open.pop();
    } else if (colon !== undefined) {
      const key = string.includes('\\') ? (JSON.parse(string) as string) : string.slice(1, -1);
      const keys = open.at(-1);
      if (keys?.has(key)) return 'a key is given twice';
      if (key === '__proto__') return 'the key __proto__';
      if (++keyCount > maxKeys) return 'too many keys';
      keys?.add(key);
    }
  }
  return null;
}

/** JSON that every reader reads alike. */

import type { Json, JsonObject } from '../protocol/event.js';

const maxDepth = 16;
// Strings are matched whole, so that punctuation inside them is not seen; all other tokens do not matter here.
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],]/g;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The JSON object in these bytes. Throws a TypeError for what parsers disagree about: bytes that are not UTF-8, a byte
 * order mark, a key given twice in one object, `__proto__`, more than 16 levels. Errors do not quote the text.
 */
export function parseStrict(bytes: Uint8Array): JsonObject {
  const { text, value } = parse(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('not a JSON object');
  refuseAmbiguous(text);
  return value;
}

function parse(bytes: Uint8Array): { text: string; value: Json } {
  try {
    const text = utf8.decode(bytes);
    return { text, value: JSON.parse(text) as Json };
  } catch {
    // The parser's own error quotes what it read, which may be personal.
    throw new TypeError('not valid JSON in UTF-8');
  }
}

/** Walks text that is known to be valid JSON: in an object, a string after `{` or `,` is a key. */
function refuseAmbiguous(text: string): void {
  const open: (Set<string> | null)[] = [];
  let keyMayFollow = false;
  for (const [token] of text.matchAll(tokens)) {
    const keys = open.at(-1);
    if (token === '{' || token === '[') {
      if (open.push(token === '{' ? new Set() : null) > maxDepth) throw new TypeError('nested too deeply');
      keyMayFollow = true;
    } else if (token === '}' || token === ']') {
      open.pop();
      keyMayFollow = false;
    } else if (token === ',') {
      keyMayFollow = true;
    } else if (keys && keyMayFollow) {
      const key = JSON.parse(token) as string;
      if (keys.has(key)) throw new TypeError('a key is given twice');
      if (key === '__proto__') throw new TypeError('the key __proto__');
      keys.add(key);
      keyMayFollow = false;
    }
  }
}

/** What a search found, as a model reads it and as it is shown. */

import type { SearchTool } from '../policy/tools.js';
import type { Json, JsonObject } from '../protocol/event.js';

const maxBytes = 16 * 1024;
const end = '\n-----\n';

/** One hit with all that is needed of it. */
export interface Hit {
  readonly id: string;
  readonly title: string;
  readonly content: string;
}

/** The usable hits: those with an id and a content. */
export function hitsOf(found: readonly JsonObject[], { fields }: SearchTool['search']): Hit[] {
  return found.flatMap((hit) => {
    const id = at(hit, fields.id);
    const content = textOf(at(hit, fields.content));
    if (typeof id !== 'string' || id === '' || content === '') return [];
    return [{ id, title: textOf(at(hit, fields.title)), content }];
  });
}

/** The value of a field, which may be one of a complex field. */
function at(hit: JsonObject, field: string): Json | undefined {
  return field
    .split('/')
    .reduce<Json | undefined>(
      (value, key) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, key)
          ? (value as JsonObject)[key]
          : undefined,
      hit,
    );
}

function textOf(value: Json | undefined): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

/**
 * The hits as the model reads them, and how many those are. What has no room is left out from the end: half a text invites
 * to invent the rest. Only of a first one that is too long a part is better than nothing.
 */
export function readable(hits: readonly Hit[]): { text: string; shown: number } {
  let text = '';
  let bytes = 0;
  for (const [index, { id, content }] of hits.entries()) {
    const head = `[${id}]: `;
    const more = `${head}${content}${end}`;
    bytes += Buffer.byteLength(more);
    if (bytes <= maxBytes) {
      text += more;
      continue;
    }
    if (index > 0) return { text, shown: index };
    return { text: `${head}${cut(content, maxBytes - Buffer.byteLength(head + end))}${end}`, shown: 1 };
  }
  return { text, shown: hits.length };
}

/** A text of so many bytes at most, without a part of a character at its end. */
function cut(text: string, bytes: number): string {
  const encoded = Buffer.from(text);
  let to = Math.max(0, bytes);
  while (to > 0 && ((encoded[to] ?? 0) & 0xc0) === 0x80) to--;
  return encoded.toString('utf8', 0, to);
}

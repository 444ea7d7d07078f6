/** What a translation remembers about a session, within bounds. */

import type { Json } from '../event.js';
import { isObject } from './tables.js';

/** How many ids of one kind a session's translation remembers; the oldest is forgotten first. */
const rememberedIds = 4096;

/** Longest id worth remembering, in characters: the protocol's own bound for ids that clients choose. */
const longestId = 512;

/** Stores a value by id, forgetting the oldest entry when the memory is full. */
export function remember<Value>(memory: Map<string, Value>, id: string, value: Value): void {
  memory.set(id, value);
  if (memory.size <= rememberedIds) return;
  for (const oldest of memory.keys()) {
    memory.delete(oldest);
    return;
  }
}

/** An id, or null for anything that cannot be remembered as one. */
export function idOf(value: Json | undefined): string | null {
  return typeof value === 'string' && value !== '' && value.length <= longestId ? value : null;
}

/** The id of an item or response, or null when it has none. */
export function idIn(object: Json | undefined): string | null {
  return isObject(object) ? idOf(object.id) : null;
}

/** Forgets an id, if it is one. */
export function forget(memory: Map<string, unknown>, id: Json | undefined): void {
  if (typeof id === 'string') memory.delete(id);
}

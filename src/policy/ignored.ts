/** Which fields of a client's event did not get through: their names, in the client's words, and nothing of their values. */

import type { Json, JsonObject } from '../protocol/event.js';
import { fieldOf, isObject } from './shape.js';

/** Objects that only group fields; what is missing of them is told field by field. */
const groups: ReadonlySet<string> = new Set(['session', 'response', 'item', 'audio', 'input', 'output']);
const mostNames = 20;
const longestName = 128;

/** The paths of what `sent` holds and `kept` does not hold alike, 20 of them at most. What is null says nothing. */
export function ignoredFields(sent: JsonObject, kept: JsonObject): string[] {
  const names: string[] = [];
  compare(sent, kept, '', names);
  return names;
}

function compare(sent: JsonObject, kept: JsonObject, under: string, names: string[]): void {
  for (const key of Object.keys(sent)) {
    if (names.length >= mostNames) return;
    if (under === '' && key === 'event_id') continue;
    judge(fieldOf(sent, key), fieldOf(kept, key), key, `${under}${printable(key)}`, names);
  }
}

function judge(sent: Json | undefined, kept: Json | undefined, key: string, at: string, names: string[]): void {
  if (sent === kept || sent === null || sent === undefined || names.length >= mostNames) return;
  if (isObject(sent) && (isObject(kept) || groups.has(key))) {
    compare(sent, isObject(kept) ? kept : {}, `${at}.`, names);
  } else if (Array.isArray(sent) && Array.isArray(kept) && sent.length === kept.length) {
    for (const [index, element] of sent.entries()) judge(element, kept[index], '', `${at}[${index}]`, names);
  } else {
    names.push(at.slice(0, longestName));
  }
}

/** Names come from the client, and may end up in front of a person. */
function printable(key: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(key) ? key : '?';
}

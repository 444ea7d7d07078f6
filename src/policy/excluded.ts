/**
 * What a client excludes by a field that no end user may set. Dropped, such a field would turn the wish into its opposite:
 * an answer would be spoken into the conversation that was meant for nobody, so the event is refused. A field that asks
 * for more than the profile grants is dropped: what is left of the event is what the client may have.
 */

import type { Json, JsonObject } from '../protocol/event.js';
import { type Fault, invalid } from './faults.js';
import { fieldOf } from './shape.js';

const excluding: readonly [field: string, excludes: (value: Json) => boolean, expected: string][] = [
  ['conversation', (value) => value !== 'auto', "'auto': an answer is always a part of the conversation"],
  ['input', () => true, 'no such field: an answer is always to the conversation as it is'],
  ['tools', (value) => Array.isArray(value) && value.length === 0, 'no empty list: the tools are those of the server'],
  ['tool_choice', (value) => value === 'none', "anything but 'none': whether tools are used is decided by the server"],
];

/** Why a wish for a response cannot be carried out in part, or null. */
export function exclusionFault(wish: JsonObject): Fault | null {
  for (const [field, excludes, expected] of excluding) {
    const value = fieldOf(wish, field);
    if (value !== undefined && value !== null && excludes(value)) return invalid(`response.${field}`, expected);
  }
  return null;
}

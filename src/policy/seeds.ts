/** History that a client brings along: what was said before it connected, where its profile lets it say so. */

import type { JsonObject } from '../protocol/event.js';
import type { Fault } from './faults.js';
import { fieldOf, isObject } from './shape.js';

/** Of all messages that a client puts in before the first answer: more is no history, but a document. */
const mostBytes = 64 * 1024;

/** What is known of a client's history. */
export interface Seeds {
  /** Text of the messages before the first answer. */
  bytes: number;
  /** Whether the client was told that it may not bring any. */
  refused: boolean;
}

/** Bytes of a message's words. */
export function wordBytes(item: JsonObject): number {
  const content = fieldOf(item, 'content');
  if (!Array.isArray(content)) return 0;
  return content.reduce<number>((sum, part) => {
    const text = isObject(part) ? fieldOf(part, 'text') : undefined;
    return typeof text === 'string' ? sum + Buffer.byteLength(text) : sum;
  }, 0);
}

/**
 * Why an assistant's message may not be put in now, or null. A client that replays its history sends many at once: that it
 * may not is held against it once.
 */
export function seedFault(item: JsonObject, seeds: Seeds, may: { seed: boolean; begun: boolean }): Fault | null {
  if (!may.seed || may.begun) {
    const race = seeds.refused && !may.begun;
    seeds.refused = true;
    const message = may.seed
      ? "Messages with role 'assistant' may be created before the first response only."
      : "Messages with role 'assistant' may not be created. Allowed are messages with role 'user' and outputs of this " +
        "client's own calls; the setting client.may_seed of the profile lets a client bring the history of its conversation.";
    const fault: Fault = { code: 'item_not_allowed', message, param: 'item.role' };
    return race ? { ...fault, race } : fault;
  }
  if (seeds.bytes + wordBytes(item) <= mostBytes) return null;
  const message = `A client may bring at most ${mostBytes} bytes of history.`;
  return { code: 'too_many_items', message, param: 'item.content' };
}

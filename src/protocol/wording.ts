/** How a backend has the model say something to the user now. */

import type { JsonObject } from './event.js';
import { family } from './family.js';

/** The events of it; while an answer runs, a `response.cancel` goes before them. No promise of exact words. */
export function eventsToSay(text: string, isCall: boolean): JsonObject[] {
  const words = `Say to the user now: ${text}`;
  // The browser of a call would be shown the item.
  if (isCall) return [{ type: family.up.ask, response: { instructions: words } }];
  const item = { type: 'message', role: 'system', content: [{ type: 'input_text', text: words }] };
  return [{ type: 'conversation.item.create', item }, { type: family.up.ask }];
}

/** What the model has answered, for whoever has asked it and waits. */

import { z } from 'zod';
import { isObject, type JsonObject } from '../protocol/event.js';

/** An answer, as it is told. */
export const answer = z.strictObject({
  id: z.string().nullable(),
  status: z.string().nullable().describe('As upstream says it: `completed`, `cancelled`, `incomplete`, `failed`.'),
  text: z.string().describe('What it says, written or spoken.'),
  output: z.array(z.looseObject({})).describe('Its items, without sound.'),
});
export type Answer = z.output<typeof answer>;

/** The answer that a response is. */
export function answerOf({ id, status, output }: JsonObject): Answer {
  const items = Array.isArray(output) ? output.filter(isObject) : [];
  return {
    id: typeof id === 'string' ? id : null,
    status: typeof status === 'string' ? status : null,
    text: items.map(wordsOf).filter(Boolean).join('\n'),
    output: items.map(silent),
  };
}

function partsOf({ content }: JsonObject): JsonObject[] {
  return Array.isArray(content) ? content.filter(isObject) : [];
}

function wordsOf(item: JsonObject): string {
  const words = partsOf(item).map(({ text, transcript }) => text ?? transcript);
  return words.filter((one) => typeof one === 'string').join('');
}

function silent(item: JsonObject): JsonObject {
  if (!Array.isArray(item.content)) return item;
  return { ...item, content: partsOf(item).map(({ audio: _, ...part }) => part) };
}

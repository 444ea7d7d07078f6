/** What the model has heard and read last, and what it remembers: nothing but what is in its items. */
import type { JsonObject } from '../protocol/event.js';
import { recognised } from './recognise.js';
import { isObject } from './schema.js';
import type { AudioFormat } from './settings.js';
import { bytesPerMs, type Speech } from './speech.js';
import { type Item, textOf } from './thread.js';

/** What a response answers. */
export type Said =
  | { readonly kind: 'text' | 'speech' | 'tool_output' | 'nothing'; readonly text: string }
  | { readonly kind: 'approval'; readonly text: string; readonly approves: boolean; readonly request: JsonObject };

const outputTypes: ReadonlySet<unknown> = new Set(['function_call_output', 'mcp_call']);

/** The last words of the user, or what tools said since then. */
export function whatWasSaid(items: readonly Item[], speech: Speech): Said {
  const last = items.findLast(({ shown }) => isAnswer(shown) || outputTypes.has(shown.type) || shown.role === 'user');
  if (!last) return { kind: 'nothing', text: '' };
  if (isAnswer(last.shown)) return approvalOf(last.shown, items);
  if (outputTypes.has(last.shown.type)) return { kind: 'tool_output', text: outputsBehindWords(items) };
  if (last.heard) return { kind: 'speech', text: textHeard(last.heard.bytes, last.heard.format, speech) };
  return { kind: 'text', text: textOf(last.shown) };
}

/** The user's words that a response answers; null when it answers something else. */
export function userWords(said: Said): string | null {
  return said.kind === 'text' || said.kind === 'speech' ? said.text : null;
}

/** What the emulator understands of speech: the words of a recording that it knows; else that something was said, and for how long. */
export function textHeard(bytes: Buffer, format: AudioFormat, speech: Speech): string {
  const seconds = bytes.length / bytesPerMs(format) / 1000;
  return recognised(bytes, format, speech)?.text ?? `(speech, ${seconds.toFixed(1)} s)`;
}

function isAnswer({ type }: JsonObject): boolean {
  return type === 'mcp_approval_response';
}

function approvalOf({ approval_request_id, approve }: JsonObject, items: readonly Item[]): Said {
  const request = items.find(({ id }) => id === approval_request_id)?.shown ?? {};
  return { kind: 'approval', text: '', approves: approve === true, request };
}

/** Every output since somebody spoke, so that none of several calls is left out. */
function outputsBehindWords(items: readonly Item[]): string {
  const from = items.findLastIndex(({ shown }) => shown.type === 'message') + 1;
  const outputs = items.slice(from).filter(({ shown }) => outputTypes.has(shown.type));
  return outputs
    .filter(({ shown }) => typeof shown.output === 'string' || isObject(shown.error))
    .map(({ shown }) => textOf(shown))
    .filter((text) => text !== '')
    .join(' ');
}

/** A sentence that asked to be remembered, wherever in the items it stands; one that ends with a question mark asks itself. */
const remembered = /\bremember(?:\s+that)?[:,]?\s+([^.!?"\\\n]+)(\??)/gi;

/** What somebody asked the model to remember and these words ask for, told last of all; null when there is nothing. */
export function recalled(items: readonly Item[], words: string): string | null {
  if (!words.trim().endsWith('?')) return null;
  const wanted = new Set(keywords(words));
  const facts = items
    .flatMap(({ shown }) => [...textOf(shown).matchAll(remembered)])
    .flatMap(([, fact = '', mark]) => (mark === '' ? [fact.trim()] : []));
  return facts.findLast((fact) => keywords(fact).some((word) => wanted.has(word))) ?? null;
}

function keywords(words: string): string[] {
  return words.toLowerCase().match(/[\p{L}\d]{4,}/gu) ?? [];
}

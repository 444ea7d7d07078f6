/** What the other dialect has no words for. Dropping these silently would change what the sender asked for. */

import type { Json, JsonObject } from '../event.js';
import { isMcpItem } from './items.js';
import type { SessionKind } from './session.js';
import { isObject, valueAt } from './tables.js';

/** A field that cannot be carried to the other dialect, as a path in the words of the dialect it came in, and why. */
export interface Unsupported {
  readonly param: string;
  readonly why: string;
}

/** Fields of GA alone, with the value besides null that only spells out what a preview service does anyway. */
const gaOnlyFields: readonly (readonly [path: string, harmless?: string])[] = [
  ['prompt'],
  ['truncation', 'auto'],
  ['reasoning'],
  ['parallel_tool_calls'],
  ['audio.input.turn_detection.idle_timeout_ms'],
];

const gaOnlyVoices: readonly Json[] = ['marin', 'cedar'];

/** The first thing in a GA client event that a preview service cannot do, or null. */
export function unsupportedByPreview(body: JsonObject, kind: SessionKind): Unsupported | null {
  if (body.type === 'session.update' && isObject(body.session)) {
    return wrongKind(body.session, kind) ?? unsupportedConfiguration(body.session, 'session');
  }
  if (body.type === 'response.create' && isObject(body.response)) {
    return (
      unsupportedConfiguration(body.response, 'response') ?? firstOf(body.response.input, 'response.input', gaOnlyItem)
    );
  }
  return body.type === 'conversation.item.create' ? gaOnlyItem(body.item, 'item') : null;
}

/** The first thing in a preview client event that GA cannot express, or null. */
export function unsupportedByGa(body: JsonObject): Unsupported | null {
  if (body.type === 'conversation.item.create') return referenceIn(body.item, 'item');
  if (body.type !== 'response.create' || !isObject(body.response)) return null;
  return firstOf(body.response.input, 'response.input', referenceIn);
}

function wrongKind(session: JsonObject, kind: SessionKind): Unsupported | null {
  if (session.type === undefined || session.type === kind) return null;
  return { param: 'session.type', why: `this session is of type ${kind}` };
}

function unsupportedConfiguration(config: JsonObject, at: string): Unsupported | null {
  for (const [path, harmless] of gaOnlyFields) {
    const value = valueAt(config, path.split('.'));
    if (value !== undefined && value !== null && value !== harmless) return gaOnly(`${at}.${path}`);
  }
  const voice = valueAt(config, ['audio', 'output', 'voice']);
  if (isObject(voice) || (voice !== undefined && gaOnlyVoices.includes(voice))) {
    return { param: `${at}.audio.output.voice`, why: 'the voice exists in the GA protocol only' };
  }
  if (isMcp(config.tool_choice)) return gaOnly(`${at}.tool_choice`);
  return firstOf(config.tools, `${at}.tools`, (tool, path) => (isMcp(tool) ? gaOnly(path) : null));
}

function gaOnlyItem(item: Json | undefined, at: string): Unsupported | null {
  if (isMcpItem(item)) return gaOnly(`${at}.type`);
  return partOfType(item, at, 'input_image');
}

function referenceIn(item: Json | undefined, at: string): Unsupported | null {
  return partOfType(item, at, 'item_reference');
}

function partOfType(item: Json | undefined, at: string, type: string): Unsupported | null {
  if (!isObject(item)) return null;
  return firstOf(item.content, `${at}.content`, (part, path) =>
    isObject(part) && part.type === type
      ? { param: `${path}.type`, why: `content of type ${type} is unknown to it` }
      : null,
  );
}

function firstOf(
  list: Json | undefined,
  at: string,
  judge: (value: Json, path: string) => Unsupported | null,
): Unsupported | null {
  if (!Array.isArray(list)) return null;
  for (const [index, value] of list.entries()) {
    const found = judge(value, `${at}[${index}]`);
    if (found) return found;
  }
  return null;
}

function isMcp(value: Json | undefined): boolean {
  return isObject(value) && value.type === 'mcp';
}

function gaOnly(param: string): Unsupported {
  return { param, why: 'it exists in the GA protocol only' };
}

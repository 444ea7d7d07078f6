/** One item of a conversation as it is remembered: in words, so that a fresh leg can be told it. */

import { type JsonObject, objectOf } from '../../protocol/event.js';

type Role = 'user' | 'assistant' | 'system';

/** A remembered item; it changes as more becomes known of it. */
export interface Entry {
  readonly id: string;
  readonly kind: 'message' | 'function_call' | 'function_call_output';
  readonly role: Role;
  /** What was said, by the index of its content; null for what is not known in words, or not yet. */
  readonly parts: (string | null)[];
  /** Of calls and their outputs. */
  callId: string;
  name: string;
  /** Whether more of it is to come. */
  isOpen: boolean;
  /** Whether its words will never come. */
  isMute: boolean;
  /** Whether the model writes it. */
  isWritten: boolean;
  /** The sound of it that was sent on, in bytes. */
  soundBytes: number;
  /** When that began, by the monotonic clock. */
  soundAt: number;
  /** How much of its sound was heard, where it was cut; of so much in all when that was said. */
  cut: { readonly ms: number; readonly ofMs: number } | null;
  /** Another one with each change of what a leg would be told. */
  version: number;
}

/** What an item that upstream tells of becomes; null for what is not kept. */
export function entryOf(item: JsonObject): Entry | null {
  const { id, type, role, call_id, name } = item;
  if (typeof id !== 'string' || !(type === 'message' || type === 'function_call' || type === 'function_call_output'))
    return null;
  const entry: Entry = {
    id,
    kind: type,
    role: role === 'assistant' || role === 'user' ? role : 'system',
    parts: [],
    callId: typeof call_id === 'string' ? call_id : '',
    name: typeof name === 'string' ? name : '',
    isOpen: true,
    isMute: false,
    isWritten: false,
    soundBytes: 0,
    soundAt: 0,
    cut: null,
    version: 1,
  };
  fill(entry, item);
  return entry;
}

/** The user's speech that became an item, whose words are still to come. */
export function spokenEntry(id: string): Entry {
  return { ...(entryOf({ id, type: 'message', role: 'user' }) as Entry), parts: [null], isOpen: false };
}

/** Takes from an item what it says of itself. */
export function fill(entry: Entry, item: JsonObject): void {
  const isOver = item.status !== 'in_progress';
  if (entry.kind === 'message') {
    for (const [index, part] of contentOf(item).entries()) {
      const words = wordsOf(part);
      if (words !== null || entry.parts[index] === undefined) setWords(entry, index, words);
    }
  } else {
    const text = entry.kind === 'function_call' ? item.arguments : item.output;
    if (typeof item.call_id === 'string') entry.callId = item.call_id;
    if (typeof item.name === 'string') entry.name = item.name;
    if (typeof text === 'string' && isOver) setWords(entry, 0, text);
  }
  if (isOver && entry.isOpen) {
    entry.isOpen = false;
    entry.version++;
  }
}

/** The words of one part are known. */
export function setWords(entry: Entry, index: unknown, words: string | null): void {
  const at = typeof index === 'number' && index >= 0 && index < mostParts ? index : 0;
  while (entry.parts.length < at) entry.parts.push(null);
  if (entry.parts[at] === words && at < entry.parts.length) return;
  entry.parts[at] = words;
  entry.version++;
}

/** Only so much of its sound was heard. */
export function cutAt(entry: Entry, ms: number, ofMs: number): void {
  if (entry.cut !== null && entry.cut.ms <= ms) return;
  entry.cut = { ms, ofMs: entry.cut?.ofMs ?? ofMs };
  entry.version++;
}

/** Whether there is something in it that is not known in words. */
export function isWordless({ kind, parts }: Entry): boolean {
  return kind === 'message' && (parts.length === 0 || parts.includes(null));
}

/** Bytes of its words. */
export function bytesOf({ parts }: Entry): number {
  return parts.reduce((sum, part) => sum + (part === null ? 0 : Buffer.byteLength(part)), 0);
}

/** What of it the user has heard or said. */
export function heard({ parts, cut }: Entry): string[] {
  const words = parts.filter((part) => part !== null && part !== '') as string[];
  if (cut === null || cut.ms >= cut.ofMs) return words;
  const all = words.join(' ');
  const kept = all.slice(0, Math.floor((all.length * cut.ms) / cut.ofMs));
  if (kept.length === 0) return [];
  const end = /\s/.test(all.charAt(kept.length)) ? kept.length : kept.search(/\s\S*$/);
  return end <= 0 ? [] : [kept.slice(0, end)];
}

/** The item that a fresh leg is told; null while there is nothing to tell. */
export function itemOf(entry: Entry): JsonObject | null {
  const { id, kind, role, parts, callId, name } = entry;
  const [text = null] = parts;
  switch (kind) {
    case 'function_call':
      return entry.isOpen || text === null ? null : { id, type: kind, call_id: callId, name, arguments: text };
    case 'function_call_output':
      return text === null ? null : { id, type: kind, call_id: callId, output: text };
    default: {
      const type = role === 'assistant' ? 'output_text' : 'input_text';
      const content = heard(entry).map((words) => ({ type, text: words }));
      if (content.length === 0 || (role !== 'assistant' && isWordless(entry))) return null;
      return { id, type: kind, role, content };
    }
  }
}

/** More parts than any item has. */
const mostParts = 64;

function contentOf({ content }: JsonObject): JsonObject[] {
  return Array.isArray(content) ? content.slice(0, mostParts).map(objectOf) : [];
}

function wordsOf(part: JsonObject): string | null {
  const { type, text, transcript } = part;
  // A picture has none.
  if (type === 'input_image') return '';
  return typeof text === 'string' ? text : typeof transcript === 'string' ? transcript : null;
}

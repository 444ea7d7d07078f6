/** What was said in one turn by one side, as it becomes known; and the record of it. */

import type { Cancel } from '../clock.js';
import type { Profile } from '../policy/profile.js';
import { isObject, type Json, type JsonObject } from '../protocol/event.js';
import type { ItemSource, Utterance } from '../telemetry/records.js';
import { Sound } from './sound.js';

/** An item of the conversation; times are monotonic. */
export interface Turn {
  readonly id: string;
  /** `other`: has a place in the order and no words. */
  speaker: 'user' | 'assistant' | 'other';
  source: ItemSource;
  /** By the index of their content. */
  readonly parts: string[];
  status: Utterance['status'];
  startedAt: number;
  endedAt: number;
  /** Nothing more will be known of it. */
  isFinal: boolean;
  isDeleted: boolean;
  /** The function that it calls. */
  tool: string | null;
  /** The response that it is part of, whose words and sound are still to come until that is over. */
  response: string | null;
  isOver: boolean;
  isSpoken: boolean;
  readonly sound: Sound;
  /** Of sound that is not seen here, as upstream counts it. */
  soundMs: number;
  /** Where it was cut, by the client or by upstream, and when that was heard of. */
  cut: { readonly claimedMs: number; readonly at: number } | null;
  cancel: Cancel | null;
}

/** A turn of which only the id is known. */
export function turnOf(id: string, now: number): Turn {
  return {
    ...{ id, speaker: 'other', source: 'user', parts: [], status: 'completed', startedAt: now, endedAt: now },
    ...{ isFinal: false, isDeleted: false, tool: null, response: null, isOver: false, isSpoken: false },
    ...{ sound: new Sound(), soundMs: 0, cut: null, cancel: null },
  };
}

type Include = Profile['transcripts']['include'];

/** Of one item; a part of an answer that is longer is not kept. */
const mostKept = 32_000;
const mostTold = 16_000;
/** Of speech, where nothing else tells how long it is. */
const charactersPerSecond = 15;

/** Adds words to a part. */
export function addWords(turn: Turn, index: unknown, words: unknown): void {
  const at = typeof index === 'number' && index >= 0 && index < 16 ? index : 0;
  if (typeof words === 'string') turn.parts[at] = ((turn.parts[at] ?? '') + words).slice(0, mostKept);
}

/** Sets a part to all of its words. */
export function setWords(turn: Turn, index: unknown, words: unknown): void {
  if (typeof words !== 'string') return;
  const at = typeof index === 'number' && index >= 0 && index < 16 ? index : 0;
  turn.parts[at] = '';
  addWords(turn, at, words);
}

/** Sets all parts to the words in the content of an item. */
export function setContent(turn: Turn, item: JsonObject): void {
  for (const [index, words] of wordsIn(item).entries()) setWords(turn, index, words);
}

/** Whether it has no words, so far. */
export function isWordless({ parts }: Pick<Turn, 'parts'>): boolean {
  return parts.every((words) => !words);
}

/** The words in the content of an item. */
function wordsIn({ content }: JsonObject): string[] {
  const parts: Json[] = Array.isArray(content) ? content.slice(0, 16) : [];
  return parts.filter(isObject).map(({ text, transcript }) => String(text ?? transcript ?? '').slice(0, mostKept));
}

/** The record of a turn; `wallOf` gives the time of day. Null where there is nothing to tell. */
export function recordOf(
  turn: Turn,
  include: Include,
  tools: readonly string[],
  wallOf: (at: number) => number,
): Utterance | null {
  const { speaker, isDeleted, cut } = turn;
  if (speaker === 'other' || !include.includes(speaker)) return null;
  const full = turn.parts.filter(Boolean).join('\n');
  if (full === '' && speaker === 'assistant') return null;
  const heard = shareHeard(turn, full);
  const text = heard < 1 ? wordsBefore(full, full.length * heard) : full;
  const isSilent = isDeleted && include.includes('no_deleted');
  const told = isSilent ? '' : shortened(text);
  return {
    item_id: turn.id,
    role: speaker,
    source: turn.source,
    text: told,
    status: heard < 1 ? 'interrupted' : turn.status,
    started_at: timeOf(wallOf(turn.startedAt)),
    ended_at: timeOf(wallOf(turn.endedAt)),
    ...(include.includes('tools') && { tools: speaker === 'assistant' ? tools : [] }),
    ...(cut && { audio_end_ms: cut.claimedMs }),
    ...(heard < 1 && include.includes('full_text') && !isSilent && { full_text: shortened(full) }),
    ...(isDeleted && { deleted: true as const }),
    ...(!isSilent && text.length > told.length && { truncated: true as const }),
  };
}

/** How much of an answer's sound was heard. Words are cut at the same share, since nobody says which they were. */
function shareHeard({ cut, sound, soundMs }: Turn, text: string): number {
  if (cut === null) return 1;
  const isSeen = sound.ms > 0;
  const all = sound.ms || soundMs || (text.length / charactersPerSecond) * 1000;
  const heard = isSeen && cut.claimedMs < all ? sound.heardMs(cut.claimedMs, cut.at) : cut.claimedMs;
  return heard >= all ? 1 : Math.max(0, heard / all);
}

const words = new Intl.Segmenter(undefined, { granularity: 'word' });

/** The whole words of the first so many characters, in any language. */
export function wordsBefore(text: string, characters: number): string {
  let end = 0;
  for (const { index, segment } of words.segment(text)) {
    if (index + segment.length > characters) break;
    end = index + segment.length;
  }
  return text.slice(0, end).trimEnd();
}

/** Half of a character is not told. */
function shortened(text: string): string {
  return text.slice(0, mostTold).replace(/[\ud800-\udbff]$/, '');
}

function timeOf(wall: number): string {
  return new Date(wall).toISOString();
}

/** What a fresh leg has to know: the conversation in words, in its order, as upstream has told it. Bounded. */

import { Bounded } from '../../policy/bounded.js';
import { relayPrefix } from '../../protocol/catalogue.js';
import { type JsonObject, objectOf, type RealtimeEvent } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import { bytesOf, cutAt, type Entry, entryOf, fill, setWords, spokenEntry } from './entry.js';

/** How much is remembered. */
export interface ShadowLimits {
  readonly bytes: number;
  readonly items: number;
}

/** Ids of what is not remembered any more. */
const mostGone = 1024;
const mostEarly = 8;

/** The conversation of one session. */
export class Shadow {
  readonly #limits: ShadowLimits;
  #entries: Entry[] = [];
  readonly #gone = new Bounded<true>(mostGone);
  /** Words that came before what they are the words of. */
  readonly #early = new Bounded<string>(mostEarly);
  /** What is being spoken at the moment. */
  #speaking: Entry | null = null;
  /** Items that were forgotten, or have something in them that is kept by nobody. */
  lost = 0;
  #bytesPerMs = 48;
  /** Null where it has to be counted again. */
  #bytes: number | null = 0;

  constructor(limits: ShadowLimits) {
    this.#limits = limits;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  get bytes(): number {
    this.#bytes ??= this.#entries.reduce((sum, entry) => sum + bytesOf(entry), 0);
    return this.#bytes;
  }

  /** When the last answer that was sent on will have been played, by the monotonic clock. */
  get playsUntil(): number {
    const spoken = this.#entries.findLast(({ soundBytes }) => soundBytes > 0);
    return spoken === undefined ? 0 : spoken.soundAt + this.msOf(spoken.soundBytes);
  }

  find(id: unknown): Entry | undefined {
    return this.#entries.find((entry) => entry.id === id);
  }

  /** Whether it was in the conversation and is remembered no more. */
  isGone(id: unknown): boolean {
    return typeof id === 'string' && this.#gone.has(id);
  }

  /** Takes note of the bytes of a second of the model's sound. */
  configured(outputRate: number): void {
    this.#bytesPerMs = outputRate / 1000;
  }

  /** The model's sound passes; called for each piece of it. */
  spoke({ itemId, audioBytes }: RealtimeEvent): void {
    if (this.#speaking === null || this.#speaking.id !== itemId) {
      this.#speaking = this.find(itemId) ?? null;
      if (this.#speaking?.soundBytes === 0) this.#speaking.soundAt = performance.now();
    }
    if (this.#speaking !== null) this.#speaking.soundBytes += audioBytes;
  }

  /** Takes note of an event of upstream. */
  saw(type: string, body: JsonObject): void {
    this.#bytes = null;
    on.get(type)?.(this, body);
  }

  committed({ item_id: id, previous_item_id: previous }: JsonObject): void {
    if (typeof id !== 'string' || this.find(id)) return;
    const entry = spokenEntry(id);
    const words = this.#early.get(id);
    if (words !== undefined) setWords(entry, 0, words);
    this.#early.delete(id);
    this.#place(entry, previous);
  }

  added({ item, previous_item_id: previous }: JsonObject): void {
    const shown = objectOf(item);
    const known = this.find(shown.id);
    if (known) {
      fill(known, shown);
      return;
    }
    const entry = entryOf(shown);
    if (entry === null) {
      if (shown.type === 'mcp_call') this.lost++;
      this.forget(shown.id);
      return;
    }
    // A picture is seen once.
    if (hasPicture(shown)) this.lost++;
    this.#place(entry, previous);
  }

  ended({ item }: JsonObject): void {
    const shown = objectOf(item);
    const entry = this.find(shown.id);
    if (entry === undefined) return;
    fill(entry, shown);
    if (entry.kind === 'function_call' && shown.status === 'incomplete') this.forget(entry.id);
    this.#trim();
  }

  words({ item_id: id, content_index: index, text, transcript }: JsonObject): void {
    const entry = this.find(id);
    const words = text ?? transcript;
    if (!entry && typeof id === 'string' && typeof transcript === 'string') this.#early.set(id, transcript);
    if (entry && typeof text === 'string') entry.isWritten = true;
    if (entry && typeof words === 'string') setWords(entry, index, words);
    this.#trim();
  }

  untranscribed({ item_id: id }: JsonObject): void {
    const entry = this.find(id);
    if (entry) entry.isMute = true;
  }

  truncated({ item_id: id, audio_end_ms: ms }: JsonObject): void {
    const entry = this.find(id);
    if (entry && typeof ms === 'number') cutAt(entry, ms, this.msOf(entry.soundBytes));
  }

  /** How long so many bytes of the model's sound take. */
  msOf(bytes: number): number {
    return bytes / this.#bytesPerMs;
  }

  forget(id: unknown): void {
    if (typeof id !== 'string') return;
    this.#bytes = null;
    this.#gone.set(id, true);
    this.#entries = this.#entries.filter((entry) => entry.id !== id);
  }

  #place(entry: Entry, previous: unknown): void {
    const before = this.#entries.findIndex(({ id }) => id === previous);
    const isFirst = previous === null && this.#entries.length > 0;
    this.#entries.splice(before < 0 && !isFirst ? this.#entries.length : before + 1, 0, entry);
    this.#trim();
  }

  /** The oldest turns go, each with all that belongs to it; never what the server says, and never the last turn. */
  #trim(): void {
    this.#bytes = null;
    while (this.#entries.length > this.#limits.items || this.bytes > this.#limits.bytes) {
      const first = this.#entries.findIndex((entry) => !isKept(entry));
      const next = this.#entries.findIndex((entry, at) => at > first && isUsers(entry));
      if (first < 0 || next < 0) return;
      const turn = this.#entries.slice(first, next).filter((entry) => !isKept(entry));
      const calls = new Set(turn.filter(({ kind }) => kind === 'function_call').map(({ callId }) => callId));
      const outputs = this.#entries.filter(({ kind, callId }) => kind !== 'message' && calls.has(callId));
      const all = new Set([...turn, ...outputs].map(({ id }) => id));
      for (const id of all) this.forget(id);
      this.lost += all.size;
    }
  }
}

/** Of the server: what it tells the model does not wear off. */
function isKept({ kind, role, id }: Entry): boolean {
  return kind === 'message' && (role === 'system' || (role !== 'assistant' && id.startsWith(relayPrefix)));
}

function isUsers(entry: Entry): boolean {
  return entry.kind === 'message' && entry.role === 'user' && !isKept(entry);
}

function hasPicture({ content }: JsonObject): boolean {
  return Array.isArray(content) && content.some((part) => objectOf(part).type === 'input_image');
}

const on: ReadonlyMap<string, (shadow: Shadow, body: JsonObject) => void> = new Map([
  [family.down.committed, (shadow: Shadow, body: JsonObject) => shadow.committed(body)],
  ...family.down.itemAdded.map((type) => [type, (shadow: Shadow, body: JsonObject) => shadow.added(body)] as const),
  [family.down.itemEnded, (shadow: Shadow, body: JsonObject) => shadow.ended(body)],
  [family.down.outputEnded, (shadow: Shadow, body: JsonObject) => shadow.ended(body)],
  ...family.down.wordsEnded.map((type) => [type, (shadow: Shadow, body: JsonObject) => shadow.words(body)] as const),
  [family.down.transcribed, (shadow: Shadow, body: JsonObject) => shadow.words(body)],
  [family.down.untranscribed, (shadow: Shadow, body: JsonObject) => shadow.untranscribed(body)],
  [family.down.truncated, (shadow: Shadow, body: JsonObject) => shadow.truncated(body)],
  [family.down.deleted, (shadow: Shadow, { item_id }: JsonObject) => shadow.forget(item_id)],
]);

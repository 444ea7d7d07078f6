/** The answers that run on a leg, and how each is brought to an end that upstream will not bring any more. */

import { Bounded } from '../../policy/bounded.js';
import { eventOf, type JsonObject, objectOf, type RealtimeEvent } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';

/** One answer that runs. */
interface Answer {
  readonly id: string;
  readonly response: JsonObject;
  /** What it was asked for with; null where upstream began it by itself. */
  readonly asked: JsonObject | null;
  readonly isAside: boolean;
  readonly items: Output[];
  isCancelled: boolean;
  soundBytes: number;
}

/** An item that it brings forth. */
interface Output {
  readonly index: unknown;
  item: JsonObject;
  isOver: boolean;
  readonly parts: Part[];
}

interface Part {
  readonly index: unknown;
  readonly type: 'text' | 'audio';
  /** As they came: hardly any answer is ever cut off. */
  readonly words: (Buffer | string)[];
  bytes: number;
  isOver: boolean;
}

/** What an answer was that was cut off. */
export interface Lost {
  readonly id: string;
  readonly asked: JsonObject | null;
  readonly isAside: boolean;
  readonly isCancelled: boolean;
  /** Whether it made a call that is complete: what comes of that is answered. */
  readonly hasCalled: boolean;
  readonly soundBytes: number;
  /** Items that were begun and are not complete. */
  readonly open: readonly string[];
}

const mostAnswers = 64;
const mostWordBytes = 64 * 1024;

export class Running {
  readonly #answers = new Bounded<Answer>(mostAnswers);
  /** What speaks at the moment. */
  #speaking: Answer | null = null;
  /** The last one that is over. */
  last: Pick<Answer, 'id' | 'asked' | 'isAside' | 'isCancelled'> | null = null;

  /** The model's sound passes; called for each piece of it. */
  spoke({ responseId, audioBytes }: RealtimeEvent): void {
    if (this.#speaking === null || this.#speaking.id !== responseId) {
      this.#speaking = (responseId !== null && this.#answers.get(responseId)) || null;
    }
    if (this.#speaking !== null) this.#speaking.soundBytes += audioBytes;
  }

  /** Takes note of words that were not read. */
  worded({ responseId, itemId, type, raw }: RealtimeEvent): void {
    const part = this.#part(responseId, itemId, null, type);
    if (part && raw) add(part, Buffer.from(raw));
  }

  /** Takes note of an answer that begins, and what it was asked for with. */
  began(response: JsonObject, asked: JsonObject | null, isAside: boolean): void {
    const { id } = response;
    if (typeof id !== 'string') return;
    this.#answers.set(id, { id, response, asked, isAside, items: [], isCancelled: false, soundBytes: 0 });
  }

  /** Takes note of any other event of upstream. */
  saw(type: string, body: JsonObject): void {
    if (type === family.down.answerEnded) {
      const { id } = objectOf(body.response);
      if (this.#speaking?.id === id) this.#speaking = null;
      this.last = this.#answers.get(String(id)) ?? null;
      this.#answers.delete(String(id));
    } else on.get(type)?.(this, body, type);
  }

  /** The client wants to hear no more of this one, or of any. */
  cancelled(id: unknown): void {
    for (const answer of this.#answers.values()) if (id === undefined || answer.id === id) answer.isCancelled = true;
  }

  outputAdded({ response_id: id, output_index: index, item }: JsonObject): void {
    const answer = this.#answers.get(String(id));
    if (answer && answer.items.length < mostAnswers) {
      answer.items.push({ index, item: objectOf(item), isOver: false, parts: [] });
    }
  }

  outputEnded({ response_id: id, item }: JsonObject): void {
    const shown = objectOf(item);
    const output = this.#output(id, shown.id);
    if (output) Object.assign(output, { item: shown, isOver: true });
  }

  partAdded({ response_id: id, item_id: itemId, content_index: index, part }: JsonObject): void {
    const { type } = objectOf(part);
    this.#output(id, itemId)?.parts.push({
      ...{ index, type: type === 'audio' ? 'audio' : 'text', words: [], bytes: 0, isOver: false },
    });
  }

  partEnded({ response_id: id, item_id: itemId, content_index: index }: JsonObject): void {
    const part = this.#output(id, itemId)?.parts.find((one) => one.index === index);
    if (part) part.isOver = true;
  }

  words(type: string, { response_id: id, item_id: itemId, content_index: index, delta, text, transcript }: JsonObject) {
    const part = this.#part(id, itemId, index, type);
    const all = text ?? transcript;
    if (part && typeof delta === 'string') add(part, delta);
    if (part && typeof all === 'string') part.words.splice(0, part.words.length, all);
  }

  #output(id: unknown, itemId: unknown): Output | undefined {
    return this.#answers.get(String(id))?.items.find(({ item }) => item.id === itemId);
  }

  #part(id: unknown, itemId: unknown, index: unknown, type: string): Part | undefined {
    const parts = this.#output(id, itemId)?.parts ?? [];
    const isSpoken = type === family.down.words[1] || type === family.down.wordsEnded[1];
    const kind = isSpoken ? 'audio' : 'text';
    return index === null ? parts.findLast((one) => one.type === kind) : parts.find((one) => one.index === index);
  }

  /** What upstream would have said, had it cut off all that runs. */
  ends(): { readonly lost: readonly Lost[]; readonly events: readonly RealtimeEvent[] } {
    const answers = [...this.#answers.values()];
    const lost = answers.map(({ id, asked, isAside, isCancelled, items, soundBytes }) => ({
      ...{ id, asked, isAside, isCancelled, soundBytes },
      hasCalled: items.some(({ item, isOver }) => isOver && item.type === 'function_call'),
      open: items.filter(({ isOver }) => !isOver).map(({ item }) => String(item.id)),
    }));
    return { lost, events: answers.flatMap(endOf).map(eventOf) };
  }
}

function add(part: Part, words: Buffer | string): void {
  part.bytes += words.length;
  if (part.bytes <= mostWordBytes) part.words.push(words);
}

function said({ words }: Part): string {
  return words.map((one) => (typeof one === 'string' ? one : deltaOf(one))).join('');
}

function deltaOf(raw: Buffer): string {
  const { delta } = JSON.parse(String(raw)) as JsonObject;
  return typeof delta === 'string' ? delta : '';
}

function endOf({ id, response, items, isAside }: Answer): JsonObject[] {
  const ends = items.flatMap((output) => (output.isOver ? [] : endOfOutput(id, output)));
  const status = isAside ? 'failed' : 'incomplete';
  const output = items.map((one) => (one.isOver ? one.item : cutOff(one)));
  const ended = { ...response, status, status_details: { type: status }, output, usage: null };
  return [...ends, { type: family.down.answerEnded, response: ended }];
}

function endOfOutput(id: string, output: Output): JsonObject[] {
  const item = cutOff(output);
  const about = { response_id: id, output_index: output.index as number };
  const parts = output.parts.filter(({ isOver }) => !isOver).flatMap((part) => endOfPart(about, item.id, part));
  return [
    ...parts,
    { type: family.down.itemEnded, previous_item_id: null, item },
    { type: family.down.outputEnded, ...about, item },
  ];
}

function endOfPart(about: JsonObject, itemId: unknown, part: Part): JsonObject[] {
  const words = said(part);
  const where = { ...about, item_id: itemId as string, content_index: part.index as number };
  const end = { type: family.down.partEnded, ...where };
  const [written, spoken] = family.down.wordsEnded;
  if (part.type === 'text')
    return [
      { type: written, ...where, text: words },
      { ...end, part: { type: 'text', text: words } },
    ];
  return [
    { type: family.down.soundEnded, ...where },
    { type: spoken, ...where, transcript: words },
    { ...end, part: { type: 'audio', transcript: words } },
  ];
}

/** An item as it is left. */
function cutOff({ item, parts }: Output): JsonObject {
  if (item.type !== 'message') return { ...item, status: 'incomplete' };
  const content = parts.map((part) =>
    part.type === 'text' ? { type: 'output_text', text: said(part) } : { type: 'output_audio', transcript: said(part) },
  );
  return { ...item, status: 'incomplete', content };
}

const on: ReadonlyMap<string, (running: Running, body: JsonObject, type: string) => void> = new Map([
  [family.down.outputAdded, (running: Running, body: JsonObject) => running.outputAdded(body)],
  [family.down.outputEnded, (running: Running, body: JsonObject) => running.outputEnded(body)],
  [family.down.partAdded, (running: Running, body: JsonObject) => running.partAdded(body)],
  [family.down.partEnded, (running: Running, body: JsonObject) => running.partEnded(body)],
  ...[...family.down.words, ...family.down.wordsEnded].map(
    (type) => [type, (running: Running, body: JsonObject) => running.words(type, body)] as const,
  ),
]);

/** What went upstream and was not answered yet, in order: a fresh leg is sent it again. Bounded. */

import { type JsonObject, objectOf } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import { tagOf } from '../unanswered.js';

/** An event, and how much sound had gone upstream before it. */
export interface Sent {
  readonly body: JsonObject;
  readonly at: number;
}

/** More than an honest session has on its way at a time. */
const most = 256;
const mostBytes = 1024 * 1024;
const kept: ReadonlySet<unknown> = new Set([
  family.up.configure,
  family.up.commit,
  family.up.clear,
  family.up.item,
  family.up.ask,
  family.up.truncate,
  family.up.remove,
  family.up.fetch,
]);

export class Journal {
  #sent: (Sent & { readonly bytes: number })[] = [];
  /** Events that had to be let go of unanswered. */
  lost = 0;

  /** What is not answered, oldest first. */
  get pending(): readonly Sent[] {
    return this.#sent;
  }

  get bytes(): number {
    return this.#sent.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Where in the sound the oldest event of this kind was sent; null where none waits. */
  sentAt(type: string): number | null {
    return this.#sent.find(({ body }) => body.type === type)?.at ?? null;
  }

  /** What an answer is asked for with that upstream has begun and nobody is to see. */
  asked(response: JsonObject): JsonObject | null {
    const tag = tagOf(response);
    return (
      this.#sent.find(({ body }) => body.type === family.up.ask && tag !== null && tagOf(body.response) === tag)
        ?.body ?? null
    );
  }

  /** Takes all that is not answered, to be sent again. */
  takeAll(): readonly Sent[] {
    const all = this.#sent;
    this.#sent = [];
    return all;
  }

  /** Takes note of an event on its way upstream. */
  keep(body: JsonObject, at: number): void {
    if (!kept.has(body.type)) return;
    this.#sent.push({ body, at, bytes: JSON.stringify(body).length });
    while (this.#sent.length > most || this.bytes > mostBytes) {
      this.#sent.shift();
      this.lost++;
    }
  }

  /** Upstream has begun an answer: what it was asked for with, if it was. */
  begun(response: JsonObject): JsonObject | null {
    const tag = tagOf(response);
    const isIt = ({ body }: Sent) => body.type === family.up.ask && (tag === null || tagOf(body.response) === tag);
    return this.#take(isIt);
  }

  /** Takes note of an event of upstream that answers something. */
  saw(type: string, body: JsonObject): void {
    const id = body.item_id ?? objectOf(body.item).id;
    if (type === family.down.configured) this.#take(({ body: { type: what } }) => what === family.up.configure);
    else if (type === family.down.committed) this.#take(({ body: { type: what } }) => what === family.up.commit);
    else if (type === family.down.cleared) this.#take(({ body: { type: what } }) => what === family.up.clear);
    else if (type === family.down.truncated) this.#takeAbout(family.up.truncate, id);
    else if (type === family.down.deleted) this.#takeAbout(family.up.remove, id);
    else if (type === family.down.fetched) this.#takeAbout(family.up.fetch, id);
    else if (type === family.down.error) this.#refused(objectOf(body.error));
    else if (added.has(type))
      this.#take(({ body: sent }) => sent.type === family.up.item && objectOf(sent.item).id === id);
  }

  #refused({ event_id: id }: JsonObject): void {
    // Upstream answers in order, more or less; what is asked for is named, or found by its tag.
    if (typeof id === 'string') this.#take(({ body }) => body.event_id === id);
    else this.#take(({ body: { type, event_id } }) => type !== family.up.ask && event_id === undefined);
  }

  #takeAbout(type: string, itemId: unknown): void {
    this.#take(({ body }) => body.type === type && body.item_id === itemId);
  }

  #take(isIt: (sent: Sent) => boolean): JsonObject | null {
    const at = this.#sent.findIndex(isIt);
    return at < 0 ? null : ((this.#sent.splice(at, 1)[0] as Sent).body as JsonObject);
  }
}

const added: ReadonlySet<string> = new Set(family.down.itemAdded);

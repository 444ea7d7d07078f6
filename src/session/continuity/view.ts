/** How a leg that is not a session's first says the same: times count from its own beginning, and ids may be others. */

import { eventOf, type JsonObject, objectOf, type RealtimeEvent } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import type { Mirror } from './mirror.js';

/** What a view begins with. */
interface ViewStart {
  /** Where in the sound of the session the leg's own begins, in milliseconds. */
  readonly offsetMs: number;
  /** What is being spoken, and will be announced again under another id. */
  readonly speaking: { readonly itemId: string; readonly isOver: boolean } | null;
  /** What the conversation is called; null where that is not known. */
  readonly conversationId: string | null;
  readonly mirror: Mirror;
}

export class View {
  readonly #offsetMs: number;
  readonly #conversationId: string | null;
  readonly #mirror: Mirror;
  #speaking: ViewStart['speaking'];
  /** What the leg calls an item, and what it is called by all others. */
  #alias: { readonly name: string; readonly id: string } | null = null;

  constructor({ offsetMs, speaking, conversationId, mirror }: ViewStart) {
    this.#offsetMs = Math.round(offsetMs);
    this.#speaking = speaking;
    this.#conversationId = conversationId;
    this.#mirror = mirror;
  }

  /** An event of the leg as the session knows it; null for what was said already. */
  readonly down = (event: RealtimeEvent): RealtimeEvent | null => {
    if (event.raw !== null) return this.#raw(event);
    const body = event.body as JsonObject;
    if (speech.has(event.type)) return this.#speech(event.type, body);
    const response = objectOf(body.response);
    if (typeof response.conversation_id === 'string' && this.#conversationId !== null) {
      return eventOf({ ...body, response: { ...response, conversation_id: this.#conversationId } });
    }
    return this.#hasAliases ? eventOf(this.#renamed(body)) : event;
  };

  get #hasAliases(): boolean {
    return this.#alias !== null || this.#mirror.hasNames;
  }

  #raw(event: RealtimeEvent): RealtimeEvent {
    if (event.itemId === null || event.itemId !== this.#alias?.name) return event;
    return eventOf(this.#renamed(JSON.parse(String(event.raw)) as JsonObject));
  }

  #speech(type: string, body: JsonObject): RealtimeEvent | null {
    const { item_id: name, audio_start_ms: start, audio_end_ms: end } = body;
    const speaking = this.#speaking;
    const isKnown = speaking !== null && type !== family.down.silence && typeof name === 'string';
    if (isKnown && this.#alias?.name !== name) this.#alias = { name, id: speaking.itemId };
    if (isKnown && (type === family.down.speechBegun || (type === family.down.speechEnded && speaking.isOver)))
      return null;
    if (type === family.down.committed) this.#speaking = null;
    return eventOf({
      ...this.#renamed(body),
      ...(typeof start === 'number' && { audio_start_ms: start + this.#offsetMs }),
      ...(typeof end === 'number' && { audio_end_ms: end + this.#offsetMs }),
    });
  }

  #renamed(body: JsonObject): JsonObject {
    const { item_id: itemId, previous_item_id: previous, item } = body;
    const { id } = objectOf(item);
    return {
      ...body,
      ...(typeof itemId === 'string' && { item_id: this.#idOf(itemId) }),
      ...(typeof previous === 'string' && { previous_item_id: this.#idOf(previous) }),
      ...(typeof id === 'string' && { item: { ...objectOf(item), id: this.#idOf(id) } }),
    };
  }

  #idOf(name: string): string {
    return this.#alias?.name === name ? this.#alias.id : this.#mirror.idOf(name);
  }

  /** An event for the leg, which calls items as it does. */
  up(body: JsonObject): JsonObject {
    if (!this.#hasAliases) return body;
    const { item_id: itemId, previous_item_id: previous } = body;
    return {
      ...body,
      ...(typeof itemId === 'string' && { item_id: this.#nameOf(itemId) }),
      ...(typeof previous === 'string' && { previous_item_id: this.#nameOf(previous) }),
    };
  }

  #nameOf(id: string): string {
    return this.#alias?.id === id ? this.#alias.name : this.#mirror.nameOf(id);
  }
}

const speech: ReadonlySet<string> = new Set([
  family.down.speechBegun,
  family.down.speechEnded,
  family.down.silence,
  family.down.committed,
]);

/**
 * The responses of one session: which the client may see, whether one is running, and whose metadata belongs to which.
 * A `response.create` goes upstream with a tag of the relay in place of metadata, and the tag comes back in
 * `response.created`. That tells responses that were asked for from those that voice activity began.
 */

import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { Bounded } from './bounded.js';
import { fieldOf, isObject } from './shape.js';

/** Who asked for a response, and what is to be known when it begins. */
interface Ask {
  readonly by: 'client' | 'relay';
  readonly hidden: boolean;
  /** What the client attached and wants back; it never goes upstream. */
  readonly metadata: JsonObject | null;
}

const tagKey = relayPrefix.slice(0, -1);
const maxResponses = 4096;
const maxAsks = 256;
/** Turns that something may still follow upon. */
const maxTurns = 8;

/** The responses of one session, as its client may know them. */
export class Responses {
  readonly #shown = new Bounded<JsonObject | null>(maxResponses);
  readonly #hidden = new Bounded<true>(maxResponses);
  readonly #running = new Bounded<true>(maxResponses);
  readonly #attached = new Bounded<JsonObject>(maxTurns);
  readonly #asks = new Bounded<Ask & { waits: boolean }>(maxAsks);
  #tags = 0;
  #upstreamEchoes = false;
  #begun = false;

  /** Whether any was asked for or has begun. */
  get begun(): boolean {
    return this.#begun || this.#tags > 0;
  }

  /** Notes a `response.create` about to be sent; returns the metadata it must carry. */
  ask(ask: Ask): { tag: string; metadata: JsonObject } {
    const tag = String(++this.#tags);
    this.#asks.set(tag, { ...ask, waits: !ask.hidden });
    return { tag, metadata: { [tagKey]: tag } };
  }

  /** Upstream refused the `response.create` with this tag. */
  forget(tag: string): void {
    this.#asks.delete(tag);
  }

  /** Upstream is busy and did not say for whom: takes back the relay's oldest ask, if one is unanswered; it would be that one. */
  retract(): boolean {
    for (const [tag, ask] of this.#asks.entries()) {
      if (ask.by !== 'relay' || ask.hidden) continue;
      this.#asks.delete(tag);
      return true;
    }
    return false;
  }

  /** Upstream refused something and did not say what: no ask holds up the next one any longer. */
  release(): void {
    for (const ask of this.#asks.values()) ask.waits = false;
  }

  /** Notes a `response.created`; returns whether the client may see it. */
  created(id: string, metadata: Json | undefined): boolean {
    this.#begun = true;
    if (this.#hidden.has(id) || id.startsWith(relayPrefix)) return false;
    if (this.#shown.has(id)) return true;
    const ask = this.#answered(metadata);
    if (ask?.hidden === true) {
      this.#hidden.set(id, true);
      return false;
    }
    this.#shown.set(id, ask?.metadata ?? null);
    if (ask?.metadata) this.#attached.set(id, ask.metadata);
    this.#running.set(id, true);
    return true;
  }

  /** Notes a `response.created` that the client is kept from seeing; returns the tag of the client's ask that it answers, or null. */
  hush(id: string, metadata: Json | undefined): string | null {
    this.#begun = true;
    this.#hidden.set(id, true);
    const tag = this.#tagOf(metadata);
    const ask = this.#take(tag);
    return ask?.by === 'client' ? tag : null;
  }

  #answered(metadata: Json | undefined): Ask | undefined {
    return this.#take(this.#tagOf(metadata));
  }

  #tagOf(metadata: Json | undefined): string | null {
    const tag = isObject(metadata) ? fieldOf(metadata, tagKey) : undefined;
    if (typeof tag === 'string') {
      this.#upstreamEchoes = true;
      return tag;
    }
    // An upstream that was never seen to echo metadata answers in order, as far as can be known.
    return this.#upstreamEchoes ? null : (this.#asks.first()?.[0] ?? null);
  }

  #take(tag: string | null): Ask | undefined {
    if (tag === null) return undefined;
    const ask = this.#asks.get(tag);
    this.#asks.delete(tag);
    return ask;
  }

  /** Notes a `response.done`, after which its metadata is forgotten. */
  done(id: string): void {
    this.#running.delete(id);
    // Sixteen long values for each of thousands of responses would be megabytes a session.
    if (this.#shown.has(id)) this.#shown.set(id, null);
  }

  shows(id: Json | undefined): boolean {
    return typeof id === 'string' && this.#shown.has(id);
  }

  /** What the client attached to its own `response.create`. */
  metadata(id: string): JsonObject | null {
    return this.#shown.get(id) ?? null;
  }

  /** The same of the turn that this response belongs to, also after its end, for one that goes on with it. */
  attached(id: string): JsonObject | null {
    return this.#attached.get(id) ?? null;
  }

  /** Whether another `response.create` of the client would be refused upstream. */
  get busy(): boolean {
    if (this.#running.size > 0) return true;
    for (const ask of this.#asks.values()) if (ask.waits) return true;
    return false;
  }
}

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

  #answered(metadata: Json | undefined): Ask | undefined {
    const tag = isObject(metadata) ? fieldOf(metadata, tagKey) : undefined;
    if (typeof tag === 'string') {
      this.#upstreamEchoes = true;
      const ask = this.#asks.get(tag);
      this.#asks.delete(tag);
      return ask;
    }
    if (this.#upstreamEchoes) return undefined;
    // An upstream that was never seen to echo metadata answers in order, as far as can be known.
    const first = this.#asks.first();
    if (first === undefined) return undefined;
    this.#asks.delete(first[0]);
    return first[1];
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

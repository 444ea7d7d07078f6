/**
 * The responses of one session: which the client may see, whether one is running, and whose metadata belongs to which.
 * A `response.create` goes upstream with a tag of the relay in place of metadata, and the tag comes back in
 * `response.created`. That tells responses that were asked for from those that voice activity began.
 */

import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { remember } from './bounded.js';
import { isObject, own } from './shape.js';

/** Who asked for a response, and what is to be known when it begins. */
interface Ask {
  readonly by: 'client' | 'relay';
  readonly hidden: boolean;
  /** What the client attached and wants back; it never goes upstream. */
  readonly metadata: JsonObject | null;
}

/** The responses of one session, as its client may know them. */
export interface Responses {
  /** Notes a `response.create` about to be sent; returns the metadata it must carry. */
  ask(ask: Ask): { readonly tag: string; readonly metadata: JsonObject };
  /** Upstream refused the `response.create` with this tag. */
  forget(tag: string): void;
  /** Upstream refused something and did not say what: no ask holds up the next one any longer. */
  release(): void;
  /** Notes a `response.created`; returns whether the client may see it. */
  created(id: string, metadata: Json | undefined): boolean;
  /** Notes a `response.done`, after which its metadata is forgotten. */
  done(id: string): void;
  shows(id: Json | undefined): boolean;
  /** What the client attached to its own `response.create`. */
  metadata(id: string): JsonObject | null;
  /** Whether another `response.create` of the client would be refused upstream. */
  readonly busy: boolean;
}

const tagKey = relayPrefix.slice(0, -1);
const maxResponses = 4096;
const maxAsks = 256;

/** Makes the memory of one session's responses. */
export function createResponses(): Responses {
  const shown = new Map<string, JsonObject | null>();
  const hidden = new Map<string, true>();
  const running = new Map<string, true>();
  const asks = new Map<string, Ask & { waits: boolean }>();
  let tags = 0;
  let upstreamEchoes = false;

  function answered(metadata: Json | undefined): Ask | undefined {
    const tag = isObject(metadata) ? own(metadata, tagKey) : undefined;
    if (typeof tag === 'string') {
      upstreamEchoes = true;
      const ask = asks.get(tag);
      asks.delete(tag);
      return ask;
    }
    if (upstreamEchoes) return undefined;
    // An upstream that was never seen to echo metadata answers in order, as far as can be known.
    const [first] = asks;
    if (first === undefined) return undefined;
    asks.delete(first[0]);
    return first[1];
  }

  return {
    ask(ask) {
      const tag = String(++tags);
      remember(asks, tag, { ...ask, waits: ask.by === 'client' }, maxAsks);
      return { tag, metadata: { [tagKey]: tag } };
    },
    forget: (tag) => void asks.delete(tag),
    release() {
      for (const ask of asks.values()) ask.waits = false;
    },
    created(id, metadata) {
      if (hidden.has(id) || id.startsWith(relayPrefix)) return false;
      if (shown.has(id)) return true;
      const ask = answered(metadata);
      if (ask?.hidden === true) {
        remember(hidden, id, true, maxResponses);
        return false;
      }
      remember(shown, id, ask?.metadata ?? null, maxResponses);
      remember(running, id, true, maxResponses);
      return true;
    },
    done(id) {
      running.delete(id);
      // Sixteen long values for each of thousands of responses would be megabytes a session.
      if (shown.has(id)) shown.set(id, null);
    },
    shows: (id) => typeof id === 'string' && shown.has(id),
    metadata: (id) => shown.get(id) ?? null,
    get busy() {
      if (running.size > 0) return true;
      for (const ask of asks.values()) if (ask.waits) return true;
      return false;
    },
  };
}

/** The `response.create` events that upstream has yet to answer, and which of them an answer belongs to. */

import { busyCode } from '../policy/faults.js';
import { relayPrefix } from '../protocol/catalogue.js';
import { type JsonObject, objectOf } from '../protocol/event.js';

/** One that was sent; `T` is what is to be known when it is answered. */
interface Asked<T> {
  readonly eventId: unknown;
  readonly tag: unknown;
  readonly by: T;
  /** False once upstream has refused something and did not say what. */
  waits: boolean;
}

/** What upstream says in trouble of its own, which passes. */
const troubles: ReadonlySet<unknown> = new Set(['rate_limit_exceeded', 'server_error', 'internal_error']);
/** More of a kind than an honest session has at a time. */
const most = 64;
const tagKey = relayPrefix.slice(0, -1);

/** Those of one leg to upstream. */
export class Unanswered<T> {
  readonly #asked: Asked<T>[] = [];
  /** Those outside of the conversation, which are in nobody's way. */
  readonly #aside: { readonly tag: string; readonly by: T }[] = [];
  #echoesTags = false;
  /** The last one whose answer was known by its order alone: upstream may yet refuse it. */
  #guess: Asked<T> | null = null;

  /** Whether any may still be answered. */
  get waits(): boolean {
    return this.waitsFor(() => true);
  }

  /** Who has asked. */
  *[Symbol.iterator](): Generator<T> {
    for (const { by } of this.#asked) yield by;
  }

  /** Whether one of these may still be answered. */
  waitsFor(isMeant: (by: T) => boolean): boolean {
    return this.#asked.some(({ by, waits }) => waits && isMeant(by));
  }

  /** Takes note of one as it goes upstream. */
  note({ event_id: eventId, response }: JsonObject, by: T): void {
    const tag = tagOf(response);
    if (!isAside(response)) keepLast(this.#asked, { eventId, tag, by, waits: true });
    else if (tag !== null) keepLast(this.#aside, { tag, by });
  }

  /** Upstream has begun a response: whose it is, null for one that it began by itself, and whether it is outside of the conversation. */
  begun(response: JsonObject): { readonly by: T | null; readonly isAside: boolean } {
    const tag = tagOf(response);
    if (tag !== null) this.#echoesTags = true;
    const aside = take(this.#aside, (one) => one.tag === tag);
    if (response.conversation_id === null || aside) return { by: aside?.by ?? null, isAside: true };
    // An upstream that was never seen to send tags back answers in order, as far as can be known.
    const isMeant = (one: Asked<T>) => (this.#echoesTags ? tag !== null && one.tag === tag : one.waits);
    const asked = take(this.#asked, isMeant) ?? null;
    this.#guess = this.#echoesTags ? null : asked;
    return { by: asked?.by ?? null, isAside: false };
  }

  /** The answer is over. */
  ended(): void {
    this.#guess = null;
  }

  /** Upstream has refused something: whose ask that is, as far as can be known; `isOurs` says which it would tell who is busy. */
  refused({ code, event_id: eventId }: JsonObject, isOurs: (by: T) => boolean): { readonly by: T } | null {
    const isNamed = typeof eventId === 'string';
    const isIt = (one: Asked<T>) => (isNamed ? one.eventId === eventId : code === busyCode && isOurs(one.by));
    const asked = take(this.#asked, isIt) ?? (this.#guess && isIt(this.#guess) ? this.#guess : null);
    if (asked !== null || isNamed) return asked;
    for (const one of this.#asked) one.waits = false;
    return null;
  }
}

/** Whether upstream may well give later what it refuses now. */
export function isPassing({ type, code }: JsonObject): boolean {
  return code === busyCode || type === 'server_error' || troubles.has(code);
}

/** Whether what is asked for is no part of the conversation. */
export function isAside(response: unknown): boolean {
  return objectOf(response).conversation === 'none';
}

/** By what the relay knows an answer that it asks for; null for another. */
export function tagOf(response: unknown): string | null {
  const tag = objectOf(objectOf(response).metadata)[tagKey];
  return typeof tag === 'string' ? tag : null;
}

function keepLast<T>(list: T[], one: T): void {
  list.push(one);
  if (list.length > most) list.shift();
}

/** Takes the first one that is meant out of a list. */
export function take<T>(list: T[], isMeant: (one: T) => boolean): T | undefined {
  const at = list.findIndex(isMeant);
  return at < 0 ? undefined : list.splice(at, 1)[0];
}

/** One Realtime event, in the only two forms that may be sent on: bytes the scan judged, or an object to serialise. */

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json | undefined;
}

/** Whether a value is a JSON object, neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value if it is a JSON object, else one without fields. */
export function objectOf(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/**
 * One Realtime JSON message. Exactly one of `raw` and `body` is set: `raw` holds the original bytes of a message in the
 * strict language of the fast path, `body` a parsed message that is serialised anew when it is sent.
 */
export interface RealtimeEvent {
  /** The `type` field; the empty string when the message had no string there. */
  readonly type: string;
  readonly raw: Buffer | null;
  readonly body: JsonObject | null;
  /** Decoded bytes of audio in `audio` or `delta` of a fast event; 0 otherwise. */
  readonly audioBytes: number;
  /** Ids read by the scan of a fast server event; null otherwise. */
  readonly itemId: string | null;
  readonly responseId: string | null;
  /** Whether `raw` still stands in the frame it came in, so that it can leave in that. Only a leg's reader says so. */
  readonly framed: boolean;
}

/**
 * Looks at one event; returns it, a replacement, several in order, or null to swallow it. Must not wait.
 * A step that throws a RelayError ends the session with it.
 */
export type Step = (event: RealtimeEvent) => RealtimeEvent | readonly RealtimeEvent[] | null;

/** Why a client's event was not carried out: becomes an `error` event for the client, and is counted. */
export interface Refusal {
  /** Machine-readable, snake_case: `event_not_allowed`, `invalid_value`, `unknown_item`, … */
  readonly code: string;
  /** For a person: names what is wrong and what would be right. Never quotes server-owned configuration. */
  readonly message: string;
  /** Path of the field at fault, in the client's words, or null. */
  readonly param: string | null;
  /** The refused event's own `event_id`, or null. */
  readonly eventId: string | null;
}

/** An event made or rebuilt by the relay. */
export function eventOf(body: JsonObject): RealtimeEvent {
  return {
    type: typeof body.type === 'string' ? body.type : '',
    raw: null,
    body,
    audioBytes: 0,
    itemId: null,
    responseId: null,
    framed: false,
  };
}

/** The event as it may be kept for later: apart from the memory it came in, which may be much larger, and from its frame. */
export function detached(event: RealtimeEvent): RealtimeEvent {
  const { type, raw, body, audioBytes, itemId, responseId } = event;
  if (raw === null) return event;
  return { type, raw: Buffer.from(raw), body, audioBytes, itemId, responseId, framed: false };
}

/** The bytes to send for an event: the judged original, or the serialisation of what policy built. */
export function encode(event: RealtimeEvent): Buffer {
  return event.raw ?? Buffer.from(JSON.stringify(event.body));
}

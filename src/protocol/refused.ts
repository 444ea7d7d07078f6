/** The `error` event that a refusal becomes, and the way back from it. */

import type { Json, JsonObject, Refusal } from './event.js';

/** By the `error` objects that were made of them: nothing that was read from a peer is one of these. */
const refusals = new WeakMap<object, Refusal>();

/** The event that tells of a refusal. */
export function errorOf(refusal: Refusal, eventId: string): JsonObject {
  const { code, message, param, eventId: refused } = refusal;
  const error: JsonObject = { type: 'invalid_request_error', code, message, param, event_id: refused };
  refusals.set(error, refusal);
  return { type: 'error', event_id: eventId, error };
}

/** The refusal that an `error` object was made of here, whose words may be shown; null for one of a peer's. */
export function refusalIn(error: Json | undefined): Refusal | null {
  return typeof error === 'object' && error !== null ? (refusals.get(error) ?? null) : null;
}

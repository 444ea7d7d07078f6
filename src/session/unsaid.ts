/** What upstream's dialect has no words for: found only after policy has let it pass. */

import type { Policy } from '../policy/policy.js';
import { eventOf, type Json, type JsonObject, type Refusal } from '../protocol/event.js';

/** What to tell a client of an event that could not be said to upstream. */
interface Unsaid {
  /** The refusal with the client's own id in place of the one that policy gave the event; null when nobody waits for it. */
  readonly refusal: Refusal | null;
  /** Answers that were waiting behind that of the event. */
  readonly answers: readonly JsonObject[];
}

/**
 * Lets policy settle an event that never reached upstream. It waits for one answer to each, and would take the next one
 * for this event's.
 */
export function settleUnsaid(refusal: Refusal, policy: Policy, eventId: string): Unsaid {
  const { code, message, param } = refusal;
  const error: JsonObject = { type: 'invalid_request_error', code, message, param, event_id: refusal.eventId };
  const shown = policy.down(eventOf({ type: 'error', event_id: eventId, error }));
  const bodies = (shown === null ? [] : 'type' in shown ? [shown] : shown).flatMap(({ body }) => (body ? [body] : []));
  const told = bodies.find(({ type }) => type === 'error');
  return {
    refusal: told === undefined ? null : { ...refusal, eventId: namedIn(told.error) },
    answers: bodies.filter((body) => body !== told),
  };
}

function namedIn(error: Json | undefined): string | null {
  const id = (error as JsonObject | undefined)?.event_id;
  return typeof id === 'string' ? id : null;
}

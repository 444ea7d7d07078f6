/** Reading the fields of events that another program wrote: what is missing or of another type is empty. */

import type { Json, JsonObject } from '../protocol/event.js';
import type { ErrorEvent } from './failures.js';

/** An object inside an object. */
export function child(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}

/** A string. */
export function text(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** The `error` field of an event or of a failed response. */
export function errorIn(object: JsonObject): ErrorEvent {
  const error = child(object, 'error');
  const wait = error.retry_after_ms;
  return {
    code: text(error.code) || text(error.type),
    message: text(error.message),
    retryAfterMs: typeof wait === 'number' ? wait : undefined,
  };
}

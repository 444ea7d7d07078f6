/** What upstream objected to in a configuration, for the log. */

import { objectOf } from '../protocol/event.js';
import { DialFailure } from '../upstream/failure.js';

/** The code and the field of an error; null where upstream gave none, or one that is no word. */
export interface Rejected {
  readonly code: string | null;
  readonly param: string | null;
}

/** Keeps no more than these words: the message of upstream may quote the instructions. */
class Rejection extends Error {
  readonly rejected: Rejected;

  constructor(rejected: Rejected) {
    super(`upstream rejected the profile: ${rejected.code}, ${rejected.param}`);
    this.rejected = rejected;
  }
}

/** The cause of an end, from the `error` of upstream's event. */
export function rejectionOf(error: unknown): Error {
  const { code, param } = objectOf(error);
  return new Rejection({ code: wordOf(code), param: wordOf(param) });
}

/** What was rejected, if that is what ended the session. */
export function rejectedOf(cause: unknown): Rejected | null {
  if (cause instanceof Rejection) return cause.rejected;
  // The configuration of a call is judged by an HTTP answer.
  return cause instanceof DialFailure && cause.kind === 'bad_request' ? { code: cause.code, param: null } : null;
}

function wordOf(value: unknown): string | null {
  return typeof value === 'string' && /^[\w.[\]-]{1,100}$/.test(value) ? value : null;
}

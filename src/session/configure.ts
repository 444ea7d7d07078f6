/** Imposes a session object on a fresh leg to upstream, and says what came of it. */

import { randomUUID } from 'node:crypto';
import { exits, RelayError } from '../errors.js';
import { relayPrefix } from '../protocol/catalogue.js';
import { isObject, type Json, type JsonObject, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import { rejectionOf } from './rejection.js';
import type { Speak } from './speak.js';

/** The session as upstream runs it, or why it does not: its own error, or null when it has only not said what it runs. */
export type Outcome = { readonly session: JsonObject } | { readonly rejected: Json | null };

/** One session object on its way into force. */
export interface Configuration {
  /** Whether upstream has been told. */
  readonly isSent: boolean;
  /** Whether upstream says things that are somebody else's meanwhile. */
  readonly isShared: boolean;
  /** Looks at an event of upstream; null while nothing has come of it. */
  look(event: RealtimeEvent): Outcome | null;
}

/** For a leg of the relay's own, which upstream greets: whatever it objects to before the acknowledgement is this. */
export function configureGreeted(session: JsonObject, say: Speak): Configuration {
  let isSent = false;
  return {
    isShared: false,
    get isSent() {
      return isSent;
    },
    look({ type, body }) {
      if (type === family.down.error) return { rejected: body?.error ?? {} };
      if (type === family.down.configured && isSent) return acknowledged(body);
      if (type === family.down.greeting && !isSent) {
        isSent = true;
        say({ type: family.up.configure, event_id: `${relayPrefix}configure`, session });
      }
      return null;
    },
  };
}

/** For a leg to a session that a client talks to as well: only an error that names the update objects to it, however late. */
export function configureShared(session: JsonObject, say: Speak): Configuration {
  const id = unforgeableId();
  let isDone = false;
  say({ type: family.up.configure, event_id: id, session });
  return {
    isSent: true,
    isShared: true,
    look({ type, body }) {
      if (type === family.down.error)
        return isObject(body?.error) && body.error.event_id === id ? { rejected: body.error } : null;
      if (type !== family.down.configured || isDone) return null;
      isDone = true;
      return acknowledged(body);
    },
  };
}

function acknowledged(body: JsonObject | null): Outcome {
  return isObject(body?.session) ? { session: body.session } : { rejected: null };
}

/**
 * The session as upstream runs it.
 * @throws RelayError upstream_configuration_failed when it does not
 */
export function effective(outcome: Outcome): JsonObject {
  if ('session' in outcome) return outcome.session;
  throw unconfigured(outcome.rejected);
}

/** What a session ends with that upstream does not run as it should; `rejected` is what was objected to, if anything was. */
function unconfigured(rejected: unknown): RelayError {
  const { meaning } = exits.upstream_configuration_failed;
  return new RelayError('upstream_configuration_failed', meaning, {
    ...(rejected !== null && { cause: rejectionOf(rejected) }),
  });
}

/** The id of an event of ours on a leg that a client speaks on as well: no client can make one that looks like it. */
export function unforgeableId(): string {
  return `${relayPrefix}${randomUUID()}`;
}

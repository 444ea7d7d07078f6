/** What backends say in the sessions of this process: judged, placed once however often it is sent, and at a bounded pace. */

import type { Buckets } from '../admission/buckets.js';
import { type User, userKey } from '../auth/principal.js';
import { isFault, judgeBackend, type Where } from '../policy/backend.js';
import type { Fault } from '../policy/faults.js';
import type { JsonObject } from '../protocol/event.js';
import type { Registered } from '../session/registry.js';
import type { Log } from '../telemetry/log.js';

/** Something to be said. */
interface Saying {
  readonly by: User;
  /** Whether it is of one tenant, and uses what is not the tenant's. */
  readonly isBound: boolean;
  readonly events: readonly JsonObject[];
  /** Whether it came as one event, not as a list. */
  readonly isSingle: boolean;
  /** By which a repeat is known; null where there is none. */
  readonly key: string | null;
  /** Of the bytes in which it came. */
  readonly digest: string;
}

/** What became of it. */
type Said =
  | { readonly outcome: 'placed'; readonly ids: string[]; readonly isReplayed: boolean }
  | ({ readonly outcome: 'refused' } & Pick<Fault, 'code' | 'message' | 'param'>)
  | { readonly outcome: 'not_open' | 'idempotency_mismatch' | 'busy' | 'backed_up' }
  | { readonly outcome: 'too_often'; readonly waitMs: number };

/** Says something in a session of this process. */
export type Say = (session: Registered, saying: Saying) => Said;

interface Remembered {
  readonly digest: string;
  readonly ids: string[];
  readonly at: number;
}

const keptMs = 10 * 60_000;
const mostKept = 1000;
/** How fast all backends together may send events to one session. */
export const eventRate = { perSecond: 100, burst: 1000 };
/** More than this on its way to upstream is not added to. */
const mostWaitingBytes = 4 * 1024 * 1024;

/** Makes what says things in the sessions of one process. */
export function createSaying(log: Log, rates: Buckets, now = () => performance.now()): Say {
  const placed = new WeakMap<Registered, Map<string, Remembered>>();

  return (session, { by, isBound, events: list, isSingle, key, digest }) => {
    const known = placed.get(session) ?? new Map<string, Remembered>();
    const own = key === null ? null : JSON.stringify([userKey(by), key]);
    const before = own === null ? undefined : known.get(own);
    if (before && now() - before.at < keptMs) {
      if (before.digest !== digest) return { outcome: 'idempotency_mismatch' };
      return { outcome: 'placed', ids: before.ids, isReplayed: true };
    }
    const judged = judgeBackend(list, whereOf(session, isBound), isSingle);
    if (isFault(judged)) {
      const { code, message, param } = judged;
      return { outcome: 'refused', code, message, param };
    }
    if (isBackedUp(session)) return { outcome: 'backed_up' };
    const waitMs = rates.add(session.id, eventRate, list.length);
    if (waitMs > 0) return { outcome: 'too_often', waitMs };
    const said = session.backend.say(judged, {
      isJudged: true,
      failed(eventId, error) {
        log.warn({ session: session.id, by: by.subject, eventId, code: codeOf(error) }, 'control.event_failed');
      },
    });
    if (said === null) return { outcome: 'not_open' };
    if (said === 'busy') return { outcome: 'busy' };
    const ids = [...said.ids];
    if (own !== null) {
      // As the newest, also where it was there before.
      known.delete(own);
      known.set(own, { digest, ids, at: now() });
      if (known.size > mostKept) known.delete(known.keys().next().value as string);
      placed.set(session, known);
    }
    return { outcome: 'placed', ids, isReplayed: false };
  };
}

/** Where something is said, and by whom. */
export function whereOf({ callId, admission, backend }: Registered, isBound: boolean): Where {
  return {
    isCall: callId !== undefined,
    isExposed: admission.profile.webrtc.injected === 'exposed',
    mayUpdate: isBound ? admission.profile.control.may_update : null,
    owns: (id) => backend.owns(id),
    has: (id) => backend.has(id),
    unsaid: (event) => backend.unsaid(event),
  };
}

/** A name of upstream's that is fit for the log. */
function codeOf({ code }: JsonObject): string {
  return typeof code === 'string' && /^[a-z_]{1,64}$/.test(code) ? code : 'other';
}

/** Whether so much is on its way to upstream that nothing is added to it. */
export function isBackedUp({ buffered }: Registered): boolean {
  return buffered.up > mostWaitingBytes;
}

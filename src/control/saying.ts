/** What backends say in the sessions of this process: judged, placed once however often it is sent, and at a bounded pace. */

import type { Buckets } from '../admission/buckets.js';
import { createShares } from '../admission/shares.js';
import { type User, userKey } from '../auth/principal.js';
import { isFault, judgeBackend, type Where } from '../policy/backend.js';
import { Bounded } from '../policy/bounded.js';
import type { Fault } from '../policy/faults.js';
import type { JsonObject } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Registered } from '../session/registry.js';
import type { Log } from '../telemetry/log.js';
import { inTime } from '../wait.js';
import { type Answer, answerOf } from './answer.js';

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
  /** How long the last answer that is asked for is waited for. */
  readonly waitMs: number;
}

/** What became of it. */
type Said = Placed | Refused;

interface Placed {
  readonly outcome: 'placed';
  readonly ids: string[];
  readonly response: Answer | null;
  readonly isReplayed: boolean;
}

/** Placed just now; with an answer that may be waited for. */
interface Fresh {
  readonly outcome: 'fresh';
  readonly ids: string[];
  readonly answer?: Promise<Answer | null>;
}

type Refused =
  | ({ readonly outcome: 'refused' } & Pick<Fault, 'code' | 'message' | 'param'>)
  | { readonly outcome: 'not_open' | 'idempotency_mismatch' | 'busy' | 'crowded' | 'backed_up' }
  | { readonly outcome: 'too_often'; readonly waitMs: number };

/** Says something in a session of this process. */
export type Say = (session: Registered, saying: Saying) => Promise<Said>;

/** What was placed, for whoever sends it again. */
interface Remembered {
  readonly digest: string;
  readonly ids: string[];
  readonly at: number;
}

/** What is said where there are as many answers beside the conversation as there may be. */
export const crowded = {
  code: 'rate_limited',
  message: 'Four answers beside the conversation are the most at once; wait for one of them.',
  param: null,
} as const;

/** What is remembered in one session. */
interface Memory {
  readonly placed: Map<string, Remembered>;
  /** Answers that were, or are, waited for. */
  readonly answers: Bounded<Promise<Answer | null>>;
}

const keptMs = 10 * 60_000;
const mostKept = 1000;
const mostAnswers = 32;
/** How fast all backends together may send events to one session. */
export const eventRate = { perSecond: 100, burst: 1000 };
/** More than this on its way to upstream is not added to. */
const mostWaitingBytes = 4 * 1024 * 1024;
/** Requests that wait for an answer at once: of the process, of one who asks, and of one tenant at least. */
const mostWaits = { all: 256, each: 8 };

/** Makes what says things in the sessions of one process. */
export function createSaying(log: Log, rates: Buckets, now = () => performance.now()): Say {
  const memories = new WeakMap<Registered, Memory>();
  const waits = createShares(() => mostWaits.all);
  const waiting = new Map<string, number>();

  /** A place to wait in, as what gives it back; null where there is none. */
  function enter(by: User): (() => void) | null {
    const who = userKey(by);
    const own = waiting.get(who) ?? 0;
    const leave = own < mostWaits.each ? waits.take(by, mostWaits.each) : null;
    if (!leave) return null;
    waiting.set(who, own + 1);
    return () => {
      leave();
      const left = (waiting.get(who) ?? 0) - 1;
      if (left > 0) waiting.set(who, left);
      else waiting.delete(who);
    };
  }

  /** Waits for an answer, if it comes in time and not too many wait. */
  async function answered(answer: Promise<Answer | null> | undefined, { by, waitMs }: Saying): Promise<Answer | null> {
    const leave = answer && waitMs > 0 ? enter(by) : null;
    if (!answer || !leave) return null;
    const isThere = await inTime(answer, waitMs);
    leave();
    return isThere ? answer : null;
  }

  function place(session: Registered, { by, isBound, events: list, isSingle, waitMs: wish }: Saying): Refused | Fresh {
    const judged = judgeBackend(list, whereOf(session, isBound), isSingle);
    if (isFault(judged)) {
      const { code, message, param } = judged;
      return { outcome: 'refused', code, message, param };
    }
    if (isBackedUp(session)) return { outcome: 'backed_up' };
    const waitMs = rates.add(session.id, eventRate, list.length);
    if (waitMs > 0) return { outcome: 'too_often', waitMs };
    const hears = wish > 0 && judged.events.some(({ type }) => type === family.up.ask);
    let resolve: (answer: Answer | null) => void = () => undefined;
    const answer = new Promise<Answer | null>((settle) => {
      resolve = settle;
    });
    const said = session.backend.say(judged, {
      isJudged: true,
      failed(eventId, error) {
        log.warn({ session: session.id, by: by.subject, eventId, code: codeOf(error) }, 'control.event_failed');
      },
      ...(hears && { heard: (response: JsonObject | null) => resolve(response && answerOf(response)) }),
    });
    if (said === null) return { outcome: 'not_open' };
    if (typeof said === 'string') return { outcome: said };
    return { outcome: 'fresh', ids: [...said.ids], ...(hears && { answer }) };
  }

  return async (session, saying) => {
    const { by, key, digest } = saying;
    const memory = memories.get(session) ?? {
      placed: new Map<string, Remembered>(),
      answers: new Bounded(mostAnswers),
    };
    const { placed, answers } = memory;
    const own = key === null ? null : JSON.stringify([userKey(by), key]);
    const before = own === null ? undefined : placed.get(own);
    if (own !== null && before && now() - before.at < keptMs) {
      if (before.digest !== digest) return { outcome: 'idempotency_mismatch' };
      const response = await answered(answers.get(own), saying);
      return { outcome: 'placed', ids: before.ids, response, isReplayed: true };
    }
    const said = place(session, saying);
    if (said.outcome !== 'fresh') return said;
    const { ids, answer } = said;
    if (own !== null) {
      // As the newest, also where it was there before.
      placed.delete(own);
      placed.set(own, { digest, ids, at: now() });
      if (placed.size > mostKept) placed.delete(placed.keys().next().value as string);
      answers.delete(own);
      if (answer) answers.set(own, answer);
      memories.set(session, memory);
    }
    return { outcome: 'placed', ids, response: await answered(answer, saying), isReplayed: false };
  };
}

/** Where something is said, and by whom. */
export function whereOf({ callId, admission, backend }: Registered, isBound: boolean): Where {
  return {
    isCall: callId !== undefined,
    isExposed: admission.profile.webrtc.injected === 'exposed',
    mayUpdate: isBound ? admission.profile.control.may_update : null,
    owns: (id) => backend.owns(id),
    isDecided: (id) => backend.isDecided(id),
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

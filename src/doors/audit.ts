/** The log's and the metrics' account of what backends ask: one line for each request, never with its content. */

import type { Response } from 'express';
import { type Principal, userKey } from '../auth/principal.js';
import { type ExitId, exits, type RelayError } from '../errors.js';
import { clientEvents } from '../protocol/catalogue.js';
import type { ControlOutcome, ControlVerb } from '../telemetry/labels.js';
import { audit, type Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { isBackend } from './rights.js';

/** One request of somebody who is known. */
export interface Entry {
  readonly verb: ControlVerb;
  readonly by: Principal;
  /** The session that it names, as it was written. */
  readonly session: string;
  /** The types of the events that were to be said, counted. */
  events?: Readonly<Record<string, number>>;
}

/** Keeps account of the requests that were begun. */
export interface Audit {
  /** What became of a request that is not answered by a response of HTTP; `code` is null where all went well. */
  note(entry: Entry, requestId: string, outcome: ControlOutcome, code: string | null): void;
  done(response: Response): void;
  /** It was answered with a refusal that is no end of a session. */
  refused(response: Response, outcome: 'refused' | 'conflict', code: string): void;
  /** False for a request that was not begun, which is none of this account's. */
  failed(response: Response, error: RelayError): boolean;
}

/** The request on account has these events. */
export function countEvents(response: Response, types: readonly unknown[]): void {
  const events: Record<string, number> = {};
  for (const type of types) {
    const name = known.has(type) ? String(type) : 'other';
    events[name] = (events[name] ?? 0) + 1;
  }
  (response.locals.entry as Entry).events = events;
}

/** The request that is answered by this is on account from now on. */
export function begin(response: Response, entry: Entry): void {
  response.locals.entry = entry;
}

const known: ReadonlySet<unknown> = new Set(clientEvents);
/** Of users who have no business at these doors, one line in so long a time. */
const spanMs = 60_000;
/** Users that are told apart for it; the first that came are forgotten first. */
const mostUsers = 10_000;

/** Starts an account. */
export function createAudit({ log, metrics }: { log: Log; metrics: Metrics }, now = () => performance.now()): Audit {
  const intruders = new Map<string, { readonly since: number; count: number }>();

  function note(entry: Entry, requestId: string, outcome: ControlOutcome, code: string | null): void {
    const { verb, by, session, events } = entry;
    metrics.controlled(verb, outcome);
    const who = { by: by.subject, ...(by.tenant !== null && { byTenant: by.tenant }) };
    const what = { verb, outcome, ...who, requestId, ...(code !== null && { code }) };
    if (isBackend(by)) {
      // Only an id: whatever else stands in its place is the sender's text.
      const named = /^(sess|call)_\w{1,64}$/.test(session) ? { session } : {};
      log.info({ ...audit, ...what, ...named, ...(events && { events }) }, 'control.request');
      return;
    }
    const key = userKey(by);
    const known = intruders.get(key);
    if (known && now() - known.since < spanMs) {
      known.count++;
      return;
    }
    if (intruders.size >= mostUsers) intruders.delete(intruders.keys().next().value as string);
    intruders.delete(key);
    intruders.set(key, { since: now(), count: 0 });
    log.warn({ ...what, ...(known && { repeated: known.count }) }, 'control.refused');
  }

  function answered({ locals }: Response, outcome: ControlOutcome, code: string | null): void {
    note(locals.entry as Entry, String(locals.requestId), outcome, code);
  }

  return {
    note,
    done: (response) => answered(response, 'done', null),
    refused: answered,
    failed(response, { id, cause }) {
      if (!response.locals.entry) return false;
      answered(response, outcomeOf(id), id);
      if (id === 'internal') log.error({ requestId: response.locals.requestId, error: cause }, 'control.failed');
      return true;
    },
  };
}

/** What a refusal is on account. */
export function outcomeOf(id: ExitId): ControlOutcome {
  const { http } = exits[id];
  if (http === 404) return 'not_found';
  return http !== null && http >= 500 ? 'failed' : 'refused';
}

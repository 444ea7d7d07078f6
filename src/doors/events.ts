/** The door through which backends say something in a live session. */

import { createHash } from 'node:crypto';
import type { RequestHandler, Response } from 'express';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { answer } from '../control/answer.js';
import { type Answer, longestList, longestWaitMs } from '../control/commands.js';
import type { Peers } from '../control/peers.js';
import { crowded } from '../control/saying.js';
import { faulty, type HttpRefusal, RelayError } from '../errors.js';
import { isObject, type JsonObject } from '../protocol/event.js';
import type { JsonRules } from '../protocol/json.js';
import { countEvents } from './audit.js';
import { jsonBody } from './body.js';
import { type EntranceServices, entering } from './entrance.js';
import { guestOf, urlOf } from './guest.js';
import { checkScope, reachOf } from './rights.js';

const bodyBytes = 1024 * 1024;
/** Strict, as events of clients are read. */
const rules: JsonRules = { depth: 32, keys: 4096 };

const event = z.looseObject({ type: z.string(), event_id: z.string().optional() });

/** One event, or several in order. */
export const saying = z.union([event, z.strictObject({ events: z.array(event).min(1).max(longestList) })]);

/** What is said when they were placed. */
export const placing = z.strictObject({
  object: z.literal('list'),
  event_ids: z.array(z.string()).describe('In the order of the events; errors of them are told with these ids.'),
});

/** The same with the answer that was waited for. */
export const answering = placing.extend({ response: answer });

/** How events may be said. */
export const sayingQuery = z.object({
  wait: z
    .literal('response')
    .optional()
    .describe(
      'Waits up to 30 seconds for the last answer that is asked for, and answers with it; takes "relay.sessions.read" as well.',
    ),
});

/** `POST /v1/relay/sessions/{id}/events`: places events in the session's order, or none of them. */
export function sayEvents(services: EntranceServices & { readonly peers: Peers }): RequestHandler[] {
  const { peers, controls, audit } = services;
  const carryOut: RequestHandler = async (request, response) => {
    const { principal } = guestOf(response);
    const raw = response.locals.raw as unknown;
    const bytes = Buffer.isBuffer(raw) ? raw : Buffer.alloc(0);
    controls.carry(principal, bytes.length);
    const waits = waitsIn(urlOf(request));
    if (waits) checkScope(principal, 'relay.sessions.read');
    const { events, isSingle } = eventsIn(request.body);
    countEvents(
      response,
      events.map(({ type }) => type),
    );
    const said = await peers.ask({
      verb: 'say',
      id: String(request.params.id ?? ''),
      reach: reachOf(principal),
      by: userOf(principal),
      events,
      isSingle,
      key: keyOf(request.headers['idempotency-key']),
      digest: createHash('sha256').update(bytes).digest('hex'),
      waitMs: waits ? longestWaitMs : 0,
    });
    reply(response, said);
  };

  function reply(response: Response, said: Answer<'say'>): void {
    if (said === null) throw new RelayError('not_found', 'No session of yours has this id.');
    if (said.outcome === 'placed') {
      audit.done(response);
      if (said.isReplayed) response.set('Idempotency-Replayed', 'true');
      const placed = { object: 'list', event_ids: said.ids };
      if (said.response) response.json({ ...placed, response: said.response });
      else response.status(202).json(placed);
      return;
    }
    const refusal = refusalOf(said);
    const { code } = refusal.body.error as { code: string };
    audit.refused(response, refusal.status === 409 ? 'conflict' : 'refused', code);
    response.status(refusal.status).json(refusal.body);
  }

  return [...entering(services, 'events', 'relay.sessions.write'), jsonBody(bodyBytes, rules), carryOut];
}

/** What of a live session stands in the way of a request about it, and whether that passes by itself. */
const conflicts = {
  not_open: true,
  idempotency_mismatch: false,
  conversation_already_has_active_response: true,
  taken_over: false,
} as const;
type Conflict = keyof typeof conflicts;

/** The answer to a request that comes at the wrong time. */
export function conflict(code: Conflict, message: string): HttpRefusal {
  return faulty(code, message, null, 409, conflicts[code]);
}

type Refused = Exclude<NonNullable<Answer<'say'>>, { outcome: 'placed' }>;

function refusalOf(said: Refused): HttpRefusal {
  switch (said.outcome) {
    case 'refused':
      return faulty(said.code, said.message, said.param, said.code === 'forbidden' ? 403 : 400);
    case 'not_open':
      return conflict('not_open', 'The session is still being opened; send it again in a moment.');
    case 'idempotency_mismatch':
      return conflict('idempotency_mismatch', 'This Idempotency-Key was sent before, with another body.');
    case 'busy':
      return conflict(
        'conversation_already_has_active_response',
        'An answer is running. Nothing of the list was sent: send it when the answer is over, or a response.cancel before.',
      );
    case 'crowded':
      throw new RelayError('rate_limited', crowded.message, { retryAfterMs: 1000 });
    case 'backed_up':
      throw new RelayError('overloaded', 'The upstream of this session does not keep up.', { retryAfterMs: 1000 });
    case 'too_often':
      throw new RelayError('rate_limited', 'Too many events for this session; wait before you send others.', {
        retryAfterMs: said.waitMs,
      });
  }
}

function eventsIn(body: unknown): { events: JsonObject[]; isSingle: boolean } {
  if (!isObject(body)) throw wrong('it must be one event, or {"events": [ … ]}');
  if (!Object.hasOwn(body, 'events')) return { events: [body], isSingle: true };
  const { events, ...rest } = body;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw wrong(`beside "events" there must be nothing, but "${unknown.slice(0, 50)}" is`);
  if (!Array.isArray(events) || events.length === 0 || events.length > longestList || !events.every(isObject)) {
    throw wrong(`"events" must be a list of 1 to ${longestList} events`);
  }
  return { events: events as JsonObject[], isSingle: false };
}

function waitsIn(url: URL): boolean {
  const [wait, ...more] = url.searchParams.getAll('wait');
  if (wait === undefined) return false;
  if (wait === 'response' && more.length === 0) return true;
  throw new RelayError('bad_event', 'The parameter "wait" may be "response", once.');
}

function keyOf(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  if (typeof header === 'string' && /^[\x21-\x7e]{1,255}$/.test(header)) return header;
  throw new RelayError('bad_event', 'The header Idempotency-Key must be 1 to 255 visible characters of ASCII.');
}

function userOf({ issuer, subject, tenant }: Principal) {
  return { issuer, subject, tenant };
}

function wrong(what: string): RelayError {
  return new RelayError('bad_event', `The body does not say what to do: ${what}.`);
}

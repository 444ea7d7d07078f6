/** The doors through which backends see live sessions, and end them. */

import type { Express, Request, RequestHandler, Response } from 'express';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { longestPage } from '../control/commands.js';
import { type Description, description } from '../control/description.js';
import type { Peers } from '../control/peers.js';
import { notServed, RelayError } from '../errors.js';
import type { ControlVerb } from '../telemetry/labels.js';
import { type EntranceServices, entering } from './entrance.js';
import { sayEvents } from './events.js';
import { guestOf, urlOf } from './guest.js';
import { reachOf, type Scope } from './rights.js';
import { takeOver } from './takeover.js';

export const sessionsPath = '/v1/relay/sessions';

export interface ControlServices extends EntranceServices {
  readonly peers: Peers;
}

const name = z.string().min(1).max(256);

/** What a list may be asked for. */
export const listQuery = z.strictObject({
  subject: name.optional().describe('Only those of this user.'),
  tenant: name.optional().describe('Only those of this tenant.'),
  profile: name.optional().describe('Only those of this profile.'),
  after: z
    .string()
    .regex(/^(sess|call)_[0-9a-f]{32}$/)
    .optional()
    .describe('Only those that began before this one, which may be over: `last_id` of the page before.'),
  limit: z.int().min(1).max(longestPage).default(20).describe('How many at the most.'),
});

/** A page of live sessions, the newest first. */
export const sessionList = z.strictObject({
  object: z.literal('list'),
  data: z.array(description).max(longestPage),
  has_more: z.boolean(),
  last_id: z.string().nullable().describe('For `after`; null for an empty page.'),
});

/** What is said of a session that was ended. */
export const endedSession = z.strictObject({ id: z.string(), ended: z.literal(true) });

/** What one request asks, and whoever does. */
interface Asked {
  readonly principal: Principal;
  readonly url: URL;
  /** The session that the path names. */
  readonly id: string;
}

/** Adds the routes. */
export function sessionRoutes(app: Express, services: ControlServices): void {
  const { peers } = services;
  const reading = (verb: ControlVerb, answer: (asked: Asked) => Promise<object>) =>
    door(services, verb, 'relay.sessions.read', answer);
  app
    .route(sessionsPath)
    .get(reading('list', ({ principal, url }) => list(peers, principal, url)))
    .all(only('GET, HEAD'));
  app
    .route(`${sessionsPath}/:id`)
    .get(
      reading('show', async ({ principal, id }): Promise<Description> => {
        return orNotFound(await peers.ask({ verb: 'inspect', id, reach: reachOf(principal) }));
      }),
    )
    .delete(
      door(
        services,
        'end',
        'relay.sessions.write',
        async ({ principal, id }): Promise<z.output<typeof endedSession>> => {
          return { id: orNotFound(await peers.ask({ verb: 'end', id, reach: reachOf(principal) })), ended: true };
        },
      ),
    )
    .all(only('GET, HEAD, DELETE'));
  app.route(`${sessionsPath}/:id/takeover`).post(takeOver(services)).all(only('POST'));
  app.route(`${sessionsPath}/:id/events`).post(sayEvents(services)).all(only('POST'));
  app.route(`${sessionsPath}/:id/sideband`).all((_request, response) => {
    const { status, headers, body } = notServed(426, 'A sideband is a WebSocket.');
    response.status(status).set(headers).json(body);
  });
}

async function list(peers: Peers, principal: Principal, url: URL): Promise<z.output<typeof sessionList>> {
  const { subject = null, tenant = null, profile = null, after = null, limit } = queryOf(url);
  const reach = reachOf(principal);
  const found = await peers.ask({ verb: 'list', reach, subject, tenant, profile, after, limit });
  const data = found.slice(0, limit);
  return { object: 'list', data, has_more: found.length > limit, last_id: data.at(-1)?.id ?? null };
}

function door(
  services: ControlServices,
  verb: ControlVerb,
  scope: Scope,
  answer: (asked: Asked) => Promise<object>,
): RequestHandler[] {
  const carryOut = async (request: Request, response: Response) => {
    const { principal } = guestOf(response);
    const body = await answer({ principal, url: urlOf(request), id: String(request.params.id ?? '') });
    services.audit.done(response);
    response.json(body);
  };
  return [...entering(services, verb, scope), carryOut];
}

function orNotFound<T>(found: T | null): T {
  if (found === null) throw new RelayError('not_found', 'No session of yours has this id.');
  return found;
}

/** Refuses other methods on a path. */
function only(methods: string): RequestHandler {
  return (_request, response) => {
    const { status, body } = notServed(405, `Use ${methods.replaceAll(', ', ' or ')}.`);
    response.status(status).set('Allow', methods).json(body);
  };
}

/** Every parameter counts: one that is misspelt would list what was not meant, for a script that ends what it lists. */
function queryOf(url: URL): z.output<typeof listQuery> {
  const given = [...url.searchParams].filter(([key]) => !/^(api-key|authorization)$/i.test(key));
  const names = given.map(([key]) => key);
  const twice = names.find((key, index) => names.indexOf(key) !== index);
  if (twice !== undefined) throw wrong(`"${twice.slice(0, 50)}" is there twice`);
  const entries = given.map(([key, value]) => [
    key,
    key === 'limit' && /^\d{1,9}$/.test(value) ? Number(value) : value,
  ]);
  const read = listQuery.safeParse(Object.fromEntries(entries));
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  if (issue?.code === 'unrecognized_keys') throw wrong(`"${issue.keys[0]?.slice(0, 50)}" is unknown`);
  const key = String(issue?.path[0]);
  throw wrong(`"${key}" must be ${wanted[key as keyof typeof wanted] ?? 'text of 1 to 256 characters'}`);
}

const wanted = {
  limit: `a whole number from 1 to ${longestPage}`,
  after: 'the id of a session',
} as const;

function wrong(what: string): RelayError {
  const known = Object.keys(listQuery.shape).join(', ');
  return new RelayError('bad_event', `The query of this list is not understood: ${what}. It may have ${known}.`);
}

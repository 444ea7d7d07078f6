/** The door through which a backend takes over a live session, and gives it back. */

import type { RequestHandler } from 'express';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import type { Answer, Command } from '../control/commands.js';
import type { Peers } from '../control/peers.js';
import { type HttpRefusal, RelayError } from '../errors.js';
import { jsonBody } from './body.js';
import { type EntranceServices, entering } from './entrance.js';
import { conflict } from './events.js';
import { guestOf } from './guest.js';
import { reachOf } from './rights.js';

const bodyBytes = 16 * 1024;

/** What is to be done. */
export const taking = z.strictObject({
  on: z.boolean().describe('True: from now on the model answers backends only; false: as before.'),
  force: z.boolean().optional().describe('Also where somebody else has taken it over; by default false.'),
});

/** How things stand then. */
export const taken = z.strictObject({
  id: z.string(),
  taken_over: z.boolean(),
  by: z.string().nullable().describe('The subject of who holds it.'),
});

/** `POST /v1/relay/sessions/{id}/takeover`: answers when no answer of the model runs or can begin by itself. */
export function takeOver(services: EntranceServices & { readonly peers: Peers }): RequestHandler[] {
  const { peers, audit } = services;
  const carryOut: RequestHandler = async (request, response) => {
    const { principal } = guestOf(response);
    const asked = taking.safeParse(request.body);
    if (!asked.success) {
      const message =
        'The body must be {"on": true} or {"on": false}, with "force": true to take it from somebody else.';
      throw new RelayError('bad_event', message);
    }
    const { on, force = false } = asked.data;
    const id = String(request.params.id ?? '');
    const result = await peers.ask({
      verb: 'take_over',
      id,
      reach: reachOf(principal),
      by: holderOf(principal),
      on,
      force,
    });
    if (result === null) throw new RelayError('not_found', 'No session of yours has this id.');
    if (result.outcome === 'done') {
      audit.done(response);
      const { id: session, isOn, by } = result;
      response.json({ id: session, taken_over: isOn, by } satisfies z.output<typeof taken>);
      return;
    }
    const { status, body } = refusalOf(result.outcome);
    audit.refused(response, 'conflict', String((body.error as { code: unknown }).code));
    response.status(status).json(body);
  };
  return [...entering(services, 'takeover', 'relay.sessions.write'), jsonBody(bodyBytes), carryOut];
}

function refusalOf(outcome: Exclude<NonNullable<Answer<'take_over'>>['outcome'], 'done'>): HttpRefusal {
  switch (outcome) {
    case 'not_open':
      return conflict('not_open', 'The session is still being opened; send it again in a moment.');
    case 'held':
      return conflict('taken_over', 'Somebody else has taken over this session; "force": true takes it from them.');
    case 'late':
      throw new RelayError('upstream_timeout', 'The model did not fall silent in time; the session goes on as before.');
  }
}

function holderOf({ issuer, subject, tenant, expiresAt, claims }: Principal): Command<'take_over'>['by'] {
  return { issuer, subject, tenant, tokenId: typeof claims.jti === 'string' ? claims.jti : null, expiresAt };
}

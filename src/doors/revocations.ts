/** The door for backends that withdraw tokens: of a user, or one of them. */

import { setTimeout as wait } from 'node:timers/promises';
import type { RequestHandler } from 'express';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import type { Answer } from '../control/commands.js';
import type { Peers } from '../control/peers.js';
import { RelayError } from '../errors.js';
import { hashed, type Revocation } from '../store/revocations.js';
import { audit, type Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { jsonBody } from './body.js';
import { type EntranceServices, entering } from './entrance.js';
import { guestOf } from './guest.js';
import { reachOf } from './rights.js';

export const revocationPath = '/v1/relay/revocations';

/** Two names of 256 characters, each of them escaped. */
const bodyBytes = 8 * 1024;
/** As long as what a token may say. */
const name = z.string().min(1).max(256);

/** What a request says to withdraw. */
export const withdrawal = z.strictObject({
  sub: name.optional().describe('Every token of this user that was issued until now.'),
  jti: name.optional().describe('The token of this id. Exactly one of the two is needed.'),
  tenant: name.optional().describe('Only of this tenant.'),
  issuer: name.optional().describe('Only of this issuer.'),
});

const seconds = z.int().describe('Seconds since 1970.');

/** What is answered when it is done. */
export const withdrawn = z.strictObject({
  object: z.literal('relay.revocation'),
  sub: z.string().optional(),
  jti: z.string().optional(),
  issuer: z.string().optional(),
  tenant: z.string().nullable(),
  issued_until: seconds.optional(),
  expires_at: seconds,
  ended: z.int().describe('Sessions that were ended by it.'),
});

export interface RevocationServices extends EntranceServices {
  readonly metrics: Metrics;
  readonly log: Log;
  /** How long the relay takes a token for good, counted from when it sees it. */
  readonly tokenSeconds: number;
  readonly peers: Peers;
}

/** `POST /v1/relay/revocations`: ends the sessions, and keeps the tokens from starting others. */
export function withdraw(services: RevocationServices): RequestHandler[] {
  return [...entering(services, 'revoke', 'relay.revoke'), jsonBody(bodyBytes), carryingOut(services)];
}

function carryingOut(services: RevocationServices): RequestHandler {
  const { metrics, log } = services;
  return async (request, response) => {
    const { principal } = guestOf(response);
    const wish = wishOf(request.body);
    const { issuer, tenant } = withinReach(principal, wish);
    const now = Date.now();
    const issuedUntil = Math.floor(now / 1000);
    const { kind, name } = wish;
    const expiresAt = issuedUntil + services.tokenSeconds;
    const revocation = hashed({ kind, name, issuer, tenant, issuedUntil, expiresAt });
    const what = {
      ...audit,
      by: principal.subject,
      kind,
      name,
      ...(issuer !== null && { issuer }),
      ...(tenant !== null && { tenant }),
    };
    let done: Answer<'revoke'>;
    try {
      done = await carryOut(services, revocation);
    } catch (error) {
      metrics.revoked(kind, 'failed');
      log.error({ ...what, error }, 'token.not_revoked');
      throw error;
    }
    metrics.revoked(kind, 'done');
    const { ended, issuedUntil: until = issuedUntil } = done;
    log.info({ ...what, ended }, 'token.revoked');
    services.audit.done(response);
    // Tokens count whole seconds: once this one is over, what is issued next cannot be taken for what was withdrawn.
    const left = (until + 1) * 1000 - Date.now();
    // A clock that is set back meanwhile must not keep anybody waiting.
    if (kind === 'user') await wait(Math.min(Math.max(left, 0), 1000), undefined, { ref: false });
    response.json({
      object: 'relay.revocation',
      [kind === 'user' ? 'sub' : 'jti']: name,
      ...(issuer !== null && { issuer }),
      tenant,
      ...(kind === 'user' && { issued_until: until }),
      expires_at: done.expiresAt ?? expiresAt,
      ended,
    });
  };
}

async function carryOut({ peers }: RevocationServices, revocation: Revocation): Promise<Answer<'revoke'>> {
  const done = await peers.ask({ verb: 'revoke', revocation, keep: true });
  // The tokens are good for new sessions.
  if (done.isKept) return done;
  throw new RelayError(
    'overloaded',
    `The list of revocations is full. Open sessions were ended (${done.ended}), but the tokens can start others ` +
      'until they run out; raise limits.revocations and try again.',
    { retryAfterMs: 60_000 },
  );
}

/** Where somebody may withdraw: who is of a tenant only there, others where they say, or everywhere. */
function withinReach(principal: Principal, wanted: Wish): Pick<Revocation, 'issuer' | 'tenant'> {
  const reach = reachOf(principal);
  if (!reach) return wanted;
  const { issuer, tenant } = reach;
  // A tenant is one of its issuer: another may have one of the same name.
  if ((wanted.issuer ?? issuer) !== issuer || (wanted.tenant ?? tenant) !== tenant) {
    throw new RelayError(
      'forbidden',
      'This token may withdraw tokens of its own tenant only; leave "tenant" and "issuer" out, or use a token without a tenant.',
    );
  }
  return reach;
}

/** What somebody wants withdrawn. */
type Wish = Pick<Revocation, 'kind' | 'name' | 'issuer' | 'tenant'>;

function wishOf(body: unknown): Wish {
  const read = withdrawal.safeParse(body);
  if (!read.success) throw wrong(faultOf(read.error.issues));
  const { sub, jti, issuer = null, tenant = null } = read.data;
  if (sub !== undefined && jti === undefined) return { kind: 'user', name: sub, issuer, tenant };
  if (sub === undefined && jti !== undefined) return { kind: 'token', name: jti, issuer, tenant };
  throw wrong(exactlyOne);
}

const exactlyOne = 'exactly one of "sub" and "jti" is needed';

function faultOf(issues: readonly z.core.$ZodIssue[]): string {
  const unknown = issues.find(({ code }) => code === 'unrecognized_keys');
  if (unknown?.code === 'unrecognized_keys') return `the field "${unknown.keys[0]?.slice(0, 50)}" is unknown`;
  const field = issues[0]?.path[0];
  return field === undefined ? exactlyOne : `"${String(field)}" must be a string of 1 to 256 characters`;
}

function wrong(what: string): RelayError {
  return new RelayError(
    'bad_event',
    `The body does not say what to withdraw: ${what}. Send {"sub": "<user>"} for all tokens of a user, or {"jti": "<id>"} ` +
      'for one token, and "tenant" where only one is meant.',
  );
}

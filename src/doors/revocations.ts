/** The door for backends that withdraw tokens: of a user, or one of them. */

import { setTimeout as wait } from 'node:timers/promises';
import type { RequestHandler } from 'express';
import type { Principal } from '../auth/principal.js';
import type { Peers } from '../control/peers.js';
import { RelayError } from '../errors.js';
import type { Revocation } from '../store/revocations.js';
import { audit, type Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { jsonBody } from './body.js';
import { type EntranceServices, entering } from './entrance.js';
import { guestOf } from './guest.js';
import { reachOf } from './scopes.js';

export const revocationPath = '/v1/relay/revocations';

/** Two names of 256 characters, each of them escaped. */
const bodyBytes = 8 * 1024;
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
    const revocation = {
      kind,
      name,
      issuer,
      tenant,
      issuedUntil,
      expiresAt: issuedUntil + services.tokenSeconds,
    };
    const what = {
      ...audit,
      by: principal.subject,
      kind,
      name,
      ...(issuer !== null && { issuer }),
      ...(tenant !== null && { tenant }),
    };
    let ended: number;
    try {
      ended = await carryOut(services, revocation);
    } catch (error) {
      metrics.revoked(kind, 'failed');
      log.error({ ...what, error }, 'token.not_revoked');
      throw error;
    }
    metrics.revoked(kind, 'done');
    log.info({ ...what, ended }, 'token.revoked');
    services.audit.done(response);
    // Tokens count whole seconds: once this one is over, what is issued next cannot be taken for what was withdrawn.
    const left = (issuedUntil + 1) * 1000 - Date.now();
    // A clock that is set back meanwhile must not keep anybody waiting.
    if (kind === 'user') await wait(Math.min(Math.max(left, 0), 1000), undefined, { ref: false });
    response.json({
      object: 'relay.revocation',
      [kind === 'user' ? 'sub' : 'jti']: name,
      ...(issuer !== null && { issuer }),
      tenant,
      ...(kind === 'user' && { issued_until: issuedUntil }),
      expires_at: revocation.expiresAt,
      ended,
    });
  };
}

async function carryOut({ peers }: RevocationServices, revocation: Revocation): Promise<number> {
  const { ended, isKept } = await peers.ask({ verb: 'revoke', revocation, keep: true });
  // The tokens are good for new sessions.
  if (isKept) return ended;
  throw new RelayError(
    'overloaded',
    `The list of revocations is full. Open sessions were ended (${ended}), but the tokens can start others ` +
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
  const { sub, jti, issuer, tenant, ...rest } = isRecord(body) ? body : {};
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw wrong(`the field "${unknown.slice(0, 50)}" is unknown`);
  if ((sub === undefined) === (jti === undefined)) throw wrong('exactly one of "sub" and "jti" is needed');
  const named = sub === undefined ? { kind: 'token' as const, name: jti } : { kind: 'user' as const, name: sub };
  if (!isText(named.name)) throw wrong('"sub" or "jti" must be a string of 1 to 256 characters');
  if (tenant !== undefined && !isText(tenant)) throw wrong('"tenant" must be a string of 1 to 256 characters');
  if (issuer !== undefined && !isText(issuer)) throw wrong('"issuer" must be a string of 1 to 256 characters');
  return { kind: named.kind, name: named.name, issuer: issuer ?? null, tenant: tenant ?? null };
}

/** As long as what a token may say. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 256;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(what: string): RelayError {
  return new RelayError(
    'bad_event',
    `The body does not say what to withdraw: ${what}. Send {"sub": "<user>"} for all tokens of a user, or {"jti": "<id>"} ` +
      'for one token, and "tenant" where only one is meant.',
  );
}

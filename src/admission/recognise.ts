/** Who sends a request, by its headers alone; who cannot be told is counted by address. */

import type { IncomingMessage } from 'node:http';
import { type FoundCredential, findCredential } from '../auth/credentials.js';
import { expiredUser, type Principal, type User, userKey } from '../auth/principal.js';
import { type ClientSecrets, type LookedAt, looksLikeClientSecret } from '../auth/secrets.js';
import type { Verifier } from '../auth/verify.js';
import { RelayError } from '../errors.js';
import type { Revocations } from '../store/revocations.js';
import type { Connects } from './connects.js';
import type { AddressOf } from './forwarded.js';

/** What somebody is recognised with. */
export interface Recognition {
  readonly verifier: Verifier;
  readonly secrets: ClientSecrets;
  /** What was withdrawn before its time. */
  readonly revocations: Pick<Revocations, 'covers'>;
  readonly connects: Connects;
  readonly addressOf: AddressOf;
  readonly queryCredentials: boolean;
}

/** A request reduced to what admission looks at. */
export interface Request {
  readonly message: IncomingMessage;
  readonly url: URL;
  /** Name of the cookie that may be looked at for this one. */
  readonly cookie?: string | null;
  /** Whether it may come without a credential, where its page may bring such callers. */
  readonly mayBeAnonymous?: boolean;
  /** The credential that it came with, once that was looked for; null for none. */
  found?: FoundCredential | null;
  /** Who sends it, from the moment that is known on: also a refusal is of somebody then. */
  user?: User;
}

/** Who is refused, for the log: a user by name, anybody else by address. */
export function whoOf(
  { message, user }: Pick<Request, 'message' | 'user'>,
  { addressOf }: Pick<Recognition, 'addressOf'>,
): { readonly about: string; readonly fields: object } {
  if (!user) return { about: addressOf(message), fields: {} };
  const { subject, tenant } = user;
  return { about: userKey(user), fields: { subject, ...(tenant !== null && { tenant }) } };
}

/** Who sends a request. */
export interface Guest {
  readonly principal: Principal;
  /** The client secret with which they came; it is good until a session uses it up. */
  readonly secret: LookedAt | null;
  /** Came without a credential, by a page that may bring such callers. */
  readonly isAnonymous?: boolean;
}

/** How a request says who sends it: not at all, by the cookie, or in any other way, be it a good one or not. */
export function signOf(
  request: Request,
  { queryCredentials }: Pick<Recognition, 'queryCredentials'>,
): 'none' | 'cookie' | 'own' {
  try {
    const found = credentialIn(request, queryCredentials);
    return found === null ? 'none' : found.place === 'cookie' ? 'cookie' : 'own';
  } catch (error) {
    // What is wrong with it is said when the door is reached; it was there.
    if (error instanceof RelayError) return 'own';
    throw error;
  }
}

/** Several steps ask; it is looked for once. What is wrong with it is thrown each time. */
function credentialIn(request: Request, queryCredentials: boolean): FoundCredential | null {
  if (request.found !== undefined) return request.found;
  const { message, url, cookie = null } = request;
  const { headers, rawHeaders } = message;
  request.found = findCredential({ headers, rawHeaders, url, queryCredentials, cookie });
  return request.found;
}

/**
 * Who sends the request, by its headers alone. A client secret is good for a session only: one that minted others would
 * not be short-lived.
 */
export async function authenticate(
  request: Request,
  services: Recognition,
  purpose: 'session' | 'mint' = 'session',
): Promise<Guest> {
  const { connects, revocations } = services;
  const guest = await recognise(request, services, purpose);
  const { principal } = guest;
  request.user = principal;
  try {
    checkStillGood(principal, revocations);
  } catch (error) {
    connects.late(principal);
    throw error;
  }
  return guest;
}

/** Refuses a token that ran out or was withdrawn, though it is genuine. */
export function checkStillGood(principal: Principal, revocations: Recognition['revocations']): void {
  // The leeway is for clocks that differ; a session that ends in its first second would help nobody.
  if (principal.expiresAt * 1000 <= Date.now()) {
    throw new RelayError('token_expired', 'The token has run out; get a new one.');
  }
  if (revocations.covers(principal)) throw new RelayError('revoked', 'The token was withdrawn; get a new one.');
}

/** Whose credential it is; who has no valid one is counted by address. */
async function recognise(request: Request, services: Recognition, purpose: 'session' | 'mint'): Promise<Guest> {
  const { connects, queryCredentials, addressOf } = services;
  let hasCredential = true;
  try {
    const found = credentialIn(request, queryCredentials);
    hasCredential = found !== null;
    return await verify(found?.credential ?? null, services, purpose);
  } catch (thrown) {
    const error = RelayError.from(thrown);
    const late = expiredUser(error);
    if (late) {
      request.user = late;
      connects.late(late);
    }
    throw error.id === 'unauthorized' ? connects.stranger(addressOf(request.message), error, hasCredential) : error;
  }
}

async function verify(
  credential: string | null,
  { secrets, verifier }: Recognition,
  purpose: 'session' | 'mint',
): Promise<Guest> {
  if (credential === null) {
    throw new RelayError(
      'unauthorized',
      'No credential was sent; send your app token as "Authorization: Bearer <token>" or as the api-key header.',
    );
  }
  const isSecret = looksLikeClientSecret(credential);
  if (isSecret && purpose === 'mint') {
    throw new RelayError('forbidden', 'A client secret starts a session and nothing else; send your app token.');
  }
  const secret = isSecret ? await secrets.look(credential) : null;
  if (isSecret && !secret) throw secretError();
  return { principal: secret ? secret.principal : await verifier.verify(credential), secret };
}

/** The refusal of a client secret that is good for nothing, whatever the reason. */
export function secretError(): RelayError {
  return new RelayError('unauthorized', 'The client secret is unknown, already used or expired; ask for a new one.');
}

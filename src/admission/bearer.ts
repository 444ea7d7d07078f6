/** Whose session it is: the principal of the token that was accepted last. */

import { tokenIn } from '../auth/credentials.js';
import { type Principal, userKey } from '../auth/principal.js';
import { looksLikeClientSecret } from '../auth/secrets.js';
import { RelayError } from '../errors.js';
import { checkStillGood, type Recognition } from './recognise.js';

/** Who has a session, for as long as their token says. */
export interface Bearer {
  /** Who they are by now: everything that depends on a token is read here when it is needed, never kept. */
  readonly principal: Principal;
  /**
   * Goes on with another token of the same user, whose rights are those of the session from then on.
   * @throws RelayError that says why the token is not taken; nothing has changed then
   */
  authenticate(token: unknown): Promise<void>;
  /** The same with a principal that was verified. */
  become(next: Principal): void;
}

/** Throws for a token with which somebody cannot go on. */
type Check = (now: Principal, next: Principal) => void;

/**
 * Begins with whoever was admitted.
 * @param check what must be the same; left out: what makes a session what it is
 */
export function createBearer(
  admitted: Principal,
  { verifier, revocations }: Pick<Recognition, 'verifier' | 'revocations'>,
  check: Check = checkSame,
): Bearer {
  let principal = admitted;
  const become = (next: Principal): void => {
    // From here on nothing waits: a withdrawal that came meanwhile is in the list, and one that comes later finds the new token.
    checkStillGood(next, revocations);
    check(principal, next);
    principal = next;
  };
  return {
    become,
    get principal() {
      return principal;
    },
    async authenticate(token) {
      become(await verifier.verify(appTokenIn(token)));
    },
  };
}

function appTokenIn(token: unknown): string {
  const credential = tokenIn(token);
  if (!looksLikeClientSecret(credential)) return credential;
  throw new RelayError(
    'forbidden',
    'A client secret starts a session and nothing else; send an app token of the user.',
  );
}

/** A session stays what it was opened as: of this user, in this tenant, with this profile. */
function checkSame(now: Principal, next: Principal): void {
  checkSameUser(now, next);
  if (now.profile !== next.profile) {
    throw new RelayError('forbidden', 'The token names another profile than the one of this session.');
  }
}

/** Somebody who follows a session may do so as before. */
export function checkSameRights(now: Principal, next: Principal): void {
  checkSameUser(now, next);
  if (now.scopes.every((scope) => next.scopes.includes(scope))) return;
  throw new RelayError('forbidden', 'The token lacks a scope of the one before.');
}

function checkSameUser(now: Principal, next: Principal): void {
  if (userKey(now) === userKey(next)) return;
  throw new RelayError(
    'forbidden',
    'The token is not of the user who had the one before: issuer, subject and tenant must be the same.',
  );
}

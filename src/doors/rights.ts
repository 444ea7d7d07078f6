/** What backends may do: by the scopes of their tokens, and within their tenants. */

import type { Principal } from '../auth/principal.js';
import type { Reach } from '../control/commands.js';
import { RelayError } from '../errors.js';

/** A scope that only backends should have, and what it lets them do. */
const scopes = {
  'relay.sessions.read': 'see live sessions',
  'relay.sessions.write': 'steer live sessions',
  'relay.revoke': 'withdraw tokens',
} as const;
export type Scope = keyof typeof scopes;

/** Throws `forbidden` for a token that does not have the scope. */
export function checkScope({ scopes: own }: Principal, scope: Scope): void {
  if (own.includes(scope)) return;
  throw new RelayError(
    'forbidden',
    `This token may not ${scopes[scope]}: its claim "scope" must contain "${scope}". Only a backend should have one that does.`,
  );
}

/** Whether a token has any business with live sessions. */
export function isBackend({ scopes: own }: Principal): boolean {
  return own.some((scope) => Object.hasOwn(scopes, scope));
}

/** Whose sessions somebody reaches: who is of a tenant those of it, others all. */
export function reachOf({ issuer, tenant }: Principal): Reach {
  return tenant === null ? null : { issuer, tenant };
}

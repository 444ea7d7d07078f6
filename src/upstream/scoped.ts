/** Microsoft Entra tokens by scope: one cache for each, made when it is first wanted. */

import { createCredential, createTokenCache, type TokenCache, type TokenEvent } from './entra.js';

/** As whom the relay asks for tokens. */
export interface Identity {
  readonly clientId: string | null;
  readonly instanceDiscovery: boolean;
}

/** Told of every request for a token with its scope; must not throw. */
export type OnToken = (scope: string, event: TokenEvent) => void;

/** Makes what gives the cache of a scope: one that is among `caches`, or else a new one, which is put there. */
export function cachesIn(caches: Map<string, TokenCache>, identity: Identity, onToken: OnToken) {
  const { clientId, instanceDiscovery } = identity;
  return (scope: string): TokenCache => {
    const known = caches.get(scope);
    if (known) return known;
    const credential = createCredential({
      ...(clientId !== null && { clientId }),
      ...(!instanceDiscovery && { disableInstanceDiscovery: true }),
    });
    const cache = createTokenCache({ credential, scope, onEvent: (event) => onToken(scope, event) });
    caches.set(scope, cache);
    return cache;
  };
}

/** Tokens for whatever the relay asks beside its upstreams. */
export interface Scopes {
  /** Rejects as `TokenCache.token` does. */
  token(scope: string): Promise<string>;
  /** After a 401: another one, where there is one. */
  refresh(scope: string, stale: string): Promise<string>;
  /** Fetches the tokens of these scopes ahead of need, and lets go of all others. */
  want(scopes: ReadonlySet<string>): void;
  close(): void;
}

/** Makes the tokens of an identity. */
export function createScopes(identity: Identity, onToken: OnToken): Scopes {
  const caches = new Map<string, TokenCache>();
  const cacheFor = cachesIn(caches, identity, onToken);
  const want = (scopes: ReadonlySet<string>) => {
    for (const [scope, cache] of caches) {
      if (scopes.has(scope)) continue;
      cache.close();
      caches.delete(scope);
    }
    for (const scope of scopes) void cacheFor(scope).warm();
  };
  return {
    token: (scope) => cacheFor(scope).token(),
    refresh: (scope, stale) => cacheFor(scope).refresh(stale),
    want,
    close: () => want(new Set()),
  };
}

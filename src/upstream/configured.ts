/** The upstreams a relay has now, which the operator may replace while sessions run. */

import { orConfigError } from '../problems.js';
import type { Dialect } from '../protocol/catalogue.js';
import { type Authorizer, authorizeWithEntra, authorizeWithKey } from './authorizer.js';
import type { TokenCache } from './entra.js';
import { type DialEvent, UpstreamPool } from './pool.js';
import { cachesIn, type Identity, type OnToken } from './scoped.js';
import { parseEndpoint, type UpstreamTarget } from './target.js';

/** What is set of upstreams; those of a relay hold more. */
export interface UpstreamsSettings {
  readonly upstreams: readonly {
    readonly name: string;
    readonly endpoint: string;
    readonly deployment: string;
    readonly dialect: Dialect;
    readonly apiKey: string | null;
    readonly apiVersion: string;
    readonly scope: string;
    /** HTTP proxy to reach this endpoint through, or null. */
    readonly proxy: string | null;
  }[];
  readonly entra: Identity;
}

/** Told of every dial, and of every request for a token with its Entra scope; must not throw. */
interface Observers {
  onDial?(event: DialEvent): void;
  readonly onToken: OnToken;
}

/** One list of upstreams as it was configured. */
interface Fleet {
  readonly pool: UpstreamPool;
  readonly settings: UpstreamsSettings;
}

export interface Upstreams extends Pick<UpstreamPool, 'open' | 'reach' | 'ready' | 'unavailable'> {
  /** Seconds until the Entra token of each upstream runs out; those with an API key are not there. */
  tokenSeconds(): ReadonlyMap<string, number>;
  /** Fetches the tokens that are missing, ahead of need. */
  warm(): void;
  /**
   * Dials these from now on. Dials under way go on; a token cache stays while anybody needs its scope.
   * @throws ConfigError, and then nothing has changed
   */
  replace(settings: UpstreamsSettings): void;
  /** Aborts the dials under way and lets go of all tokens. */
  close(): void;
}

/**
 * Makes the upstreams of these settings.
 * @throws ConfigError
 */
export function createUpstreams(settings: UpstreamsSettings, observers: Observers): Upstreams {
  const caches = new Map<string, TokenCache>();
  const retiring = new Set<Fleet>();
  const { onDial } = observers;

  const build = (from: UpstreamsSettings): Fleet => {
    const { targets } = createTargets(from, observers.onToken, caches);
    return { settings: from, pool: new UpstreamPool(targets, onDial ? { onDial } : {}) };
  };
  let current = build(settings);

  function closeUnused(): void {
    const wanted = new Set([current, ...retiring].flatMap((fleet) => scopesOf(fleet.settings)));
    for (const [scope, cache] of caches) {
      if (wanted.has(scope)) continue;
      cache.close();
      caches.delete(scope);
    }
  }

  const warm = () => {
    for (const cache of caches.values()) void cache.warm();
  };

  return {
    open: (options) => current.pool.open(options),
    reach: (options, ask, dialect) => current.pool.reach(options, ask, dialect),
    ready: () => current.pool.ready(),
    unavailable: (dialect) => current.pool.unavailable(dialect),
    warm,
    tokenSeconds() {
      const left = new Map<string, number>();
      for (const { name, apiKey, scope } of current.settings.upstreams) {
        const expiresAt = apiKey === null ? caches.get(scope)?.status().expiresAt : null;
        if (typeof expiresAt === 'number') left.set(name, Math.max(0, (expiresAt - Date.now()) / 1000));
      }
      return left;
    },
    replace(next) {
      const old = current;
      try {
        current = build(next);
      } finally {
        // What was made for a list that turned out to be unusable.
        if (current === old) closeUnused();
      }
      retiring.add(old);
      warm();
      void old.pool.idle().then(() => {
        retiring.delete(old);
        closeUnused();
      });
    },
    close() {
      for (const { pool } of [current, ...retiring]) pool.close();
      for (const cache of caches.values()) cache.close();
    },
  };
}

function scopesOf({ upstreams }: UpstreamsSettings): string[] {
  return upstreams.filter(({ apiKey }) => apiKey === null).map(({ scope }) => scope);
}

/**
 * The upstreams as they are dialled, and the token caches behind them, one for each Entra scope; those already in
 * `caches` are used again.
 * @throws ConfigError
 */
export function createTargets(
  { upstreams, entra }: UpstreamsSettings,
  onToken: Observers['onToken'],
  caches: Map<string, TokenCache> = new Map(),
): { targets: UpstreamTarget[]; caches: ReadonlyMap<string, TokenCache> } {
  const authorizers = new Map<string, Authorizer>();
  const cacheFor = cachesIn(caches, entra, onToken);
  const entraFor = (scope: string): Authorizer => {
    const authorizer = authorizers.get(scope) ?? authorizeWithEntra(cacheFor(scope));
    authorizers.set(scope, authorizer);
    return authorizer;
  };
  const targets = upstreams.map(
    ({ name, endpoint, deployment, dialect, apiKey, apiVersion, scope, proxy }): UpstreamTarget =>
      orConfigError(`upstream ${name}`, () => ({
        name,
        endpoint: parseEndpoint(endpoint),
        deployment,
        dialect,
        ...(dialect === 'preview' && { apiVersion }),
        authorize: apiKey === null ? entraFor(scope) : authorizeWithKey(apiKey),
        ...(proxy !== null && { proxy }),
      })),
  );
  return { targets, caches };
}

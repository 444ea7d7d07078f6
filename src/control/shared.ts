/** What the processes and replicas of a relay have in common: in the memory of one process, or in Redis. */

import type { SecretSeal } from '../auth/secrets.js';
import type { RedisSettings, Settings } from '../config/settings.js';
import { observeRedis, storeObserver } from '../session/observers.js';
import { h } from '../store/hash.js';
import { MemoryStore } from '../store/memory.js';
import { Commons } from '../store/redis/commons.js';
import { keysUnder } from '../store/redis/keys.js';
import { entraLogin, type Login, passwordLogin } from '../store/redis/login.js';
import { keysOfSecret, seal, unseal } from '../store/redis/seal.js';
import { Revocations } from '../store/revocations.js';
import type { Store } from '../store/store.js';
import { watchStore } from '../store/watched.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { createScopes, type OnToken } from '../upstream/scoped.js';
import { type Across, acrossReplicas, type Here } from './across.js';
import { nameReplica } from './replica.js';

interface SharedServices {
  readonly metrics: Metrics;
  readonly log: Log;
  readonly onToken: OnToken;
  /** The settings as they are now. */
  readonly settings: () => Settings;
  /** Told whenever the last place for a session was taken, or there is one again. */
  readonly filled?: (isFull: boolean) => void;
}

/** What seals client secrets for a store that others may read; null for one in memory. */
export function secretSealOf({ redis }: Pick<Settings, 'redis'>): SecretSeal | null {
  if (!redis) return null;
  const salts = redis.keys ?? [];
  const names = keysUnder(redis.prefix);
  return {
    seal(secret, key, text) {
      const [first = new Uint8Array()] = keysOfSecret(secret, salts);
      return seal(first, names.text(key), text);
    },
    open: (secret, key, sealed) => unseal(keysOfSecret(secret, salts), names.text(key), sealed),
  };
}

/** In whichever process has it. */
export interface SharedState {
  /** What this replica is called by. */
  readonly replica: string;
  readonly store: Store;
  /** The places of this replica. */
  readonly memory: MemoryStore;
  readonly revocations: Revocations;
  /**
   * Takes in what this replica does for others, and gives what has all replicas carry commands out; null where there is none
   * but this one.
   */
  across(here: Here): Across | null;
  /** What keeps the replica from being ready, or null. */
  unready(): string | null;
  /** To be called when limits have changed. */
  resized(): void;
  /** Waits for Redis for a few seconds, where there is one. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** As whom Redis is asked. */
export function loginOf(
  { redis, entra }: Pick<Settings, 'redis' | 'entra'>,
  onToken: OnToken,
  failed: (error: unknown) => void = () => undefined,
): { readonly login: Login; close(): void } {
  const { scope = null, username = '', password = '' } = redis ?? {};
  if (scope === null) return { login: passwordLogin(username, password), close: () => undefined };
  const scopes = createScopes(entra, onToken);
  return { login: entraLogin(username, () => scopes.token(scope), failed), close: () => scopes.close() };
}

/** What an instance could keep of others' lists, whatever its own limit is. */
const mostWithdrawn = 100_000;

/** Makes it as these settings say; where it is kept does not change while the process lives. */
export function createSharedState(services: SharedServices): SharedState {
  const { metrics, log, settings, filled } = services;
  const { limits, redis } = settings();
  const memory = new MemoryStore({ room: { sessions: () => settings().limits.sessions }, ...(filled && { filled }) });
  if (redis) return inRedis(services, memory, redis);
  metrics.countSecrets(() => memory.unusedSecrets);
  const store = watchStore(memory, storeObserver(metrics, log));
  const revocations = new Revocations(limits.revocations);
  return {
    ...{ replica: nameReplica(), store, memory, revocations },
    across: () => null,
    unready: () => null,
    resized() {
      memory.resized();
      revocations.resize(settings().limits.revocations);
    },
    start: async () => undefined,
    close: () => store.close(),
  };
}

function inRedis(services: SharedServices, memory: MemoryStore, redis: RedisSettings): SharedState {
  const { metrics, log, onToken, settings } = services;
  const { auth } = settings();
  const on = observeRedis(metrics, log);
  const { login, close: logOut } = loginOf(settings(), onToken, (error) => on.failed('auth', error));
  const rules = () => settings().redis ?? redis;
  const replica = nameReplica();
  const revocations = new Revocations(mostWithdrawn);
  const commons = new Commons({
    ...{ replica, revocations, local: memory, prefix: redis.prefix, place: { ...redis, login }, on },
    identity: h(JSON.stringify(auth.issuers.map(({ issuer }) => issuer).sort())),
    secrets: redis.keys ?? [],
    mostRevocations: () => settings().limits.revocations,
    whenLost: () => rules().when_lost,
  });
  metrics.replicated?.watch({
    isUp: () => commons.link.isUp,
    awayMs: () => commons.link.awayMs,
    overLimit: () => commons.store.holders.overLimit,
    replicas: () => commons.roll.living.length,
  });
  return {
    ...{ replica, store: commons.store, memory, revocations },
    across: (here) => acrossReplicas(commons, here, () => on.invalid('control')),
    unready: () => (rules().ready === 'require' && !commons.link.isUp ? 'redis' : null),
    resized: () => memory.resized(),
    start: () => commons.start(),
    async close() {
      on.close();
      await commons.close();
      logOut();
    },
  };
}

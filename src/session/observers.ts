/** What is counted and logged of what sessions depend on: dials, upstream tokens, the store. */

import type { CommonsEvents } from '../store/redis/commons.js';
import type { StoreCallName } from '../store/watched.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { logRepeated } from '../telemetry/repeats.js';
import type { TokenEvent } from '../upstream/entra.js';
import type { DialEvent } from '../upstream/pool.js';
import { originOfDial } from './report.js';

/** Counts every dial; each session logs its own. */
export function dialObserver(metrics: Metrics) {
  return ({ upstream, outcome, seconds, failure }: DialEvent): void => {
    const hasFailed = outcome !== 'ok' && outcome !== 'aborted';
    metrics.dialed(upstream, outcome, hasFailed ? (failure?.kind ?? 'unknown') : '', seconds);
    if (!hasFailed) return;
    metrics.upstreamError(originOfDial(failure), outcome);
  };
}

/** Counts every request to the identity service, and logs those that failed. */
export function tokenObserver(metrics: Metrics, log: Log) {
  return (scope: string, { kind, seconds, error }: TokenEvent): void => {
    metrics.tokenFetched(kind === 'acquired' ? 'ok' : 'failed', seconds);
    if (kind === 'acquired') return;
    metrics.upstreamError('identity', 'other');
    log.warn({ scope, error }, 'identity.failed');
  };
}

/** Counts and logs every call that the store failed. */
export function storeObserver(metrics: Metrics, log: Log) {
  return (call: StoreCallName, error: unknown): void => {
    metrics.storeFailed(call);
    logRepeated(log, 'warn', { about: call, common: { call }, own: { error } }, 'store.failed');
  };
}

/** After so long an outage is no hiccup any more. */
const seriousMs = 60_000;

/** Counts what Redis answers, and tells of each time that it was away: once, and once more when it lasts. */
export function observeRedis(metrics: Metrics, log: Log): CommonsEvents & { close(): void } {
  let later: NodeJS.Timeout | null = null;
  let isTold = false;
  let isForeign = false;
  const settle = () => {
    if (later) clearTimeout(later);
    later = null;
  };
  return {
    answered: (call, seconds) => metrics.replicated?.answered(call, seconds),
    failed: (call) => metrics.storeFailed(call),
    away(call, error, isAtStart) {
      settle();
      if (isAtStart) {
        log.error({ call, error, at_start: true }, 'store.away');
        return;
      }
      log.warn({ call, error }, 'store.away');
      later = setTimeout(() => log.error({ call, error }, 'store.away'), seriousMs);
      later.unref();
    },
    back({ awayMs, sessions, debts }) {
      settle();
      metrics.replicated?.wasAway(awayMs);
      log.info({ away_ms: Math.round(awayMs), sessions, debts }, 'store.back');
    },
    emptied() {
      metrics.replicated?.emptied();
      log.warn('store.emptied');
    },
    overLimit(sessions) {
      if (sessions > 0 || isTold) log.warn({ sessions }, 'store.over_limit');
      isTold = sessions > 0;
    },
    invalid(call) {
      metrics.storeFailed('invalid');
      logRepeated(log, 'warn', { about: call, common: { call }, own: {} }, 'store.invalid');
    },
    evicts: (policy) => log.warn({ policy }, 'store.evicts'),
    foreign: () => {
      if (isForeign) return;
      isForeign = true;
      log.error('store.foreign');
    },
    close: settle,
  };
}

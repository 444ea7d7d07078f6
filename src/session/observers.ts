/** What is counted and logged of what sessions depend on: dials, upstream tokens, the store. */

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

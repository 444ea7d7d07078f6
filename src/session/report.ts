/** What the log and the metrics say about one session: a line when it opens, a line when it ends. */

import { type ExitId, isRetryable } from '../errors.js';
import type { Log } from '../telemetry/log.js';
import type { Initiator, Metrics } from '../telemetry/metrics.js';
import type { Dialed } from '../upstream/dial.js';
import type { Admission } from './admission.js';
import type { Totals } from './meter.js';

/** How a session ended; everything here is for the operator. */
export interface End {
  readonly reason: ExitId;
  readonly initiator: Initiator;
  readonly milliseconds: number;
  /** Whether the client was ever able to talk. */
  readonly ready: boolean;
  readonly eventsUp: number;
  readonly eventsDown: number;
  readonly refusals: number;
  readonly totals: Totals;
  readonly detail?: string | undefined;
  readonly closeCode?: number | undefined;
  readonly cause?: unknown;
}

/** Who a session belongs to and where it went: the same fields in every line about it. */
export function identityOf({ id, requestId, principal, profile, dialect }: Admission, dialed: Dialed | null): object {
  return {
    session: id,
    requestId,
    subject: principal.subject,
    ...(principal.tenant !== null && { tenant: principal.tenant }),
    profile: profile.name,
    dialect,
    ...(dialed && {
      upstream: dialed.upstream.name,
      upstreamDialect: dialed.upstream.dialect,
      azure: dialed.requestIds,
    }),
  };
}

/** Counts and logs the end of a session. */
export function reportEnd(end: End, identity: object, metrics: Metrics, log: Log): void {
  const { reason, initiator, milliseconds, totals, detail, closeCode, cause, ...counts } = end;
  const failed = initiator === 'upstream' && isRetryable(reason);
  metrics.sessionEnded(reason, initiator, milliseconds / 1000, end.ready);
  if (failed) metrics.upstreamError('upstream', reason);
  const level = reason === 'internal' ? 'error' : failed ? 'warn' : 'info';
  log[level](
    {
      ...identity,
      reason,
      initiator,
      seconds: milliseconds / 1000,
      ...counts,
      ...totals,
      ...(detail && { detail }),
      ...(closeCode !== undefined && { closeCode }),
      ...(cause !== undefined && { error: cause }),
    },
    'session.ended',
  );
}

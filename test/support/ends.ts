/** What the end of a session looks like from everywhere it can be seen. */

import type { TestClient } from './client.js';
import type { TestRelay } from './relay.js';

export interface End {
  /** The close frame. */
  readonly code: number;
  readonly reason: string;
  /** The `error` event that came last, or null when something else did. */
  readonly error: { code: unknown; retryable: unknown; retry_after_ms?: unknown } | null;
  /** Of the log line. */
  readonly logged: string;
  readonly initiator: string;
  /** Ends counted under the logged reason and initiator. */
  readonly counted: number;
}

/** How a client's session ended; the relay's only one, unless `count` says which in order. */
export async function endOf({ logged, metric }: TestRelay, client: TestClient, count = 1): Promise<End> {
  const { code, reason } = await client.closed;
  const line = await logged('session.ended', count);
  const labels = { reason: String(line.reason), initiator: String(line.initiator) };
  const last = client.events.at(-1);
  const error = last?.type === 'error' ? (last.error as Record<string, unknown>) : null;
  return {
    code,
    reason,
    error: error && {
      code: error.code,
      retryable: error.retryable,
      ...('retry_after_ms' in error && { retry_after_ms: error.retry_after_ms }),
    },
    logged: labels.reason,
    initiator: labels.initiator,
    counted: await metric('relay_session_ends_total', labels),
  };
}

/** The end that is promised: announced by an `error` event when it is known whether the client may retry. */
export function end(
  reason: string,
  code: number,
  initiator: 'client' | 'upstream' | 'relay' | 'backend',
  announced: { retryable: boolean; retry_after_ms?: unknown } | null = null,
): End {
  return { code, reason, error: announced && { code: reason, ...announced }, logged: reason, initiator, counted: 1 };
}

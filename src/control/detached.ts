/** The line of the log about somebody who follows a session no more. */

import type { User } from '../auth/principal.js';

/** What is written down of somebody who has followed a session since then, in `performance.now()`. */
export function detachedFrom(by: User, session: string, requestId: string, since: number): object {
  const { subject, tenant } = by;
  const seconds = Math.round(performance.now() - since) / 1000;
  return { by: subject, ...(tenant !== null && { byTenant: tenant }), session, requestId, seconds };
}

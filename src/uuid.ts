/** Ids of requests, and of the sessions that come of them: their order is that in which they were made. */

import { randomUUID } from 'node:crypto';

/** Of one process: a clock that is set back, or that stands, makes no id that comes before an earlier one. */
const last = { ms: 0, count: 0 };
const mostCount = 0xfff;

/**
 * A UUID of version 7 (RFC 9562 section 5.7): the time in milliseconds, then what tells those of one millisecond apart.
 * @param ms the time since 1970
 */
export function orderedUuid(ms = Date.now()): string {
  // One of version 4 has its random bits at hand for many at a time; its variant and all behind that is as in version 7.
  const random = randomUUID();
  // 48 bits of time and 12 that count within a millisecond, from a random start in the lower half on (section 6.2, method 1).
  if (ms > last.ms) {
    last.ms = ms;
    last.count = Number.parseInt(random.slice(0, 3), 16) & (mostCount >> 1);
  } else if (++last.count > mostCount) {
    last.ms++;
    last.count = 0;
  }
  const time = last.ms.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${last.count.toString(16).padStart(3, '0')}-${random.slice(19)}`;
}

/** What a client knows a session or a call by: the id of its request in another form. */
export function publicId(kind: 'sess' | 'call', requestId: string): string {
  return `${kind}_${requestId.replaceAll('-', '')}`;
}

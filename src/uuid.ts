/** Ids of requests, and of the sessions that come of them: their order is that in which they were made. */

import { randomBytes } from 'node:crypto';

/** Of one process: a clock that is set back, or that stands, makes no id that comes before an earlier one. */
let last = 0n;

/**
 * A UUID of version 7 (RFC 9562 section 5.7): the time in milliseconds, then what tells those of one millisecond apart.
 * @param ms the time since 1970
 */
export function orderedUuid(ms = Date.now()): string {
  const random = randomBytes(10);
  // 48 bits of time and 12 that count within a millisecond, from a random start in the lower half on (section 6.2, method 1).
  const fresh = (BigInt(ms) << 12n) | BigInt(random.readUInt16BE(0) & 0x7ff);
  last = fresh > last ? fresh : last + 1n;
  const head = ((last >> 12n) << 16n) | 0x7000n | (last & 0xfffn);
  random[2] = ((random[2] as number) & 0x3f) | 0x80;
  const hex = head.toString(16).padStart(16, '0') + random.toString('hex', 2);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** What a client knows a session or a call by: the id of its request in another form. */
export function publicId(kind: 'sess' | 'call', requestId: string): string {
  return `${kind}_${requestId.replaceAll('-', '')}`;
}

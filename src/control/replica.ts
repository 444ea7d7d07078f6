/** What a replica of the relay is called by. */

import { randomInt } from 'node:crypto';
import { hostname } from 'node:os';

const letters = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** A name for a replica, new with each start: that of its host, and six characters. */
export function nameReplica(host = hostname()): string {
  const tail = Array.from({ length: 6 }, () => letters[randomInt(letters.length)]).join('');
  return `${host.replace(/[^A-Za-z0-9.-]/g, '-').slice(0, 63)}-${tail}`;
}

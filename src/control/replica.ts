/** What a replica of the relay is called by. */

import { randomInt } from 'node:crypto';
import { hostname } from 'node:os';

const letters = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** A name for a replica, new with each start: that of its host, and six characters. */
export function nameReplica(host = hostname()): string {
  const tail = Array.from({ length: 6 }, () => letters[randomInt(letters.length)]).join('');
  return `${host.replace(/[^A-Za-z0-9.-]/g, '-').slice(0, 63)}-${tail}`;
}

/** The address of a process: that of its replica, and a name of its own there. */
export function addressIn(replica: string, process: string | number): string {
  return `${replica}/${process}`;
}

/** The replica of a process. */
export function replicaOf(address: string): string {
  const [replica = ''] = address.split('/', 1);
  return replica;
}

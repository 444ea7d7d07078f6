/** From which address a request comes, where proxies stand between. */

import type { IncomingMessage } from 'node:http';
import { isIP, isIPv4 } from 'node:net';
import { groupsOf, listOf } from '../outbound/addresses.js';

/** The proxies of this relay, as configured. */
export interface Proxies {
  /** How many stand between a client and the relay, each of which adds an entry to `X-Forwarded-For`. */
  readonly count: number;
  /** Where they stand: addresses, or networks such as `10.0.0.0/8`. */
  readonly addresses: readonly string[];
}

/** Names an address for counting: IPv6 by its network of 64 bits, of which a client may use every address. */
export type AddressOf = (message: Pick<IncomingMessage, 'headers' | 'socket'>) => string;

/**
 * Reads addresses. What a client says itself counts for nothing: the header is believed of a trusted peer only, and there
 * the entry that the outermost of our proxies has added.
 */
export function createAddressOf({ count, addresses }: Proxies): AddressOf {
  const trusted = listOf(addresses);
  return ({ headers, socket }) => {
    const peer = plain(socket.remoteAddress ?? '') ?? 'unknown';
    if (count === 0 || peer === 'unknown' || !trusted.check(peer, isIPv4(peer) ? 'ipv4' : 'ipv6'))
      return networkOf(peer);
    const entries = String(headers['x-forwarded-for'] ?? '').split(',');
    return networkOf(plain(entries.at(-count) ?? '') ?? peer);
  };
}

/** An entry without the port that some proxies add, and IPv4 in its own form; null when it is no address. */
function plain(entry: string): string | null {
  const text = entry.trim();
  const [, bracketed] = /^\[([^\]]+)\](?::\d+)?$/.exec(text) ?? [];
  const [, withPort] = /^([\d.]+):\d+$/.exec(text) ?? [];
  const address = (bracketed ?? withPort ?? text).replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(address) === 0 ? null : address;
}

function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const network = groupsOf(address).slice(0, 4);
  return `${network.map((group) => group.toString(16)).join(':')}::/64`;
}

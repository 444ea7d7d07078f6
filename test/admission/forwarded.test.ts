import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { createAddressOf } from '../../src/admission/forwarded.js';

const privately = ['10.0.0.0/8', '::1', 'fc00::/7', '127.0.0.1'];

function seen(peer: string | undefined, forwarded: string | undefined, count: number, addresses = privately): string {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
  const message = { headers, socket: { remoteAddress: peer } } as unknown as IncomingMessage;
  return createAddressOf({ count, addresses })(message);
}

describe('the address of a client', () => {
  it.each([
    ['is that of its socket, whatever it says', '203.0.113.7', '1.2.3.4', 0, '203.0.113.7'],
    ['is that of its socket when it is no proxy of ours', '203.0.113.7', '1.2.3.4', 1, '203.0.113.7'],
    ['is what one proxy of ours has added', '10.1.2.3', '6.6.6.6, 198.51.100.9', 1, '198.51.100.9'],
    ['is what the outer one of two has added', '10.1.2.3', '6.6.6.6, 198.51.100.9, 10.9.9.9', 2, '198.51.100.9'],
    ['is that of the proxy when fewer entries came than proxies are', '10.1.2.3', '198.51.100.9', 2, '10.1.2.3'],
    ['is that of the proxy when none came', '10.1.2.3', undefined, 1, '10.1.2.3'],
    ['is that of the proxy when the entry is no address', '10.1.2.3', 'unknown', 1, '10.1.2.3'],
    ['has no port', '10.1.2.3', '198.51.100.9:4711', 1, '198.51.100.9'],
    ['has no port, of IPv6', '10.1.2.3', '[2001:db8:1:2::9]:4711', 1, '2001:db8:1:2::/64'],
    ['is known in its own form when it came over IPv6', '::ffff:10.1.2.3', '198.51.100.9', 1, '198.51.100.9'],
    ['of IPv6 is its network', '2001:db8:1:2:3:4:5:6', undefined, 0, '2001:db8:1:2::/64'],
    ['of IPv6 is its network in every spelling', '2001:0DB8:0001:0002::9', undefined, 0, '2001:db8:1:2::/64'],
    ['of a short IPv6 is its network', '::1', undefined, 0, '0:0:0:0::/64'],
    ['of a link has no zone', 'fe80::1%eth0', undefined, 0, 'fe80:0:0:0::/64'],
    ['is that behind a proxy on IPv6', 'fd00::7', '198.51.100.9', 1, '198.51.100.9'],
    ['of a socket that is gone is none', undefined, '198.51.100.9', 1, 'unknown'],
  ] as const)('%s', (_, peer, forwarded, count, expected) => {
    expect(seen(peer, forwarded, count)).toBe(expected);
  });
});

/** Which addresses a request may go to. Source: IANA's special-purpose address registries for IPv4 and IPv6. */

import { type LookupAddress, lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/**
 * `any`: wherever the operator's URL leads. `public`: a name leads to public addresses only. `private`: also to private and
 * loopback ones. `inside`: to nothing but these and link-local ones. An address that was written into the URL may be any but a
 * link-local one, except under `any`; what may be written under `inside`, its setting says.
 */
export type AddressRule = 'any' | 'public' | 'private' | 'inside';

/** What an address is; `link_local` are those at which clouds hand out credentials, too. */
export type AddressKind = 'public' | 'private' | 'link_local' | 'special';

const linkLocal = listOf([
  '169.254.0.0/16',
  'fe80::/10',
  // Metadata services outside of the link-local ranges: Azure, Alibaba Cloud, AWS, Google Cloud.
  '168.63.129.16/32',
  '100.100.100.200/32',
  'fd00:ec2::/32',
  'fd20:ce::254/128',
]);

const privately = listOf([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::1/128',
  'fc00::/7',
]);

/** Networks that nobody outside of them can be in. */
export const insideNetworks = [
  ...['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16'],
  ...['::1', 'fc00::/7', 'fe80::/10'],
];
const inside = listOf(insideNetworks);

const special = listOf([
  '0.0.0.0/8',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
  '2001::/23',
  '2001:db8::/32',
  '2620:4f:8000::/48',
  '3fff::/20',
]);

/** All that is assigned as global unicast; of IPv6 nothing else can be public. */
const globalUnicast = listOf(['2000::/3']);

/** A list of networks, and of addresses as networks of one. */
export function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    list.addSubnet(address, Number(prefix ?? (family === 'ipv4' ? 32 : 128)), family);
  }
  return list;
}

/** Whether a text is an address or a network, such as `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

/** What this address is, after the IPv4 address that an IPv6 one may carry was taken out of it. */
export function kindOf(address: string): AddressKind {
  const bare = unwrapped(address.replace(/%.*$/, ''));
  const version = isIP(bare);
  if (version === 0) return 'special';
  const family = version === 4 ? 'ipv4' : 'ipv6';
  if (linkLocal.check(bare, family)) return 'link_local';
  if (privately.check(bare, family)) return 'private';
  if (special.check(bare, family)) return 'special';
  return family === 'ipv4' || globalUnicast.check(bare, family) ? 'public' : 'special';
}

/** Mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96) and 6to4 (2002::/16) addresses lead to an IPv4 one. */
function unwrapped(address: string): string {
  if (isIP(address) !== 6) return address;
  const groups = groupsOf(address);
  const head = groups
    .slice(0, 6)
    .map((group) => group.toString(16))
    .join(':');
  const [, second = 0, third = 0, , , , seventh = 0, last = 0] = groups;
  if (groups[0] === 0x2002) return dotted(second, third);
  const isCompatible = head === '0:0:0:0:0:0' && (seventh !== 0 || last > 1);
  return isCompatible || head === '0:0:0:0:0:ffff' || head === '64:ff9b:0:0:0:0' ? dotted(seventh, last) : address;
}

/** The eight groups of an IPv6 address. */
export function groupsOf(address: string): number[] {
  // The URL parser turns a dotted tail into two groups.
  const [left = '', right] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const numbers = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const first = numbers(left);
  const rest = numbers(right ?? '');
  return [...first, ...new Array<number>(8 - first.length - rest.length).fill(0), ...rest];
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** Whether a URL's host, as it was written, may be asked; a name is judged by what it resolves to. */
export function permitsHost(rule: AddressRule, hostname: string): boolean {
  const bare = bareHost(hostname);
  return rule === 'any' || isIP(bare) === 0 || kindOf(bare) !== 'link_local';
}

/** Looks names up as Node does, and fails with the code `ERR_ADDRESS` where one address it found is not permitted. */
export function judgedLookup(rule: AddressRule): LookupFunction {
  return (hostname, options, done) => {
    const permitted: readonly AddressKind[] =
      rule === 'private' || isLocalhost(hostname) ? ['public', 'private'] : ['public'];
    const isPermitted = ({ address }: LookupAddress) =>
      rule === 'inside' ? isInside(address) : permitted.includes(kindOf(address));
    lookup(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
      const [first] = found ?? [];
      if (error || !first) {
        done(error ?? addressError(hostname), [], 0);
      } else if (rule !== 'any' && !found.every(isPermitted)) {
        done(addressError(hostname), [], 0);
      } else if (options.all) {
        done(null, found);
      } else {
        done(null, first.address, first.family);
      }
    });
  };
}

/** The error for a host that may not be asked; it does not say which address it has. */
export function addressError(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} is at an address that may not be asked.`), { code: 'ERR_ADDRESS' });
}

/** Whether an address is one of a private network, of this machine or of its own link. */
export function isInside(address: string): boolean {
  const bare = unwrapped(address.replace(/%.*$/, ''));
  return isIP(bare) !== 0 && inside.check(bare, isIP(bare) === 4 ? 'ipv4' : 'ipv6');
}

/** Whether a URL's host can only be this machine: plain HTTP is for those. */
export function isLoopback(hostname: string): boolean {
  const bare = bareHost(hostname);
  return isLocalhost(bare) || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

/** Whether nobody on the way reads or changes what is asked there: HTTPS, or plain HTTP that stays on this machine. */
export function isSafe({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}

/** Of a URL's host: an IPv6 address without its brackets. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}

function isLocalhost(hostname: string): boolean {
  return hostname === 'localhost';
}

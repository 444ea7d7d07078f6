/** The operator's HTTP proxy: for which addresses it is asked, and how. */

import { BlockList, isIP } from 'node:net';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { bareHost, isLoopback } from './addresses.js';

/** `HTTPS_PROXY` and `NO_PROXY` as they were given. */
export interface ProxySettings {
  /** URL of a proxy that is asked to CONNECT; null: there is none. */
  readonly url: string | null;
  /** Hosts that are reached without it: names with their subdomains, addresses, networks, or `*`. */
  readonly except: string;
}

/** The proxy for an address, or null: loopback and what is excepted go direct. */
export function proxyFor({ hostname }: URL, { url, except }: ProxySettings): string | null {
  if (url === null || isLoopback(hostname)) return null;
  const host = bareHost(hostname.toLowerCase());
  const isExcepted = except
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry === '*' || (isIP(host) === 0 ? coversName(entry, host) : coversAddress(entry, host)));
  return isExcepted ? null : url;
}

function coversName(entry: string, host: string): boolean {
  const name = entry.replace(/:\d+$/, '').replace(/^\*?\./, '');
  return name !== '' && (host === name || host.endsWith(`.${name}`));
}

function coversAddress(entry: string, host: string): boolean {
  const [given = '', prefix] = entry.split('/');
  const network = isIP(given) === 0 ? bareHost(given.replace(/:\d+$/, '')) : given;
  const version = isIP(network);
  if (version === 0) return false;
  const widest = version === 4 ? 32 : 128;
  const bits = prefix === undefined ? widest : Number(prefix);
  if (!Number.isInteger(bits) || bits < 0 || bits > widest) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, version === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6');
}

/**
 * Reaches a host through a proxy. The agent hands its socket over only once the tunnel stands; until then nothing but the
 * signal can destroy it.
 */
export function tunnelThrough(proxy: string, signal: AbortSignal): HttpsProxyAgent<string> {
  return new HttpsProxyAgent(proxy, { signal });
}

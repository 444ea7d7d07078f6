/** The operator's HTTP proxy: for which addresses it is asked, and how. */

import { isIP } from 'node:net';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { bareHost, isLoopback, isNetwork, listOf } from './addresses.js';

/** `HTTPS_PROXY` and `NO_PROXY` as they were given. */
export interface ProxySettings {
  /** URL of a proxy that is asked to CONNECT; null: there is none. */
  readonly url: string | null;
  /** Hosts that are reached without it: names with their subdomains, addresses, networks, or `*`. */
  readonly except: string;
}

/** The proxy for an address, or null: loopback and what is excepted go direct. */
export function proxyFor({ hostname, port, protocol }: URL, { url, except }: ProxySettings): string | null {
  if (url === null || isLoopback(hostname)) return null;
  const host = bareHost(hostname.toLowerCase().replace(/\.$/, ''));
  const at = port === '' ? (['http:', 'ws:'].includes(protocol) ? '80' : '443') : port;
  const isExcepted = entriesOf(except).some(
    (entry) =>
      entry.hosts === '*' ||
      ((entry.port === null || entry.port === at) &&
        (isIP(host) === 0 ? coversName(entry.hosts, host) : coversAddress(entry.hosts, host))),
  );
  return isExcepted ? null : url;
}

/** The entries that no host there is could match, as they were written. */
export function uselessEntries(except: string): string[] {
  return entriesOf(except)
    .filter(({ hosts }) => hosts !== '*' && !isNetwork(hosts) && !isName(hosts))
    .map(({ written }) => written);
}

interface Entry {
  readonly written: string;
  /** A name, an address, a network or `*`. */
  readonly hosts: string;
  readonly port: string | null;
}

function entriesOf(except: string): Entry[] {
  return except
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map((written) => {
      const text = written.toLowerCase();
      // `[fd00::5]:443`, `[fd00::]/8`, `10.0.0.5:443`, `example.com:443`; what else has colons is an address of IPv6.
      const [, bracketed = '', prefix = '', own] = /^\[([^\]]*)\](\/\d+)?(?::(\d+))?$/.exec(text) ?? [];
      if (bracketed !== '') return { written, hosts: bracketed + prefix, port: own ?? null };
      const [, host = text, port = null] = /^([^:]*):(\d+)$/.exec(text) ?? [];
      return { written, hosts: host, port };
    });
}

/** Names of hosts do not end with a number: such a host is an address, whatever it looks like. */
function isName(entry: string): boolean {
  const name = /^(?:\*?\.)?((?:[a-z0-9_-]+\.)*[a-z0-9_-]+)\.?$/.exec(entry)?.[1];
  return name !== undefined && !/(?:^|\.)\d+$/.test(name);
}

function coversName(entry: string, host: string): boolean {
  const name = entry.replace(/^\*?\./, '').replace(/\.$/, '');
  return name !== '' && (host === name || host.endsWith(`.${name}`));
}

function coversAddress(entry: string, host: string): boolean {
  return isNetwork(entry) && listOf([entry]).check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6');
}

/**
 * Reaches a host through a proxy. The agent hands its socket over only once the tunnel stands; until then nothing but the
 * signal can destroy it.
 */
export function tunnelThrough(proxy: string, signal: AbortSignal): HttpsProxyAgent<string> {
  return new HttpsProxyAgent(proxy, { signal });
}

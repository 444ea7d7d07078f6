/** How a dial proves who the relay is: an API key or an Entra token. */

import type { TokenCache } from './entra.js';

/** The one header that carries the relay's credential. */
export interface CredentialHeader {
  readonly name: 'authorization' | 'api-key';
  readonly value: string;
}

/** Gives each dial its credential. */
export interface Authorizer {
  /** Rejects with RelayError `upstream_unavailable` when no credential can be had. */
  header(): Promise<CredentialHeader>;
  /** After a 401: another header than the one with the value `stale`, or null when there is none to get. */
  renew(stale: string): Promise<CredentialHeader | null>;
  /** Whether a dial would have a credential now; `detail` is for the operator. */
  status(): { ready: boolean; detail: string | null };
}

/** Sends a resource's API key. Throws an Error that does not repeat the key when it cannot be a header value. */
export function authorizeWithKey(key: string): Authorizer {
  const value = key.trim();
  if (!/^[\x21-\x7e]+$/.test(value)) throw new Error('The API key is empty or holds characters no header may carry.');
  const header = { name: 'api-key', value } as const;
  return {
    header: async () => header,
    renew: async () => null,
    status: () => ({ ready: true, detail: null }),
  };
}

/** Sends the cache's Entra token; several upstreams may share one cache. */
export function authorizeWithEntra(cache: TokenCache): Authorizer {
  const scheme = 'Bearer ';
  const headerOf = (token: string) => ({ name: 'authorization', value: scheme + token }) as const;
  return {
    header: async () => headerOf(await cache.token()),
    async renew(stale) {
      const header = headerOf(await cache.refresh(stale.slice(scheme.length)));
      return header.value === stale ? null : header;
    },
    status() {
      const { ready, lastError } = cache.status();
      return { ready, detail: ready ? null : (lastError ?? 'No Entra token has been obtained yet.') };
    },
  };
}

/** What no log may show of a dial; longest first, so that cutting out a part does not hide the whole. */
export function secretsOf({ value }: CredentialHeader, proxy: string | undefined): string[] {
  const own = value.startsWith('Bearer ') ? [value, value.slice(7)] : [value];
  if (proxy === undefined || !URL.canParse(proxy)) return own;
  const { password } = new URL(proxy);
  const all = [...own, password, decodeURIComponent(password)];
  return all.filter((secret) => secret !== '').sort((a, b) => b.length - a.length);
}

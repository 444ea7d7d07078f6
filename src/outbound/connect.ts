/** Whether somebody can be reached at all: name, address, proxy and TLS. Nothing is asked. */

import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { addressError, permitsHost } from './addresses.js';
import { connection, type Outbound, problemOf, RequestError } from './request.js';

/** Connects and hangs up. Rejects with a RequestError. */
export function reach(what: Pick<Outbound, 'url' | 'timeoutMs' | 'proxy' | 'addresses'>): Promise<void> {
  const { timeoutMs, proxy = null, addresses = 'any' } = what;
  const url = new URL(what.url);
  return new Promise((resolve, reject) => {
    if (!permitsHost(addresses, url.hostname)) throw problemOf(addressError(url.hostname), false);
    const tunnel = proxy === null ? null : new AbortController();
    let isTunnelled = false;
    // Without an end nothing of it is sent.
    const asked = (url.protocol === 'https:' ? https : http).request(url, connection(addresses, proxy, tunnel));
    const settle = (end: () => void) => {
      clearTimeout(timer);
      end();
      tunnel?.abort();
      asked.destroy();
    };
    const fail = (error: RequestError) => settle(() => reject(error));
    const failed = (error: Error) => fail(problemOf(error, tunnel !== null && !isTunnelled));
    const timer = setTimeout(() => fail(new RequestError('timeout', `Not reached within ${timeoutMs} ms`)), timeoutMs);
    asked.on('error', failed);
    asked.once('close', () => failed(new Error('The connection ended.')));
    asked.once('proxyConnect', ({ statusCode: status = 0 }: { statusCode?: number }) => {
      isTunnelled = status === 200;
      if (!isTunnelled) fail(new RequestError('proxy', `The proxy answered CONNECT with HTTP ${status}`, '', status));
    });
    asked.once('socket', (socket: Socket) => {
      const reached = () => settle(resolve);
      if (socket instanceof TLSSocket) socket.once('secureConnect', reached);
      else if (socket.connecting) socket.once('connect', reached);
      else reached();
    });
  });
}

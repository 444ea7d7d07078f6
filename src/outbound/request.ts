/** One HTTP request of the relay's own: through the operator's proxy, to a judged address, bounded in time and size. */

import http, {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import https from 'node:https';
import { type AddressRule, addressError, judgedLookup, permitsHost } from './addresses.js';
import { tunnelThrough } from './proxy.js';

/** What is asked. */
export interface Outbound {
  readonly url: URL | string;
  /** Default GET. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Gives the request up; it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** For everything, from the look-up of the name to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Largest body of an answer; 0: none is read, and the answer is there with its headers. */
  readonly maxBytes: number;
  /** URL of a proxy that is asked to CONNECT, from `proxyFor`. It resolves names then; only a literal address is judged. */
  readonly proxy?: string | null;
  /** Default `any`. */
  readonly addresses?: AddressRule;
}

/** What came back, whatever its status: a redirect is an answer like any other, and is not followed. */
export interface OutboundAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** `address`: may not be asked. `proxy`: it was the proxy that failed or refused. `network`: `code` is the system's. */
export type RequestProblem = 'address' | 'proxy' | 'network' | 'timeout' | 'too_big';

/** Why there is no answer. Its message may name hosts; who shows it, cuts it. */
export class RequestError extends Error {
  constructor(
    readonly problem: RequestProblem,
    message: string,
    /** Such as `ECONNREFUSED`; empty where there is none. */
    readonly code: string = '',
    /** HTTP status of a proxy that refused. */
    readonly status: number | null = null,
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

/** Asks once. Rejects with a RequestError, or with the reason of the signal. */
export function request(what: Outbound): Promise<OutboundAnswer> {
  const { method = 'GET', body, signal, timeoutMs, maxBytes, proxy = null, addresses = 'any' } = what;
  return new Promise((resolve, reject) => {
    const url = new URL(what.url);
    if (signal?.aborted) throw signal.reason;
    if (!permitsHost(addresses, url.hostname)) throw problemOf(addressError(url.hostname), false);
    const tunnel = proxy === null ? null : new AbortController();
    let isTunnelled = false;
    let asked: ClientRequest | null = null;
    const settle = (end: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', leave);
      end();
    };
    /** Only the first reason counts; what the destroyed request says of itself comes after it. */
    const fail = (error: unknown) => {
      settle(() => reject(error));
      tunnel?.abort();
      asked?.destroy();
    };
    const leave = () => fail(signal?.reason);
    const timer = setTimeout(() => fail(new RequestError('timeout', `Not done within ${timeoutMs} ms`)), timeoutMs);
    signal?.addEventListener('abort', leave, { once: true });
    const failed = (error: Error) => fail(problemOf(error, tunnel !== null && !isTunnelled));
    try {
      asked = (url.protocol === 'https:' ? https : http).request(url, {
        method,
        headers: { ...what.headers, ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }) },
        ...connection(addresses, proxy, tunnel),
      });
    } catch (error) {
      failed(error instanceof Error ? error : new Error('The request could not be made.'));
      return;
    }
    asked.on('error', failed);
    asked.once('proxyConnect', ({ statusCode: status = 0 }: { statusCode?: number }) => {
      isTunnelled = status === 200;
      if (!isTunnelled) fail(new RequestError('proxy', `The proxy answered CONNECT with HTTP ${status}`, '', status));
    });
    // An answer that switches protocols, for one, brings neither a response nor an error.
    const unanswered = () => failed(new Error('The connection ended without an answer.'));
    asked.once('close', unanswered);
    asked.once('response', (response) => {
      asked?.off('close', unanswered);
      read(response, maxBytes, failed, (bytes) => {
        const { statusCode: status = 0, headers } = response;
        settle(() => resolve({ status, headers, body: bytes }));
        if (maxBytes === 0) asked?.destroy();
      });
    });
    asked.end(body);
  });
}

/** Sockets are kept for other requests only where any address may be asked: a kept one is not judged again. */
export function connection(
  addresses: AddressRule,
  proxy: string | null,
  tunnel: AbortController | null,
): RequestOptions {
  if (proxy !== null && tunnel !== null) return { agent: tunnelThrough(proxy, tunnel.signal) };
  return addresses === 'any' ? {} : { agent: false, lookup: judgedLookup(addresses) };
}

function read(
  response: IncomingMessage,
  maxBytes: number,
  failed: (error: Error) => void,
  done: (body: Buffer) => void,
): void {
  response.on('error', failed);
  if (maxBytes === 0) {
    done(Buffer.alloc(0));
    return;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  response.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > maxBytes) failed(new RequestError('too_big', `The answer is over ${maxBytes} bytes.`));
    else chunks.push(chunk);
  });
  response.once('end', () => done(Buffer.concat(chunks)));
  response.once('close', () => failed(new Error('The answer was cut off.')));
}

/** The error of the library is left behind: that of a parser holds what was sent. */
export function problemOf(error: Error, isProxys: boolean): RequestError {
  if (error instanceof RequestError) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'ERR_ADDRESS') return new RequestError('address', error.message);
  return new RequestError(isProxys ? 'proxy' : 'network', error.message || code, code);
}

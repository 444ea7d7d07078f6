/** How tools ask their endpoints: through the operator's proxy, at judged addresses, as whom the configuration says. */

import { untilAborted } from '../outbound/abort.js';
import { bareHost, kindOf } from '../outbound/addresses.js';
import { type ProxySettings, proxyFor } from '../outbound/proxy.js';
import { type Outbound, type OutboundAnswer, request } from '../outbound/request.js';
import { version } from '../version.js';
import { type Span, ToolFailure } from './running.js';
import type { ToolCall } from './tool.js';

/** Microsoft Entra tokens, one kept for each scope. */
interface ToolCredentials {
  token(scope: string): Promise<string>;
  /** After a 401: another one, where there is one. */
  refresh(scope: string, stale: string): Promise<string>;
  /** Has tokens for these scopes ahead of need, and lets go of all others. */
  want(scopes: ReadonlySet<string>): void;
}

/** What tools need of the relay. */
export interface ToolPorts {
  readonly proxy: ProxySettings;
  readonly credentials: ToolCredentials;
  /** Shown each request and each answer, for whoever tries a tool by hand. */
  readonly watch?: ToolWatch;
}

/** Looks on while a tool is tried. */
interface ToolWatch {
  asked(request: Question): void;
  answered(answer: OutboundAnswer): void;
}

/** One request of a tool. */
export interface Question extends Pick<Outbound, 'url' | 'method' | 'body' | 'maxBytes'> {
  readonly headers: Readonly<Record<string, string>>;
}

/** Asks one endpoint; rejects with a RequestError, or with the reason of the span's signal. */
export type Ask = (question: Question, span: Span) => Promise<OutboundAnswer>;

/** The proxy for an endpoint: what was written as a private address is not the proxy's to reach. */
export function proxyOfTool(url: URL, proxy: ProxySettings): string | null {
  return kindOf(bareHost(url.hostname)) === 'private' ? null : proxyFor(url, proxy);
}

/** Makes what asks the endpoint at this address. `mayBePrivate`: its name may lead to a private address. */
export function createAsk(url: URL, mayBePrivate: boolean, { proxy, watch }: ToolPorts): Ask {
  const through = proxyOfTool(url, proxy);
  const addresses = mayBePrivate ? 'private' : 'public';
  return async (question, { signal, leftMs }) => {
    watch?.asked(question);
    const answer = await request({
      ...question,
      signal,
      timeoutMs: Math.ceil(leftMs()),
      proxy: through,
      addresses,
    });
    watch?.answered(answer);
    return answer;
  };
}

/** The header of an Entra token. Rejects with a ToolFailure where there is none to be had. */
export async function bearerOf(token: Promise<string>, { signal }: Span): Promise<string> {
  try {
    return await untilAborted(token, signal);
  } catch {
    // Why is in the log of the identity service's failures.
    signal.throwIfAborted();
    throw new ToolFailure('token', 'No Microsoft Entra token is to be had.');
  }
}

/** What every request of a tool says of itself. */
export function commonHeaders({ requestId, traceparent }: ToolCall): Record<string, string> {
  return {
    'accept-encoding': 'identity',
    'x-request-id': requestId,
    ...(traceparent !== undefined && { traceparent }),
  };
}

/** What it is asked as. */
export const userAgent = `realtime-relay/${version}`;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The text of an answer that is not encoded. Throws a ToolFailure. */
export function textOf({ status, headers, body }: OutboundAnswer): string {
  const facts = { status, bytes: body.length };
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding.trim().toLowerCase() !== 'identity') {
    throw new ToolFailure('encoding', 'The answer is compressed, which was not asked for.', facts);
  }
  try {
    return utf8.decode(body);
  } catch {
    throw new ToolFailure('encoding', 'The answer is not UTF-8.', facts);
  }
}

/** Tools and endpoints of the tests of tools. */

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { Bounded } from '../../src/policy/bounded.js';
import type { ToolPorts } from '../../src/tools/asking.js';
import type { ToolCall } from '../../src/tools/tool.js';

/** What an endpoint was asked. */
interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** An endpoint on loopback that answers as it is told, and remembers. */
export async function endpoint(listener: RequestListener): Promise<{ url: string; port: number; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
    listener(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, port, asked };
}

/** What tools have of a relay without a proxy, whose identity service gives `token-1`, then `token-2`, … */
export function ports(changes: Partial<ToolPorts> = {}): ToolPorts {
  let tokens = 0;
  const next = async (scope: string) => `token-${++tokens}-for-${scope}`;
  return {
    proxy: { url: null, except: '' },
    credentials: { token: next, refresh: next, want: () => undefined },
    ...changes,
  };
}

/** A call of a user who has claims. */
export function call(args: string | object = {}, changes: Partial<ToolCall> = {}): ToolCall {
  return {
    name: 'order_status',
    callId: 'call_1',
    arguments: typeof args === 'string' ? args : JSON.stringify(args),
    session: { id: 'sess_1', citable: new Bounded<true>(200) },
    requestId: 'request-1',
    principal: { issuer: 'https://issuer.test', tenant: 'acme', subject: 'ada', claims: { sub: 'ada', tid: 'acme' } },
    ...changes,
  };
}

/** The user of a call with these claims. */
export function user(claims: Record<string, unknown>): Pick<ToolCall, 'principal'> {
  return { principal: { issuer: 'https://issuer.test', tenant: null, subject: 'ada', claims } };
}

/** Nobody gives up. */
export const unending = new AbortController().signal;

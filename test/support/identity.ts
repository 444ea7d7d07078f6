/** A local identity service that real Azure credentials can ask: managed identity of Container Apps and of a VM. */

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How the service misbehaves; null is health. */
type IdentityFault = null | 'refuses' | 'errors' | 'hangs' | 'garbage' | 'resets';

interface IdentityRequest {
  path: string;
  resource: string | null;
  clientId: string | null;
  headers: IncomingHttpHeaders;
}

export interface Identity {
  /** For `AZURE_POD_IDENTITY_AUTHORITY_HOST`. */
  url: string;
  port: number;
  /** What a process needs to find this service as on Container Apps. */
  env: { IDENTITY_ENDPOINT: string; IDENTITY_HEADER: string };
  /** Token requests, oldest first; probes are not counted. */
  requests: IdentityRequest[];
  /** The tokens handed out, oldest first. */
  tokens: string[];
  fail(fault: IdentityFault): void;
  close(): Promise<void>;
}

/** Starts the service on a free loopback port; every answer is a new token of the given lifetime. */
export async function startIdentity(options: { lifetimeSeconds?: number; header?: string } = {}): Promise<Identity> {
  const header = options.header ?? 'local-identity-header';
  const requests: IdentityRequest[] = [];
  const tokens: string[] = [];
  let fault: IdentityFault = null;

  function grant(response: ServerResponse, resource: string): void {
    const lifetime = options.lifetimeSeconds ?? 24 * 3600;
    const token = `identity-token-${tokens.length + 1}-${Math.random().toString(36).slice(2)}`;
    tokens.push(token);
    const expiry = String(Math.floor(Date.now() / 1000) + lifetime);
    answer(response, 200, {
      access_token: token,
      expires_on: expiry,
      expires_in: String(lifetime),
      resource,
      token_type: 'Bearer',
    });
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const vm = url.pathname.startsWith('/metadata/identity/oauth2/token');
    const authentic = vm ? request.headers.metadata === 'true' : request.headers['x-identity-header'] === header;
    if (!authentic) {
      // The probe of a VM's service is a request without the header, and any answer to it will do.
      answer(response, 400, { error: 'invalid_request', error_description: 'Required header is missing' });
      return;
    }
    const resource = url.searchParams.get('resource');
    requests.push({
      path: url.pathname,
      resource,
      clientId: url.searchParams.get('client_id'),
      headers: request.headers,
    });
    if (fault === null) grant(response, resource ?? '');
    else if (fault === 'refuses') answer(response, 400, { error: 'invalid_request', error_description: 'No identity' });
    else if (fault === 'errors') answer(response, 500, { error: 'internal' });
    else if (fault === 'garbage') response.end('<html>not a token</html>');
    else if (fault === 'resets') request.socket.resetAndDestroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    port,
    env: { IDENTITY_ENDPOINT: `${url}/msi/token`, IDENTITY_HEADER: header },
    requests,
    tokens,
    fail(next) {
      fault = next;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

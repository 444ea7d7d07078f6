/** Small real servers that tests dial; everything started here is stopped after the test. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { authorizeWithKey } from '../../src/upstream/authorizer.js';
import { parseEndpoint, type UpstreamTarget } from '../../src/upstream/target.js';
import { makeCertificate } from '../support/certificate.js';
import { key } from './key.js';

async function listen(server: TcpServer | Server | TlsServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A WebSocket server; `seen` holds the upgrade requests. */
export async function realtime(
  onSocket: (socket: WebSocket, request: IncomingMessage) => void = () => undefined,
  options: {
    headers?: string[];
    tls?: { key: string; cert: string };
    /** Other credentials get 401. */
    credential?: string;
  } = {},
): Promise<{ port: number; seen: IncomingMessage[] }> {
  const server = options.tls === undefined ? createServer() : createTlsServer(options.tls);
  const sockets = new WebSocketServer({
    server,
    verifyClient: ({ req }: { req: IncomingMessage }) =>
      options.credential === undefined || req.headers.authorization === options.credential,
  });
  const seen: IncomingMessage[] = [];
  sockets.on('headers', (lines) => lines.push(...(options.headers ?? [])));
  sockets.on('connection', (socket, request) => {
    socket.on('error', () => undefined);
    onSocket(socket, request);
  });
  server.on('upgrade', (request: IncomingMessage) => seen.push(request));
  return { port: await listen(server), seen };
}

/** Answers upgrades with HTTP; the n-th answer, or the last one. */
export async function refusing(
  ...answers: { status: number; headers?: OutgoingHttpHeaders; body?: string | object }[]
): Promise<{ port: number; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    const { status, headers, body } = answers[Math.min(seen.length, answers.length - 1)] ?? { status: 500 };
    seen.push(request);
    response.writeHead(status, headers);
    response.end(typeof body === 'object' ? JSON.stringify(body) : body);
  });
  return { port: await listen(server), seen };
}

/** A bare TCP server; `connected` counts. */
export async function tcp(
  onSocket: (socket: Socket) => void = () => undefined,
): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    onSocket(socket);
  });
  return { port: await listen(server), sockets };
}

/** A proxy that tunnels CONNECT to the given local port whatever host is asked for, or refuses with `status`. */
export async function proxy(to: number, status?: number): Promise<{ port: number; asked: string[]; heads: string[] }> {
  const asked: string[] = [];
  const heads: string[] = [];
  const server = createServer();
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    asked.push(request.url ?? '');
    heads.push(request.rawHeaders.join('\n'));
    if (status !== undefined) {
      socket.end(`HTTP/1.1 ${status} Refused\r\ncontent-length: 2\r\n\r\nno`);
      return;
    }
    const upstream = connect(to, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
  });
  return { port: await listen(server), asked, heads };
}

/** A port on which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A self-signed certificate for localhost, 127.0.0.1 and resource.invalid; `file` is the PEM of the certificate. */
export function certificate(): { key: string; cert: string; file: string } {
  const files = makeCertificate({ names: ['localhost', 'resource.invalid'] });
  return { key: readFileSync(files.key, 'utf8'), cert: readFileSync(files.cert, 'utf8'), file: files.cert };
}

/** A target on a local port, with an API key. */
export function target(port: number, changes: Partial<UpstreamTarget> = {}): UpstreamTarget {
  return {
    name: 'test',
    endpoint: parseEndpoint(`http://127.0.0.1:${port}`),
    deployment: 'gpt-realtime',
    dialect: 'ga',
    authorize: authorizeWithKey(key),
    ...changes,
  };
}

/** The sockets that are listened on: the public one, which may speak TLS, and the one for operations. */

import { once } from 'node:events';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Settings } from './config.js';
import { createOpsApp, type Health, type MetricsSource } from './http/app.js';
import type { Log } from './telemetry/log.js';

const maxHeaderBytes = 16 * 1024;
const certificatePollMs = 1000;

/** The public listener; with a certificate it speaks TLS, and a changed certificate is used without a restart. */
export function createListener(
  app: RequestListener,
  settings: Settings,
  log: Log,
): { server: Server | TlsServer; unwatch(): void } {
  const { tls, limits } = settings;
  const headersTimeout = limits.handshake_seconds * 1000;
  const options = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout,
    requestTimeout: headersTimeout,
    connectionsCheckingInterval: Math.min(1000, headersTimeout / 2),
  };
  const server = tls ? createTlsServer({ ...options, ...readCertificate(tls) }, app) : createServer(options, app);
  // A TLS handshake that is never finished is not covered by the time-outs of HTTP.
  if ('setSecureContext' in server) Object.assign(server, { handshakeTimeout: headersTimeout });
  server.on('clientError', (error, socket) => {
    // A peer that does not read its answer would keep a socket that is only ended.
    socket.once('finish', () => socket.destroy());
    const status = (error as NodeJS.ErrnoException).code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
    if (socket.writable) socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
    else socket.destroy();
  });
  if (!tls) return { server, unwatch: () => undefined };

  const reload = () => {
    try {
      (server as TlsServer).setSecureContext(readCertificate(tls));
      log.info('certificate.reloaded');
    } catch (error) {
      log.error({ error }, 'The changed certificate cannot be used; the one before stays in use.');
    }
  };
  // Polling also sees the symbolic links by which Kubernetes replaces a mounted secret.
  for (const file of [tls.cert, tls.key]) watchFile(file, { interval: certificatePollMs, persistent: false }, reload);
  return {
    server,
    unwatch() {
      for (const file of [tls.cert, tls.key]) unwatchFile(file, reload);
    },
  };
}

function readCertificate(tls: { cert: string; key: string }): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(tls.cert), key: readFileSync(tls.key) };
}

/** Opens the operations listener. */
export async function openOps(
  { opsPort, host }: Settings,
  source: MetricsSource,
  health: Health,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer({ maxHeaderSize: maxHeaderBytes }, createOpsApp(source, health));
  await listen(server, opsPort, host);
  return { url: addressOf(server, 'http', host), close: () => closeServer(server) };
}

/** Resolves when a server accepts connections. */
export async function listen(server: Server, port: number, host: string): Promise<void> {
  server.listen(port, host);
  await once(server, 'listening');
}

/** Closes a server and what is connected to it. */
export async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

/** Where a server that listens is reached from this machine. */
export function addressOf(server: Server, scheme: string, host: string): string {
  const { port } = server.address() as AddressInfo;
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `${scheme}://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

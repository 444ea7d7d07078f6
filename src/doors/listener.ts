/** The sockets that are listened on: the public one, which may speak TLS, and the one for operations. */

import { once } from 'node:events';
import { unwatchFile, watchFile } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { readCertificate } from '../config/certificate.js';
import type { Settings } from '../config/settings.js';
import { RelayError } from '../errors.js';
import { ConfigError } from '../problems.js';
import type { Log } from '../telemetry/log.js';
import { createOpsApp, type Health, type MetricsSource } from './app.js';
import {
  answerUnreadable,
  maxHeaderBytes,
  type ReadError,
  refuseEarly,
  serve,
  type Trace,
  type Upgrade,
} from './early.js';

const certificatePollMs = 1000;

/** The public listener; with a certificate it speaks TLS, and a changed certificate is used without a restart. */
export function createListener(
  app: RequestListener,
  upgrade: Upgrade,
  settings: Settings,
  trace: Trace,
): { server: Server | TlsServer; certificateEndsAt(): number | null; unwatch(): void } {
  const { tls, limits } = settings;
  const { log } = trace;
  const headersTimeout = limits.handshake_seconds * 1000;
  const options = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout,
    requestTimeout: headersTimeout,
    connectionsCheckingInterval: Math.min(1000, headersTimeout / 2),
    keepAliveTimeout: limits.keep_alive_seconds * 1000,
    // Said by the application, where it leaves a trace.
    requireHostHeader: false,
  };
  let certificate = tls && readCertificate(tls);
  // A TLS handshake that is never finished is not covered by the time-outs of HTTP.
  const server = certificate
    ? createTlsServer(
        { ...options, handshakeTimeout: headersTimeout, cert: certificate.cert, key: certificate.key },
        app,
      )
    : createServer(options, app);
  const saidWrongly = mistakesOf(log);
  if (!tls) {
    server.on('clientError', ({ rawPacket }: ReadError) => {
      if (rawPacket?.[0] === tlsRecord) saidWrongly('tls_on_plain_port');
    });
  }
  answerUnreadable(server, trace);
  serve(server, app, upgrade, tls ? 'secureConnection' : 'connection');
  if (!tls) return { server, certificateEndsAt: () => null, unwatch: () => undefined };

  // Comes before a `clientError`: what is written to a peer without a finished handshake is never written.
  server.prependListener('tlsClientError', ({ code }: NodeJS.ErrnoException, socket) => {
    if (code !== 'ECONNRESET') saidWrongly('tls_handshake', code);
    socket.destroy();
  });
  turnAwayPlain(server as TlsServer, headersTimeout, (socket) => {
    saidWrongly('plain_on_tls_port');
    refuseEarly(socket, needsTls, trace);
  });

  const reload = () => {
    try {
      const { cert, key, expiresAt } = readCertificate(tls);
      (server as TlsServer).setSecureContext({ cert, key });
      certificate = { cert, key, expiresAt };
      log.info('certificate.reloaded');
    } catch (error) {
      const problems = error instanceof ConfigError ? error.problems : ['It could not be read.'];
      log.error({ problems, error }, 'The changed certificate cannot be used; the one before stays in use.');
    }
  };
  // Polling also sees the symbolic links by which Kubernetes replaces a mounted secret.
  for (const file of [tls.cert, tls.key]) watchFile(file, { interval: certificatePollMs, persistent: false }, reload);
  return {
    server,
    certificateEndsAt: () => certificate?.expiresAt ?? null,
    unwatch() {
      for (const file of [tls.cert, tls.key]) unwatchFile(file, reload);
    },
  };
}

/** The first byte of what a TLS client says: a handshake record (RFC 8446 section 5.1). */
const tlsRecord = 0x16;

const needsTls = new RelayError('bad_event', 'This port speaks TLS only; connect with https:// or wss://.');

/**
 * Lets a TLS server see a connection once its first byte has come. Who speaks HTTP instead gets an answer, and nothing of
 * the request is read but that byte; all else is for the TLS server to judge.
 */
function turnAwayPlain(server: TlsServer, withinMs: number, answer: (socket: Socket) => void): void {
  const accepting = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const destroy = () => void socket.destroy();
    socket.setTimeout(withinMs, destroy);
    socket.on('error', destroy);
    socket.once('readable', () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) {
        socket.destroy();
        return;
      }
      const isLetter = (chunk[0] as number) >= 0x41 && (chunk[0] as number) <= 0x5a;
      if (isLetter) {
        answer(socket);
        return;
      }
      socket.setTimeout(0, destroy);
      socket.off('error', destroy);
      socket.unshift(chunk);
      for (const accept of accepting) accept.call(server, socket);
    });
  });
}

const mistakeEveryMs = 60_000;

/** Logs a mistake that many clients may make at once, each kind once a minute. */
function mistakesOf(
  log: Log,
): (kind: 'tls_on_plain_port' | 'plain_on_tls_port' | 'tls_handshake', code?: string) => void {
  const last = new Map<string, number>();
  return (kind, code) => {
    const now = performance.now();
    if (now - (last.get(kind) ?? Number.NEGATIVE_INFINITY) < mistakeEveryMs) return;
    last.set(kind, now);
    log.warn({ kind, ...(code && { code }) }, 'listener.mistaken');
  };
}

/** Opens the operations listener. */
export async function openOps(
  { opsPort, host, limits }: Settings,
  source: MetricsSource,
  health: Health,
): Promise<{ readonly url: string; keepIdle(seconds: number): void; close(): Promise<void> }> {
  const keepAliveTimeout = limits.keep_alive_seconds * 1000;
  const server = createServer({ maxHeaderSize: maxHeaderBytes, keepAliveTimeout }, createOpsApp(source, health));
  await listen(server, opsPort, host);
  return {
    url: addressOf(server, 'http', host),
    keepIdle(seconds) {
      server.keepAliveTimeout = seconds * 1000;
    },
    close: () => closeServer(server),
  };
}

/**
 * Resolves when a server accepts connections. Without a host that is at `::`, and so over IPv4 as well, or at `0.0.0.0` where
 * there is no IPv6.
 */
export async function listen(server: Server, port: number, host: string | null): Promise<void> {
  server.listen(port, host ?? undefined);
  await once(server, 'listening');
}

/** Ends connections that wait for another request, now and from now on: who keeps them has another instance to ask. */
export function endIdle(server: Server | TlsServer): void {
  server.prependListener('request', (_request, response) => response.setHeader('Connection', 'close'));
  // For those whose request is being answered at this moment.
  server.keepAliveTimeout = 1;
  server.closeIdleConnections();
}

/** Counts the connections of a server, those that became WebSockets included. */
export function connectionsOf(server: Server): () => number {
  let count = 0;
  const gone = () => {
    count--;
  };
  server.on('connection', (socket: Socket) => {
    count++;
    socket.once('close', gone);
  });
  return () => count;
}

/** Closes a server and what is connected to it. */
export async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

/** Where a server that listens is reached from this machine. */
export function addressOf(server: Server, scheme: string, host: string | null): string {
  const { port } = server.address() as AddressInfo;
  const name = host === null || host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `${scheme}://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

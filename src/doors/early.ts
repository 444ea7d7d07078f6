/** What is decided of a connection before any application sees a request: what cannot be read, and offers to pass over. */

import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { httpRefusal, RelayError } from '../errors.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { logRepeated } from '../telemetry/repeats.js';
import { orderedUuid } from '../uuid.js';
import { isDoor, targetOf } from './paths.js';
import { answerPlainly } from './plain.js';

/** The most that the header block of a request may have: a large token, and the cookies of everything else on the host. */
export const maxHeaderBytes = 32 * 1024;

/** Takes an upgraded connection. */
export type Upgrade = (message: IncomingMessage, socket: Duplex, head: Buffer) => unknown;

/** Where refusals are counted and logged. */
export interface Trace {
  readonly metrics: Pick<Metrics, 'refused'>;
  readonly log: Log;
}

/** Answers a request that no application sees, and leaves a trace of it. */
export function refuseEarly(socket: Duplex, error: RelayError, { metrics, log }: Trace, seen: object = {}): void {
  const requestId = orderedUuid();
  const { id, message: detail } = error;
  metrics.refused(id);
  const line = { about: `${id} early`, common: { reason: id }, own: { requestId, detail, ...seen } };
  logRepeated(log, 'warn', line, 'request.refused');
  const refusal = httpRefusal(error);
  const status = error.id === 'too_big' ? 431 : refusal.status;
  answerPlainly(socket, { ...refusal, status }, { 'x-request-id': requestId });
}

/** What Node says of a request that it could not read. */
export type ReadError = NodeJS.ErrnoException & { readonly rawPacket?: Buffer };

/** Answers what cannot be read as a request, in words; nobody who is gone, and nobody who said nothing, is worth a line. */
export function answerUnreadable(server: Server | TlsServer, trace: Trace): void {
  /** What came on each connection before the request that is read now. */
  const before = new WeakMap<object, number>();
  server.on('request', ({ socket }, response) => response.once('close', () => before.set(socket, socket.bytesRead)));
  server.on('clientError', (error: ReadError, socket: Duplex & { bytesRead?: number }) => {
    const bytes = (socket.bytesRead ?? 0) - (before.get(socket) ?? 0);
    if (!socket.writable || error.code === 'ECONNRESET') socket.destroy();
    else if (bytes === 0) answerPlainly(socket, httpRefusal(late));
    else refuseEarly(socket, refusalOf(error), trace, error.code === overflow ? { bytes } : {});
  });
}

const overflow = 'HPE_HEADER_OVERFLOW';
const late = new RelayError('idle_timeout', 'The request did not come in time.');

function refusalOf({ code }: ReadError): RelayError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return late;
  if (code !== overflow) return new RelayError('bad_event', 'What was sent is not HTTP.');
  return new RelayError('too_big', `The header block is over ${maxHeaderBytes} bytes; cookies are a part of it.`);
}

/**
 * Gives each request to who serves it. Offers of other protocols are passed over, as RFC 9110 section 7.8 allows: Java
 * and curl offer HTTP/2 with requests of any kind.
 * @param connected the server's event for a connection that speaks HTTP
 */
export function serve(
  server: Server | TlsServer,
  app: RequestListener,
  upgrade: Upgrade,
  connected: 'connection' | 'secureConnection',
): void {
  // Else Node answers by itself, and nobody learns of it.
  server.on('checkExpectation', app);
  server.on('connect', upgrade);
  server.on('upgrade', (message, socket, head) => {
    if (isForNobody(message)) {
      socket.unshift(Buffer.concat([withoutOffer(message), head]));
      server.emit(connected, socket);
    } else {
      upgrade(message, socket, head);
    }
  });
}

/** Whether what is offered is none of the relay's protocols, on a path where none is needed. */
function isForNobody(message: IncomingMessage): boolean {
  if (/\bwebsocket\b/i.test(message.headers.upgrade ?? '')) return false;
  return message.method !== 'GET' || !isDoor(targetOf(message)?.pathname ?? '');
}

const offers = ['upgrade', 'connection', 'http2-settings'];

/** The head of a request as it came, but for what it offers. */
function withoutOffer({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = rawHeaders.flatMap((name, index) =>
    index % 2 === 1 || offers.includes(name.toLowerCase()) ? [] : [`${name}: ${rawHeaders[index + 1]}`],
  );
  return Buffer.from([`${method} ${url} HTTP/${httpVersion}`, ...lines, '', ''].join('\r\n'), 'latin1');
}

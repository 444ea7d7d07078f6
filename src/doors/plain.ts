/** Refusals on sockets that no HTTP server answers for. */

import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { HttpRefusal } from '../errors.js';

/** Answers with plain HTTP and lets go of the socket, also when the peer does not read. */
export function answerPlainly(
  socket: Duplex,
  { status, headers, body }: HttpRefusal,
  more: Readonly<Record<string, string>> = {},
): void {
  const text = JSON.stringify(body);
  const fields = {
    ...headers,
    ...more,
    Connection: 'close',
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${text}`);
}

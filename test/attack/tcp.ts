/** The door seen from a bare TCP socket: whatever bytes go in, what comes back and how soon. */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Reply {
  /** Of the first answer; null when the connection was closed without one. */
  readonly status: number | null;
  readonly text: string;
  readonly milliseconds: number;
}

/** Opens a connection that has an `error` listener. */
export async function open(address: string): Promise<Socket> {
  const { hostname, port } = new URL(address);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Sends these bytes; resolves with the first answer, or when the connection is closed. */
export async function exchange(address: string, bytes: string | Buffer): Promise<Reply> {
  const socket = await open(address);
  const start = performance.now();
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  return new Promise((resolve) => {
    let text = '';
    const done = () => {
      socket.destroy();
      const status = /^HTTP\/1\.[01] (\d{3}) /.exec(text)?.[1];
      resolve({ status: status ? Number(status) : null, text, milliseconds: performance.now() - start });
    };
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      const length = Number(/^content-length: *(\d+)/im.exec(text)?.[1] ?? 0);
      if (end !== -1 && text.length >= end + 4 + length) done();
    });
    socket.once('close', done);
  });
}

/** The lines of a handshake; a header replaces the usual one of the same name, null leaves it out, a list repeats it. */
export function handshake(
  path: string,
  headers: Record<string, string | readonly string[] | null> = {},
  first = `GET ${path} HTTP/1.1`,
): string {
  const all: Record<string, string | readonly string[] | null> = {
    Host: 'relay.test',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === null ? [] : [value].flat().map((one) => `${name}: ${one}`),
  );
  return `${[first, ...lines].join('\r\n')}\r\n\r\n`;
}

/** An upstream made of bytes: it accepts and configures a session, and then sends whatever it is told to. */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { frame, opcode } from './raw.js';

/** One session at a raw upstream. */
interface RawSession {
  readonly socket: Socket;
  /** Resolves when the relay has sent its configuration, and it was acknowledged. */
  readonly configured: Promise<void>;
}

export interface RawUpstream {
  readonly url: string;
  /** Resolves with the session with this number, counted from 0. */
  session(index: number): Promise<RawSession>;
}

/** A frame as a server sends it. */
export function served(code: number, payload: string | Buffer = '', fin = true): Buffer {
  return frame(code, payload, { masked: false, fin });
}

function said(event: object): Buffer {
  return served(opcode.text, JSON.stringify(event));
}

/** Starts an upstream that is closed when the test is over. */
export async function startRawUpstream(): Promise<RawUpstream> {
  const server = createServer();
  const sessions: RawSession[] = [];
  const waiters = new Set<() => void>();
  server.on('upgrade', (request, socket: Socket) => {
    socket.on('error', () => undefined);
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
    socket.write(`${[...head, `Sec-WebSocket-Accept: ${accept}`].join('\r\n')}\r\n\r\n`);
    const session = { type: 'realtime', id: 'sess_1', object: 'realtime.session', model: 'gpt-realtime' };
    socket.write(said({ type: 'session.created', event_id: 'event_1', session }));
    const configured = once(socket, 'data').then(() => {
      socket.write(said({ type: 'session.updated', event_id: 'event_2', session }));
      socket.resume();
    });
    configured.catch(() => undefined);
    sessions.push({ socket, configured });
    for (const waiter of [...waiters]) waiter();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const { socket } of sessions) socket.destroy();
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    session: (index) =>
      new Promise((resolve) => {
        const look = () => {
          const found = sessions[index];
          if (!found) return;
          waiters.delete(look);
          resolve(found);
        };
        waiters.add(look);
        look();
      }),
  };
}

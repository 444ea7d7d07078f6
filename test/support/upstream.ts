/** An upstream that accepts whatever configuration it gets, for what the emulator does not do to a connection. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';

export interface Upstream {
  readonly url: string;
  /** Connections in the order they came, with the TCP socket under each. */
  readonly connections: { ws: WebSocket; stream: Socket }[];
  /** Texts received after the configuration. */
  readonly texts: string[];
  /** Resolves when this many connections are there. */
  connected(count?: number): Promise<{ ws: WebSocket; stream: Socket }>;
  /** Resolves when this many texts have come. */
  received(count: number): Promise<string[]>;
}

interface UpstreamOptions {
  autoPong?: boolean;
  /** The handshake is answered when this resolves. */
  until?: Promise<void>;
  /** In place of the greeting and the acknowledgement of the configuration. */
  greet?: (ws: WebSocket) => void;
}

/** Starts an upstream that is closed when the test is over. */
export async function startUpstream({ autoPong = true, until, greet }: UpstreamOptions = {}): Promise<Upstream> {
  const server = createServer();
  const connections: Upstream['connections'] = [];
  const texts: string[] = [];
  const waiters = new Set<() => void>();
  const changed = () => {
    for (const waiter of [...waiters]) waiter();
  };
  const when = <T>(probe: () => T | undefined) =>
    new Promise<T>((resolve) => {
      const look = () => {
        const found = probe();
        if (found === undefined) return;
        waiters.delete(look);
        resolve(found);
      };
      waiters.add(look);
      look();
    });
  const options = {
    server,
    autoPong,
    verifyClient: (_info: unknown, accept: (yes: boolean) => void) =>
      void (until ?? Promise.resolve()).then(() => accept(true)),
  };
  new WebSocketServer(options).on('connection', (ws: WebSocket, request) => {
    ws.on('error', () => undefined);
    let configured = false;
    ws.on('message', (data: Buffer) => {
      if (configured) texts.push(data.toString());
      else if (!greet) {
        configured = true;
        const { session } = JSON.parse(data.toString());
        ws.send(
          JSON.stringify({ type: 'session.updated', event_id: 'event_2', session: { id: 'sess_1', ...session } }),
        );
      }
      changed();
    });
    connections.push({ ws, stream: request.socket });
    if (greet) greet(ws);
    else ws.send(JSON.stringify({ type: 'session.created', event_id: 'event_1', session: { id: 'sess_1' } }));
    changed();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const { ws } of connections) ws.terminate();
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections,
    texts,
    connected: (count = 1) => when(() => connections[count - 1]),
    received: (count) => when(() => (texts.length >= count ? texts : undefined)),
  };
}

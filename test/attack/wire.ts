/** A hop between the relay and the emulator that keeps the very bytes the relay sends and can hold, replace or add events. */

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';

/** What Azure's gateway tells of itself in every answer. */
const correlation = ['apim-request-id: CANARY_REQUEST_ID', 'x-ms-region: CANARY_REGION'];

/** One session's way through the hop. */
export interface Passage {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** The frames the relay sent, in order. */
  readonly up: readonly string[];
  /** Sends the relay something the emulator never said. */
  inject(text: string | Buffer | object): void;
  /** Resolves when the relay has sent this many frames. */
  sent(count: number): Promise<void>;
}

export interface Wire {
  readonly url: string;
  /** TCP connections that were ever opened to it, handshakes that failed included. */
  readonly dials: number;
  readonly passages: readonly Passage[];
  /** Resolves with the last of this many passages. */
  arrived(count: number): Promise<Passage>;
  /** What to do with an event of the emulator; null forwards it. */
  down: ((text: string, forward: (text: string) => void, passage: Passage) => void) | null;
  close(): Promise<void>;
}

/** Starts a hop before this emulator. */
export async function startWire(emulator: string): Promise<Wire> {
  const server = createServer();
  const passages: Passage[] = [];
  let dials = 0;
  server.on('connection', () => void dials++);
  const sockets = new Set<WebSocket>();
  const waiters = new Set<() => void>();
  const changed = () => {
    for (const waiter of [...waiters]) waiter();
  };
  const until = <T>(probe: () => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const look = () => {
        const found = probe();
        if (found === undefined) return;
        waiters.delete(look);
        resolve(found);
      };
      waiters.add(look);
      look();
    });
  const wire: Wire = {
    get url() {
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    get dials() {
      return dials;
    },
    passages,
    arrived: (count) => until(() => passages[count - 1]),
    down: null,
    async close() {
      for (const socket of sockets) socket.terminate();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };

  const door = new WebSocketServer({ server, maxPayload: 64 * 1024 * 1024 });
  door.on('headers', (headers) => void headers.push(...correlation));
  door.on('connection', (near, { url = '', headers }) => {
    const far = new WebSocket(emulator.replace('http', 'ws') + url, {
      headers: { 'api-key': String(headers['api-key']) },
      maxPayload: 64 * 1024 * 1024,
    });
    const up: string[] = [];
    const passage: Passage = {
      url,
      headers,
      up,
      inject(text) {
        near.send(typeof text === 'string' || Buffer.isBuffer(text) ? text : JSON.stringify(text), { binary: false });
      },
      async sent(count) {
        await until(() => up[count - 1]);
      },
    };
    passages.push(passage);
    changed();
    near.on('message', (data: Buffer) => {
      const text = data.toString();
      up.push(text);
      changed();
      if (far.readyState === WebSocket.OPEN) far.send(text);
      else far.once('open', () => far.send(text));
    });
    const forward = (text: string) => {
      if (near.readyState === WebSocket.OPEN) near.send(text);
    };
    far.on('message', (data: Buffer) => {
      if (wire.down) wire.down(data.toString(), forward, passage);
      else forward(data.toString());
    });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.close();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return wire;
}

/** A slow way between a client and the relay: a proxy that takes no more than a small buffer ahead of what it sends on. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

const bufferBytes = 16 * 1024;

export interface Link {
  /** In place of the relay's own address. */
  readonly address: string;
  /** Bytes that have left the relay by this way. */
  readonly taken: number;
  /** While it is true, nothing passes in either direction. */
  isTunnel: boolean;
}

/** Starts a link of so many bytes a second towards the client; `rttMs` is what it adds to a round trip. */
export async function startLink(relay: string, bytesPerSecond: number, rttMs: number): Promise<Link> {
  const { hostname, port } = new URL(relay);
  const sockets = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  let taken = 0;
  let isTunnel = false;
  let left: (() => void)[] = [];
  const after = (ms: number, work: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (isTunnel) left.push(work);
      else work();
    }, ms);
    timers.add(timer);
  };
  const server = createServer((client) => {
    const far: Socket = connect({
      port: Number(port),
      host: hostname,
      onread: {
        buffer: Buffer.alloc(bufferBytes),
        callback(length, buffer) {
          taken += length;
          const bytes = Buffer.from(buffer.subarray(0, length));
          after((length / bytesPerSecond) * 1000, () => {
            after(rttMs / 2, () => void client.write(bytes));
            far.resume();
          });
          far.pause();
          return false;
        },
      },
    });
    client.on('data', (bytes) => after(rttMs / 2, () => void far.write(bytes)));
    for (const [one, other] of [
      [client, far],
      [far, client],
    ] as const) {
      sockets.add(one);
      one.setNoDelay();
      one.on('error', () => undefined);
      one.on('close', () => after(rttMs / 2, () => other.destroy()));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const timer of timers) clearTimeout(timer);
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    address: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get taken() {
      return taken;
    },
    get isTunnel() {
      return isTunnel;
    },
    set isTunnel(on) {
      isTunnel = on;
      const works = on ? [] : left;
      if (!on) left = [];
      for (const work of works) work();
    },
  };
}

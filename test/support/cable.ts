/** A cable between a client and the relay, which a test can cut and plug in again. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Cable {
  /** In place of the relay's own address. */
  readonly address: string;
  /** Breaks every connection; what was on its way is lost. */
  cut(): void;
  /** From now on, or no longer, what the relay says is lost, and the client hears nothing of that. */
  isDeaf: boolean;
  /** Whether connections are refused. */
  isUnplugged: boolean;
  /** Breaks every connection; those to come lead to another address. */
  lead(to: string): void;
}

/** Lays a cable that is taken away when the test is over. */
export async function layCable(relay: string): Promise<Cable> {
  let { hostname, port } = new URL(relay);
  const sockets = new Set<Socket>();
  const cable = { address: '', isDeaf: false, isUnplugged: false, cut, lead };
  function cut(): void {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  }
  function lead(to: string): void {
    ({ hostname, port } = new URL(to));
    cut();
  }
  const server = createServer((near) => {
    if (cable.isUnplugged) {
      near.resetAndDestroy();
      return;
    }
    const far = connect({ port: Number(port), host: hostname });
    near.on('data', (bytes) => far.write(bytes));
    far.on('data', (bytes) => void (cable.isDeaf || near.write(bytes)));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.setNoDelay();
      one.on('error', () => undefined);
      one.on('end', () => other.end());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    cut();
    server.close();
  });
  cable.address = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return cable;
}

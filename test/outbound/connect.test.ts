import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { reach } from '../../src/outbound/connect.js';
import type { Outbound } from '../../src/outbound/request.js';
import { RequestError } from '../../src/outbound/request.js';
import { certificate, closedPort, proxy, tcp } from '../upstream/servers.js';

const problem = (url: string, more: Partial<Outbound> = {}) =>
  reach({ url, timeoutMs: 2000, ...more }).then(
    () => null,
    (error: unknown) => (error instanceof RequestError ? error.problem : error),
  );

describe('reaching somebody', () => {
  it('connects, says nothing, and hangs up', async () => {
    let said = '';
    const { port, sockets } = await tcp((socket) => socket.on('data', (bytes) => (said += String(bytes))));
    expect(await problem(`http://127.0.0.1:${port}/`)).toBe(null);
    const [socket] = sockets;
    if (socket && !socket.destroyed) await once(socket, 'close');
    expect([sockets.length, said]).toEqual([1, '']);
  });

  it('fails where nobody listens, where none may be, and where nobody answers', async () => {
    expect(await problem(`http://127.0.0.1:${await closedPort()}/`)).toBe('network');
    expect(await problem('http://169.254.169.254/', { addresses: 'private' })).toBe('address');
    const { port } = await tcp();
    expect(await problem(`https://127.0.0.1:${port}/`, { timeoutMs: 100 })).toBe('timeout');
  });

  it('judges a certificate, and nothing is asked of who has a good one', async () => {
    const { key, cert } = certificate();
    let asked = 0;
    const server = createServer({ key, cert }, (_, response) => {
      asked++;
      response.end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    expect(await problem(url)).toBe('network');
    expect(asked).toBe(0);
  });

  it('goes through the proxy, and names it when it refuses', async () => {
    const { port, sockets } = await tcp();
    const through = await proxy(port);
    expect(await problem('http://orders.example/', { proxy: `http://127.0.0.1:${through.port}` })).toBe(null);
    expect(through.asked).toEqual(['orders.example:80']);
    expect(sockets).toHaveLength(1);
    const refusing = await proxy(port, 403);
    expect(await problem('https://orders.example/', { proxy: `http://127.0.0.1:${refusing.port}` })).toBe('proxy');
  });
});

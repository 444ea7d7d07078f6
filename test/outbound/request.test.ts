import { lookup as realLookup } from 'node:dns';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Outbound, RequestError, request } from '../../src/outbound/request.js';
import { closedPort, proxy, tcp } from '../upstream/servers.js';

vi.mock('node:dns', async (original) => {
  const real = await original<typeof import('node:dns')>();
  return { ...real, lookup: vi.fn() };
});
const lookup = vi.mocked(realLookup);
afterEach(() => void lookup.mockReset());

async function serve(listener: RequestListener): Promise<{ url: string; port: number }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, port };
}

const ask = (url: string, more: Partial<Outbound> = {}) => request({ url, timeoutMs: 2000, maxBytes: 1000, ...more });
const problem = (asked: Promise<unknown>) =>
  asked.then(
    () => 'answered',
    (error: unknown) => (error instanceof RequestError ? error.problem : error),
  );

/** Resolves when the relay's side has let go of this connection. */
async function closed(socket: Socket | undefined): Promise<void> {
  socket?.resume();
  if (socket && !socket.destroyed) await once(socket, 'close');
}

/** Names resolve to these addresses, one after the other. */
function resolveTo(...answers: string[][]): void {
  let asked = 0;
  lookup.mockImplementation(((_name: string, _options: object, done: (error: null, found: object[]) => void) => {
    const found = answers[Math.min(asked++, answers.length - 1)] ?? [];
    done(
      null,
      found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  }) as never);
}

describe('a request', () => {
  it('sends its method, headers and body, and brings status, headers and body back', async () => {
    const { url } = await serve(async (incoming, response) => {
      let body = '';
      for await (const chunk of incoming) body += chunk;
      response.writeHead(418, { 'x-answer': 'yes' }).end(`${incoming.method} ${incoming.headers['x-asked']} ${body}`);
    });
    const answer = await ask(url, { method: 'POST', headers: { 'x-asked': 'so' }, body: 'grüß' });
    expect([answer.status, answer.headers['x-answer'], answer.body.toString()]).toEqual([418, 'yes', 'POST so grüß']);
  });

  it('follows no redirect', async () => {
    let requests = 0;
    const { url } = await serve((_incoming, response) => {
      requests++;
      response.writeHead(302, { location: '/elsewhere' }).end();
    });
    expect((await ask(url)).status).toBe(302);
    expect(requests).toBe(1);
  });

  it('takes an answer of the largest size, and none that is larger', async () => {
    const { url } = await serve((incoming, response) =>
      response.end('x'.repeat(incoming.url === '/more' ? 1001 : 1000)),
    );
    expect((await ask(url)).body.length).toBe(1000);
    expect(await problem(ask(`${url}more`))).toBe('too_big');
  });

  it.each([
    ['that never comes', () => undefined],
    ['that never ends', (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\n\r\nx')],
    ['whose headers never end', (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\nx: y\r\n')],
  ])('does not wait for an answer %s', async (_name, answer) => {
    const { port, sockets } = await tcp(answer);
    expect(await problem(ask(`http://127.0.0.1:${port}/`, { timeoutMs: 50 }))).toBe('timeout');
    await closed(sockets[0]);
  });

  it.each([
    ['is cut off', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx'],
    ['is nonsense', 'so not HTTP\r\n\r\n'],
    ['is nothing', ''],
    ['switches protocols', 'HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'],
  ])('fails when the answer %s', async (_name, answer) => {
    const { port } = await tcp((socket) => socket.once('data', () => socket.end(answer)));
    expect(await problem(ask(`http://127.0.0.1:${port}/`))).toBe('network');
  });

  it('is done with the headers where no body is wanted, and hangs up on an endless one', async () => {
    const { port, sockets } = await tcp((socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\nx'));
    expect(await ask(`http://127.0.0.1:${port}/`, { maxBytes: 0 })).toMatchObject({ status: 200 });
    await closed(sockets[0]);
  });

  it('names the system error of a port where nobody listens', async () => {
    const refused = await ask(`http://127.0.0.1:${await closedPort()}/`).catch((error: unknown) => error);
    expect(refused).toMatchObject({ problem: 'network', code: 'ECONNREFUSED' });
  });

  it('is given up with the reason of its signal, before and during', async () => {
    const { port, sockets } = await tcp();
    const leaving = new AbortController();
    const asked = problem(ask(`http://127.0.0.1:${port}/`, { signal: leaving.signal }));
    while (sockets.length === 0) await new Promise((resolve) => setImmediate(resolve));
    leaving.abort('gone');
    expect(await asked).toBe('gone');
    expect(await problem(ask(`http://127.0.0.1:${port}/`, { signal: leaving.signal }))).toBe('gone');
    expect(sockets).toHaveLength(1);
  });

  it('with a header that cannot be sent fails, and says nothing to anybody', async () => {
    const { port, sockets } = await tcp();
    expect(await problem(ask(`http://127.0.0.1:${port}/`, { headers: { x: 'a\r\nb: c' } }))).toBe('network');
    expect(sockets).toHaveLength(0);
  });
});

describe('a request through a proxy', () => {
  it('asks it for a tunnel, and leaves the name to it', async () => {
    const { port } = await serve((_incoming, response) => response.end('hello'));
    const tunnel = await proxy(port);
    const through = `http://user:pass@127.0.0.1:${tunnel.port}`;
    const answer = await ask('http://tools.invalid/', { proxy: through, addresses: 'public' });
    expect(answer.body.toString()).toBe('hello');
    expect(tunnel.asked).toEqual(['tools.invalid:80']);
    expect(await problem(ask('http://169.254.169.254/', { proxy: through, addresses: 'public' }))).toBe('address');
    expect(tunnel.asked).toHaveLength(1);
  });

  it('blames the proxy that refuses, is not there, hangs up or stays silent', async () => {
    const refuses = await proxy(1, 502);
    const refused = await ask('https://x.invalid/', { proxy: `http://127.0.0.1:${refuses.port}` }).catch(
      (e: unknown) => e,
    );
    expect(refused).toMatchObject({ problem: 'proxy', status: 502 });
    const hangsUp = await tcp((socket) => socket.end());
    for (const port of [await closedPort(), hangsUp.port]) {
      expect(await problem(ask('https://x.invalid/', { proxy: `http://127.0.0.1:${port}` }))).toBe('proxy');
    }
    expect(await problem(ask('https://x.invalid/', { proxy: 'no proxy' }))).toBe('proxy');
    const silent = await tcp();
    expect(await problem(ask('https://x.invalid/', { proxy: `http://127.0.0.1:${silent.port}`, timeoutMs: 50 }))).toBe(
      'timeout',
    );
    await closed(silent.sockets[0]);
  });
});

describe('a request to a name', () => {
  it.each([
    ['public', ['10.0.0.1']],
    ['public', ['127.0.0.1']],
    ['public', ['8.8.8.8', '10.0.0.1']],
    ['public', ['::ffff:169.254.169.254']],
    ['private', ['169.254.169.254']],
    ['private', ['192.0.2.1']],
  ] as const)('is not made where "%s" is permitted and the name leads to %j', async (addresses, found) => {
    const { port, sockets } = await tcp();
    resolveTo([...found]);
    expect(await problem(ask(`http://rebound.example:${port}/`, { addresses }))).toBe('address');
    expect(sockets).toHaveLength(0);
  });

  it('goes to the address that was judged, though the name leads elsewhere a moment later', async () => {
    const { port } = await serve((_incoming, response) => response.end('inside'));
    resolveTo(['127.0.0.1'], ['169.254.169.254']);
    const answer = await ask(`http://rebound.example:${port}/`, { addresses: 'private' });
    expect([answer.body.toString(), lookup.mock.calls.length]).toEqual(['inside', 1]);
  });

  it('is judged each time: no socket of another request serves it', async () => {
    const { port } = await serve((_incoming, response) => response.end('inside'));
    resolveTo(['127.0.0.1']);
    expect(await problem(ask(`http://rebound.example:${port}/`, { addresses: 'private' }))).toBe('answered');
    expect(await problem(ask(`http://rebound.example:${port}/`, { addresses: 'public' }))).toBe('address');
  });
});

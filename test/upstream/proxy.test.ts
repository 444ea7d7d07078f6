import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { RelayError } from '../../src/errors.js';
import { dial } from '../../src/upstream/dial.js';
import { DialFailure } from '../../src/upstream/failure.js';
import { parseEndpoint } from '../../src/upstream/target.js';
import { key } from './key.js';
import { certificate, closedPort, proxy, realtime, target, tcp } from './servers.js';

const options = () => ({ requestId: 'r', signal: new AbortController().signal, timeoutSeconds: 5 });

async function dialApart(file: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: file };
  const { stdout } = await promisify(execFile)('node', ['test/upstream/dialer.mjs', key, ...args], {
    env,
  });
  return stdout.trim();
}

describe('an upstream with TLS', () => {
  it('is reached when its certificate is trusted, directly and through a proxy that sees no credential', async () => {
    const tls = certificate();
    const server = await realtime((socket) => socket.send('hello'), { tls });
    const tunnel = await proxy(server.port);
    const [direct, tunnelled] = await Promise.all([
      dialApart(tls.file, `https://127.0.0.1:${server.port}`),
      dialApart(tls.file, 'https://resource.invalid', `http://user:p%40ss@127.0.0.1:${tunnel.port}`),
    ]);
    expect([direct, tunnelled]).toEqual(['hello', 'hello']);
    expect(tunnel.asked).toEqual(['resource.invalid:443']);
    expect(tunnel.heads[0]).toContain(`Basic ${Buffer.from('user:p@ss').toString('base64')}`);
    expect(tunnel.heads[0]).not.toContain(key);
    expect(server.seen.map(({ headers }) => headers['proxy-authorization'])).toEqual([undefined, undefined]);
  });

  it('is refused through a proxy too when its certificate is not trusted', async () => {
    const server = await realtime(undefined, { tls: certificate() });
    const tunnel = await proxy(server.port);
    const failure = await failureOf(`http://127.0.0.1:${tunnel.port}`);
    expect(failure.kind).toBe('tls');
    expect(server.seen).toHaveLength(0);
  });
});

async function failureOf(url: string): Promise<DialFailure> {
  const upstream = target(1, { endpoint: parseEndpoint('https://resource.invalid'), proxy: url });
  const error = await dial(upstream, options()).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(RelayError);
  expect((error as RelayError).id).toBe('upstream_failed');
  expect((error as RelayError).cause).toBeInstanceOf(DialFailure);
  return (error as RelayError).cause as DialFailure;
}

describe('a proxy', () => {
  it('carries an upstream without TLS, and what it says first', async () => {
    const server = await realtime((socket) => socket.send('hello'));
    const tunnel = await proxy(server.port);
    const { socket } = await dial(target(server.port, { proxy: `http://127.0.0.1:${tunnel.port}` }), options());
    const message = new Promise((resolve) => socket.once('message', (data) => resolve(data.toString())));
    socket.resume();
    expect(await message).toBe('hello');
    socket.terminate();
  });

  it.each([403, 407, 502])('that answers CONNECT with %i is blamed itself', async (status) => {
    const tunnel = await proxy(1, status);
    const failure = await failureOf(`http://user:s3cret-pass@127.0.0.1:${tunnel.port}`);
    expect([failure.kind, failure.status]).toEqual(['proxy', status]);
    expect(JSON.stringify([failure, failure.message, failure.stack])).not.toContain('s3cret');
  });

  it('that is not there, hangs up, talks nonsense or repeats its password is blamed itself', async () => {
    const hangs = await tcp((socket) => socket.end());
    const raves = await tcp((socket) => socket.end('s3cret-pass\r\ns3cret-pass\r\n\r\n'));
    for (const port of [await closedPort(), hangs.port, raves.port]) {
      const failure = await failureOf(`http://user:s3cret-pass@127.0.0.1:${port}`);
      expect(failure.kind).toBe('proxy');
      expect(failure.message).not.toContain('s3cret');
    }
  });

  it('whose URL is none is blamed itself', async () => {
    const failure = await failureOf('user:s3cret-pass@nowhere:x');
    expect(failure.kind).toBe('proxy');
    expect(failure.message).not.toContain('s3cret');
  });
});

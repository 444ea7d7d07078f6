import dns from 'node:dns';
import net, { Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { RelayError } from '../../src/errors.js';
import type { Authorizer } from '../../src/upstream/authorizer.js';
import { dial } from '../../src/upstream/dial.js';
import { DialFailure } from '../../src/upstream/failure.js';
import { parseEndpoint, type UpstreamTarget } from '../../src/upstream/target.js';
import { proxy, target, tcp } from './servers.js';

/** A dial stuck in one phase: `reached` resolves once it is, `released` once nothing of it is left. */
interface Stuck {
  target: UpstreamTarget;
  reached: Promise<unknown>;
  released: () => Promise<unknown>;
}

const secure = (port: number) => ({ endpoint: parseEndpoint(`https://127.0.0.1:${port}`) });

/** A silent TCP server; `reached` when it has been sent something, as by then the dial waits for its answer. */
async function silent(
  speak?: string,
): Promise<{ port: number; reached: Promise<unknown>; released: () => Promise<unknown> }> {
  let spoken: () => void;
  const reached = new Promise<void>((resolve) => {
    spoken = resolve;
  });
  const server = await tcp((socket) =>
    socket.once('data', () => {
      if (speak !== undefined) socket.write(speak);
      spoken();
    }),
  );
  const released = async () => {
    for (const socket of server.sockets)
      if (!socket.closed) await new Promise((resolve) => socket.resume().once('close', resolve));
  };
  return { port: server.port, reached, released };
}

/** Without timers, which may be fake. */
async function called({ mock }: { mock: { calls: unknown[] } }): Promise<void> {
  while (mock.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
}

const phases: Record<string, () => Promise<Stuck>> = {
  async credential() {
    let asked: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const authorize: Authorizer = {
      header: () => {
        asked();
        return new Promise(() => undefined);
      },
      renew: async () => null,
      status: () => ({ ready: false, detail: null }),
    };
    return { target: target(1, { authorize }), reached, released: async () => undefined };
  },
  async 'name lookup'() {
    const lookup = vi.spyOn(dns, 'lookup').mockImplementation((() => undefined) as unknown as typeof dns.lookup);
    return {
      target: target(1, { endpoint: parseEndpoint('https://resource.invalid') }),
      reached: called(lookup),
      released: async () => undefined,
    };
  },
  async 'TCP connection'() {
    const socket = Object.assign(new Socket(), { connecting: true });
    const connect = vi.spyOn(net, 'connect').mockImplementation((() => {
      setImmediate(() => socket.emit('lookup', null, '127.0.0.1', 4));
      return socket;
    }) as typeof net.connect);
    return {
      target: target(1),
      reached: called(connect),
      released: async () => expect(socket.destroyed).toBe(true),
    };
  },
  async 'TLS handshake'() {
    const server = await silent();
    return { target: target(1, secure(server.port)), ...server };
  },
  async upgrade() {
    const server = await silent();
    return { target: target(server.port), ...server };
  },
  async proxy() {
    const server = await silent();
    return { target: target(1, { ...secure(1), proxy: `http://127.0.0.1:${server.port}` }), ...server };
  },
  async 'TLS handshake through a proxy'() {
    const server = await silent();
    const tunnel = await proxy(server.port);
    return { target: target(1, { ...secure(1), proxy: `http://127.0.0.1:${tunnel.port}` }), ...server };
  },
  async 'upgrade through a proxy'() {
    const server = await silent();
    const tunnel = await proxy(server.port);
    return { target: target(1, { proxy: `http://127.0.0.1:${tunnel.port}` }), ...server };
  },
  async 'upgrade, reading the body of a refusal'() {
    const server = await silent('HTTP/1.1 500 No\r\ncontent-length: 900\r\n\r\n{');
    return { target: target(server.port), ...server };
  },
};

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe.each(Object.entries(phases))('a dial stuck in: %s', (name, start) => {
  it('is given up at once when the client leaves', async () => {
    const stuck = await start();
    const leaving = new AbortController();
    const dialed = dial(stuck.target, { requestId: 'r', signal: leaving.signal, timeoutSeconds: 30 });
    const outcome = dialed.catch((error: unknown) => error);
    await stuck.reached;
    const left = performance.now();
    leaving.abort();
    const error = await outcome;
    expect(error).toBeInstanceOf(RelayError);
    expect((error as RelayError).id).toBe('normal');
    await stuck.released();
    expect(performance.now() - left).toBeLessThan(200);
  });

  it('is given up when the time is over, and the operator learns the phase', async () => {
    const stuck = await start();
    const signal = new AbortController().signal;
    const error = await dial(stuck.target, { requestId: 'r', signal, timeoutSeconds: 0.09 }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RelayError);
    const { id, cause } = error as RelayError;
    expect(id).toBe(name === 'credential' ? 'upstream_unavailable' : 'upstream_timeout');
    expect(cause).toBeInstanceOf(DialFailure);
    expect((cause as DialFailure).message).toContain(`(${name.split(/,| through/)[0]})`);
    await stuck.released();
  });
});

describe.each([
  ['TCP connection', 3000],
  ['TLS handshake', 3000],
  ['proxy', 5000],
  ['TLS handshake through a proxy', 3000],
  ['upgrade', 5000],
])('a dial stuck in: %s', (name, milliseconds) => {
  const dialing = async () => {
    const stuck = await (phases[name] as () => Promise<Stuck>)();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const signal = new AbortController().signal;
    const dialed = dial(stuck.target, { requestId: 'r', signal, timeoutSeconds: 30 });
    let error: unknown = null;
    void dialed.catch((thrown: unknown) => {
      error = thrown;
    });
    await stuck.reached;
    await new Promise((resolve) => setImmediate(resolve));
    return { stuck, error: () => error as RelayError | null };
  };

  it(`is given up after ${milliseconds} ms, long before its whole time is over`, async () => {
    const { stuck, error } = await dialing();
    await vi.advanceTimersByTimeAsync(milliseconds - 1);
    expect(error()).toBeNull();
    await vi.advanceTimersByTimeAsync(1);
    expect(error()).toMatchObject({
      id: 'upstream_timeout',
      cause: { message: expect.stringContaining(`Not done within ${milliseconds / 1000} s`) },
    });
    vi.useRealTimers();
    await stuck.released();
  });

  it('is not given up for the time in which the relay itself stood still', async () => {
    const { error } = await dialing();
    const { now } = performance;
    const stood = vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + 7000);
    await vi.advanceTimersByTimeAsync(milliseconds);
    stood.mockRestore();
    expect(error()).toBeNull();
    await vi.advanceTimersByTimeAsync(7000);
    expect(error()).toMatchObject({ id: 'upstream_timeout' });
  });
});

describe('a dial of a client that has left', () => {
  it('is not begun', async () => {
    const server = await tcp();
    const signal = AbortSignal.abort(new RelayError('draining', 'The relay is shutting down.'));
    const error = await dial(target(server.port), { requestId: 'r', signal, timeoutSeconds: 5 }).catch(
      (thrown) => thrown,
    );
    expect((error as RelayError).id).toBe('draining');
    expect(server.sockets).toHaveLength(0);
  });
});

import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Principal } from '../../src/auth/principal.js';
import type { Profile } from '../../src/policy/profile.js';
import { SessionRegistry } from '../../src/session/registry.js';
import { nobody } from '../support/backend.js';
import { holdTime } from '../support/clock.js';

/** A session that leaves the registry when it is ended. */
function session(registry: SessionRegistry, subject: string) {
  const ends: string[] = [];
  const one = {
    id: `${subject}-${registry.size}`,
    admission: { renew: () => undefined, principal: { subject } as Principal, profile: {} as Profile },
    isOpen: true,
    buffered: { up: 0, down: 0 },
    ends,
    tick: () => undefined,
    quietMs: () => 0,
    ask: () => undefined,
    overview: () => null as never,
    backend: nobody,
    taps: { add: () => null },
    drain: () => undefined,
    end(id: string) {
      ends.push(id);
      registry.remove(one);
    },
  };
  registry.reserve();
  registry.add(one);
  return one;
}

describe('a session whose token is withdrawn while it is being admitted', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('ends within a second', () => {
    const withdrawn = new Set<string>();
    const registry = new SessionRegistry(10, ({ subject }) => withdrawn.has(subject));
    const bob = session(registry, 'bob');
    withdrawn.add('alice');
    expect(registry.endRevoked(({ subject }) => subject === 'alice')).toBe(0);
    const alice = session(registry, 'alice');
    vi.advanceTimersByTime(1000);
    expect([alice.ends, bob.ends]).toEqual([['revoked'], []]);
    expect(registry.size).toBe(1);
  });

  it('and those that run are ended at once, all of them', () => {
    const registry = new SessionRegistry(10);
    const all = ['alice', 'bob', 'alice'].map((subject) => session(registry, subject));
    expect(registry.endRevoked(({ subject }) => subject === 'alice')).toBe(2);
    expect(all.map(({ ends }) => ends)).toEqual([['revoked'], [], ['revoked']]);
  });
});

describe('a process that stood still', () => {
  it('reads what came meanwhile before it takes anybody for dead', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const peer = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [socket] = await once(server, 'connection');
    onTestFinished(() => {
      peer.destroy();
      server.close();
    });
    const order: string[] = [];
    socket.on('data', () => order.push('read'));
    const time = holdTime();
    const registry = new SessionRegistry(10);
    session(registry, 'alice').tick = () => void order.push('looked');
    // Where the event loop is when the relay's own timer comes.
    await new Promise((resolve) => setTimeout(resolve, 1));
    peer.write('here');
    await time.pass(10);
    await time.pass(1);
    expect(order).toEqual(['read', 'looked', 'looked']);
  });
});

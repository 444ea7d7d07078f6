import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Principal } from '../../src/auth/principal.js';
import { SessionRegistry } from '../../src/session/registry.js';

/** A session that leaves the registry when it is ended. */
function session(registry: SessionRegistry, subject: string) {
  const ends: string[] = [];
  const one = {
    id: subject,
    admission: { renew: () => undefined, principal: { subject } as Principal },
    isOpen: true,
    buffered: { up: 0, down: 0 },
    ends,
    tick: () => undefined,
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

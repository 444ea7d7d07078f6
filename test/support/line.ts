/** Two ends of a line as two processes have them, and a store behind one. */

import { onTestFinished } from 'vitest';
import { type Ear, Line } from '../../src/cluster/rpc.js';
import { MemoryStore } from '../../src/store/memory.js';
import { answerCall, createRemoteStore } from '../../src/store/remote.js';
import type { Store } from '../../src/store/store.js';

const silent: Ear = { heard: () => undefined, asked: async () => null, failed: () => undefined };

/** Two ends of a line, as processes have them: what passes is copied, and arrives later. */
export function pair(near: Partial<Ear>, far: Partial<Ear>): { near: Line; far: Line } {
  const lines: { near: Line; far: Line } = {
    near: new Line((message) => queueMicrotask(() => lines.far.receive(structuredClone(message))), {
      ...silent,
      ...near,
    }),
    far: new Line((message) => queueMicrotask(() => lines.near.receive(structuredClone(message))), {
      ...silent,
      ...far,
    }),
  };
  return lines;
}

/** A store and the end from which another process asks it. */
export function remoteStore(options: ConstructorParameters<typeof MemoryStore>[0] = {}): {
  store: MemoryStore;
  remote: Store;
  near: Line;
} {
  const store = new MemoryStore(options);
  onTestFinished(() => store.close());
  const { near } = pair({}, { asked: (call) => answerCall(store, call) });
  return { store, near, remote: createRemoteStore((call) => near.ask(call)) };
}

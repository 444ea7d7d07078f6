/** A hook for faults: something happens just before the k-th callback that the relay's sessions have put off. */

import { createHook } from 'node:async_hooks';
import type { Socket } from 'node:net';
import type { Emulator } from '../../src/emulator/emulator.js';
import type { TestRelay } from './relay.js';

/** Where a callback must have been put off to count: by a session or a leg, or by what these have called. */
const ours = /\/src\/(session|legs|tools)\//;
const kinds: ReadonlySet<string> = new Set(['TickObject', 'Microtask', 'PROMISE', 'Immediate', 'Timeout']);

/** Counts the callbacks, and runs `strike` before the one with this number; 0 only counts. */
export function strikeBefore(number: number, strike: () => void): { readonly count: number; stop(): void } {
  const counted = new Set<number>();
  let count = 0;
  const hook = createHook({
    init(id, kind) {
      if (!kinds.has(kind)) return;
      const { stackTraceLimit } = Error;
      Error.stackTraceLimit = 30;
      const { stack = '' } = new Error('where');
      Error.stackTraceLimit = stackTraceLimit;
      if (ours.test(stack)) counted.add(id);
    },
    before(id) {
      if (counted.delete(id) && ++count === number) strike();
    },
  }).enable();
  return {
    get count() {
      return count;
    },
    stop: () => void hook.disable(),
  };
}

/** Where sessions are struck. */
export interface Stage {
  readonly emulator: Emulator;
  readonly server: TestRelay;
}

/** The process's sockets with this port at one end, which are the relay's own where `isNear`. */
export function sockets(url: string, isNear: boolean): Socket[] {
  const port = Number(new URL(url).port);
  // Not in the type definitions; the only way to a socket that belongs to somebody else.
  const handles = (process as unknown as { _getActiveHandles(): object[] })._getActiveHandles();
  return handles.filter(
    (handle): handle is Socket =>
      'remotePort' in handle && (handle as Socket)[isNear ? 'localPort' : 'remotePort'] === port,
  );
}

/** Cuts every connection of a kind but those of the bystander. */
export function cutAll(all: Socket[], spared: ReadonlySet<Socket>, how: 'destroy' | 'resetAndDestroy' | 'end'): void {
  for (const socket of all) if (!spared.has(socket)) socket[how]();
}

/** Each end of both legs, and the ways in which it goes. */
export const strikes = {
  'the client’s end of its leg is reset': ({ server }: Stage) => [sockets(server.address, false), 'resetAndDestroy'],
  'the client’s end of its leg is closed': ({ server }: Stage) => [sockets(server.address, false), 'end'],
  'the relay’s end of the client’s leg is lost': ({ server }: Stage) => [sockets(server.address, true), 'destroy'],
  'the relay’s end of upstream’s leg is lost': ({ emulator }: Stage) => [sockets(emulator.url, false), 'destroy'],
  'upstream’s end of its leg is reset': ({ emulator }: Stage) => [sockets(emulator.url, true), 'resetAndDestroy'],
  'upstream’s end of its leg is closed': ({ emulator }: Stage) => [sockets(emulator.url, true), 'end'],
} as const satisfies Record<string, (stage: Stage) => [Socket[], 'destroy' | 'resetAndDestroy' | 'end']>;

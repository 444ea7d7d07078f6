/** A hook for faults: something happens just before the k-th callback that the relay's sessions have put off. */

import { createHook } from 'node:async_hooks';

/** Where a callback must have been put off to count: by a session or a leg, or by what these have called. */
const ours = /\/src\/(session|legs)\//;
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

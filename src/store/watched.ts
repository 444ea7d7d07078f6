/** A store whose failures are seen, whoever asked and whatever they make of it. */

import { RelayError } from '../errors.js';
import type { Store } from './store.js';

/** The calls that can fail. */
export type StoreCallName = Exclude<keyof Store, 'close'>;

/** The same store; `failed` is told of every call that rejected while the relay was not closing. */
export function watchStore(store: Store, failed: (call: StoreCallName, error: unknown) => void): Store {
  const seen = async <T>(call: StoreCallName, answer: Promise<T>): Promise<T> => {
    try {
      return await answer;
    } catch (error) {
      if (RelayError.from(error).id !== 'draining') failed(call, error);
      throw error;
    }
  };
  return {
    enter: (entry) => seen('enter', store.enter(entry)),
    settle: (holder, totals) => seen('settle', store.settle(holder, totals)),
    leave: (holder) => seen('leave', store.leave(holder)),
    forget: (owner) => seen('forget', store.forget(owner)),
    put: (text) => seen('put', store.put(text)),
    look: (key) => seen('look', store.look(key)),
    take: (key) => seen('take', store.take(key)),
    close: () => store.close(),
  };
}

/** How workers speak to each other: through the primary, which passes on what it does not look into. */

import type { Across } from '../control/across.js';
import { replicaOf } from '../control/replica.js';
import type { StreamMessage } from '../control/streams.js';
import type { PrimaryNotice, WorkerNotice } from './messages.js';

/** Something that can be told. */
interface Listener {
  tell(notice: PrimaryNotice): void;
}

/** All workers, by their addresses. */
export interface Exchange {
  add(address: string, worker: Listener): void;
  /** It is no more: the others are told, for whatever they had with it is over. */
  remove(address: string): void;
  pass(notice: Extract<WorkerNotice, { say: 'pass' }>, from: Listener): void;
  /** Tells a worker what another replica says to it; false where there is none at this address. */
  receive(to: string, message: StreamMessage): boolean;
  /** What is at this address elsewhere cannot be spoken to any more. */
  gone(address: string, hasDied: boolean): void;
}

/**
 * Starts without any worker.
 * @param replica what all of them are called by together
 * @param elsewhere the way to those of other replicas; null where there is none
 */
export function createExchange(
  replica = '',
  elsewhere: () => Pick<Across, 'pass' | 'gone'> | null = () => null,
): Exchange {
  const workers = new Map<string, Listener>();
  const gone = (address: string, hasDied: boolean) => {
    for (const worker of workers.values()) worker.tell({ say: 'gone', address, hasDied });
  };
  return {
    gone,
    add: (address, worker) => void workers.set(address, worker),
    remove(address) {
      workers.delete(address);
      gone(address, false);
      elsewhere()?.gone(address);
    },
    pass({ to, message }, from) {
      const worker = workers.get(to);
      const others = replicaOf(to) === replica ? null : elsewhere();
      if (worker) worker.tell({ say: 'passed', message });
      else if (others) others.pass(to, message);
      else from.tell({ say: 'gone', address: to, hasDied: false });
    },
    receive(to, message) {
      const worker = workers.get(to);
      worker?.tell({ say: 'passed', message });
      return worker !== undefined;
    },
  };
}

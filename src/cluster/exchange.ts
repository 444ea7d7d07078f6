/** How workers speak to each other: through the primary, which passes on what it does not look into. */

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
}

/** Starts without any worker. */
export function createExchange(): Exchange {
  const workers = new Map<string, Listener>();
  return {
    add: (address, worker) => void workers.set(address, worker),
    remove(address) {
      workers.delete(address);
      for (const worker of workers.values()) worker.tell({ say: 'gone', address });
    },
    pass({ to, message }, from) {
      const worker = workers.get(to);
      if (worker) worker.tell({ say: 'passed', message });
      else from.tell({ say: 'gone', address: to });
    },
  };
}

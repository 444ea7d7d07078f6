/** The memory that an instance may spend on what waits, over all owners, and what it has spent. */

import { totalmem } from 'node:os';

/** Somebody who keeps bytes for others. */
export interface Owner {
  readonly name: string;
  bytes(): number;
  /** Lets go of so many bytes, or of what it can, before any session has to; gives how many that were. */
  shed?(bytes: number): number;
}

/** What a process may keep waiting when nobody says: a third of the memory there is, shared by its workers. */
export function bytesByDefault(workers: number): number {
  const total = totalmem();
  // In a container its limit; without one a number beyond all memory, or none.
  const constrained = process.constrainedMemory() ?? 0;
  const memory = constrained > 0 && constrained < total ? constrained : total;
  return Math.floor(memory / 3 / workers);
}

export class Ledger {
  readonly #owners: Owner[] = [];
  readonly #budget: () => number;

  constructor(budget: () => number) {
    this.#budget = budget;
  }

  add(owner: Owner): void {
    this.#owners.push(owner);
  }

  get bytes(): number {
    return this.#owners.reduce((sum, owner) => sum + owner.bytes(), 0);
  }

  /** Has those let go of so many bytes who can, and gives how many that were. */
  shed(bytes: number): number {
    return this.#owners.reduce((sum, owner) => (sum < bytes ? sum + (owner.shed?.(bytes - sum) ?? 0) : sum), 0);
  }

  /** By how much the budget is overspent; 0 or less while it is not. */
  get excess(): number {
    return this.bytes - this.#budget();
  }
}

/** Answers that are wanted and were not asked for yet, in the order in which they came to be wanted. */

import type { WantEnd } from '../tools/answering.js';
import { take } from './unanswered.js';
import type { Want } from './wants.js';

/** A want and how far it has come. */
export interface Owed {
  readonly want: Want;
  isAcknowledged: boolean;
  /** Another response has answered the same while upstream was being asked. */
  isOvertaken: boolean;
  /** How often upstream has said that it is busy. */
  tries: number;
}

/** More than an honest session has at a time. */
const most = 64;
/** A client's comes before all of them. */
const order = ['backend', 'again', 'follow-up', 'filler'] as const;

/** Makes what is owed of a want. */
export function owedFor(want: Want): Owed {
  return { want, isAcknowledged: false, isOvertaken: false, tries: 0 };
}

/** Whether it is a backend that an answer is for. */
export function isForBackend(owed: Owed | null): boolean {
  return owed?.want.kind === 'backend';
}

/** Whether any answer would do. */
export function isSettled({ isAcknowledged, want }: Owed): boolean {
  return want.kind === 'again' || (isAcknowledged && want.kind === 'follow-up');
}

export class Owing {
  readonly #owed: Owed[] = [];

  get isEmpty(): boolean {
    return this.#owed.length === 0;
  }

  get hasBackends(): boolean {
    return this.#owed.some(isForBackend);
  }

  /** One over the limit is refused. */
  add(want: Want): Owed {
    const owed = owedFor(want);
    this.#owed.push(owed);
    if (this.#owed.length > most) this.end(owed, 'refused');
    return owed;
  }

  /** What was asked for in vain is owed as before. */
  again(owed: Owed): void {
    this.#owed.unshift(owed);
  }

  /** What comes next; only backends' where nothing else may. */
  next(mayAll: boolean): Owed | undefined {
    const kinds = order.filter((kind) => kind === 'backend' || mayAll);
    return kinds.flatMap((kind) => this.#owed.find(({ want }) => want.kind === kind) ?? [])[0];
  }

  /** It is asked for. */
  take(owed: Owed): void {
    take(this.#owed, (one) => one === owed);
  }

  end(owed: Owed, how: WantEnd): void {
    if (take(this.#owed, (one) => one === owed)) owed.want.ended?.(how);
  }

  endAll(how: WantEnd, isMeant: (owed: Owed) => boolean = () => true): void {
    for (const owed of this.#owed.filter(isMeant)) this.end(owed, how);
  }
}

/** The account of one session: what its budgets still allow. */

import type { Budget } from '../admission/budget.js';
import type { RelayError } from '../errors.js';
import type { JsonObject } from '../protocol/event.js';
import type { Turns } from './pending.js';

/** What an account needs of its session. */
export interface AccountPorts {
  /** Tells a client that wants to know. */
  warn(warning: JsonObject): void;
  /** What upstream owes; null while there is no upstream. */
  turns(): Pick<Turns, 'running'> | null;
  /** Asks upstream to stop a response. */
  cancel(responseId: string): void;
  /** Ends the session, unless it has ended. */
  end(error: RelayError): void;
}

const none: ReadonlySet<string> = new Set();
/** How long the answer that runs when a budget is used up has to end. */
const lastAnswerMs = 5000;

export class Account {
  readonly #budget: Budget;
  readonly #ports: AccountPorts;
  #spent: { readonly error: RelayError; readonly by: number } | null = null;

  constructor(budget: Budget, ports: AccountPorts) {
    this.#budget = budget;
    this.#ports = ports;
  }

  /** The session is open. */
  start(now: number): void {
    const nearlySpent = (warning: object) => this.#ports.warn({ ...warning });
    this.#budget.start({ nearlySpent, spent: (error) => this.#stop(error) }, now);
  }

  /** Something that costs is over, for so many tokens. */
  charge(tokens: number): void {
    this.#budget.tokens(tokens);
    // The event that says so has yet to reach the client.
    if (this.#spent) queueMicrotask(() => this.#end());
  }

  /** To be called about once a second. */
  tick(now: number): void {
    this.#budget.tick(now);
    if (this.#spent) this.#end(now);
  }

  /** A budget is used up: the answer that runs is cut short, and the session ends with it. */
  #stop(error: RelayError): void {
    if (this.#spent) return;
    this.#spent = { error, by: performance.now() + lastAnswerMs };
    for (const id of this.#running) this.#ports.cancel(id);
    this.#end();
  }

  get #running(): ReadonlySet<string> {
    return this.#ports.turns()?.running ?? none;
  }

  #end(now = 0): void {
    if (!this.#spent || (this.#running.size > 0 && now < this.#spent.by)) return;
    this.#ports.end(this.#spent.error);
  }

  /** The session has ended: its time is over, and what it cost is still to be told. */
  stop(now: number): void {
    this.#budget.stop(now);
  }

  /** Nothing more will be charged. */
  close(): void {
    this.#budget.close();
  }
}

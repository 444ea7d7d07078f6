/** The account of one session: what its budgets still allow, and what it cost in the end. */

import type { Budget } from '../admission/budget.js';
import type { RelayError } from '../errors.js';
import type { JsonObject } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Turns } from './pending.js';
import type { Settlement, Settlements } from './settlement.js';

/** What an account needs of its session. */
export interface AccountPorts {
  /** Tells a client that wants to know. */
  warn(warning: JsonObject): void;
  /** Speaks upstream; also after the end. */
  say(body: JsonObject): void;
  /** Ends the session, unless it has ended. */
  end(error: RelayError): void;
  /** From now on what upstream sends is only counted; `heard` is called after each event. */
  listen(heard: () => void): void;
  /** The cost is final and upstream is not needed any more; `complete` is false when it did not get to say everything. */
  closed(complete: boolean): void;
}

/** How long the answer that runs when a budget is used up has to end. */
const lastAnswerMs = 5000;

export class Account {
  readonly #budget: Budget;
  readonly #turns: Turns;
  readonly #ports: AccountPorts;
  #spent: { readonly error: RelayError; readonly by: number } | null = null;
  #settlement: Settlement | null = null;

  constructor(budget: Budget, turns: Turns, ports: AccountPorts) {
    this.#budget = budget;
    this.#turns = turns;
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
    for (const id of this.#turns.running) this.#cancel(id);
    this.#end();
  }

  #cancel(responseId: string): void {
    this.#ports.say({ type: family.up.cancel, response_id: responseId });
  }

  #end(now = 0): void {
    if (!this.#spent || (this.#turns.running.size > 0 && now < this.#spent.by)) return;
    this.#ports.end(this.#spent.error);
  }

  /**
   * The session has ended. Where something is still to be paid for, upstream is kept until it has said what it costs, in one
   * of the instance's settlements; null when upstream is not to be relied on any more.
   */
  close(now: number, settlements: Settlements | null): void {
    this.#budget.stop(now);
    if (this.#turns.isUnsettled()) {
      this.#settlement =
        settlements?.begin({
          running: this.#turns.running,
          isUnsettled: () => this.#turns.isUnsettled(),
          cancel: (id) => this.#cancel(id),
          settled: (complete) => this.#final(complete),
        }) ?? null;
    }
    if (this.#settlement) this.#ports.listen(() => this.#settlement?.heard());
    else this.#final(!this.#turns.isUnsettled());
  }

  /** Nothing more will come from upstream. */
  finish(): void {
    this.#settlement?.finish();
  }

  #final(complete: boolean): void {
    this.#budget.close();
    this.#ports.closed(complete);
  }
}

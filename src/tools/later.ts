/** A runner for a session whose model knows of no function yet: it costs nothing until there is one. */

import type { RealtimeEvent, Step } from '../protocol/event.js';
import type { Runner } from './runner.js';

/**
 * Makes a runner when it is needed.
 * @param isNeeded looked at with each event until it is
 */
export function createLater(isNeeded: () => boolean, make: () => Runner): Runner {
  return new LaterRunner(isNeeded, make);
}

class LaterRunner implements Runner {
  readonly #isNeeded: () => boolean;
  readonly #make: () => Runner;
  #runner: Runner | null = null;

  constructor(isNeeded: () => boolean, make: () => Runner) {
    this.#isNeeded = isNeeded;
    this.#make = make;
  }

  readonly down: Step = (event) => this.#see(event)?.down(event) ?? event;

  readonly up: Step = (event) => this.#see(event)?.up(event) ?? event;

  #see({ body }: RealtimeEvent): Runner | null {
    if (this.#runner === null && body !== null && this.#isNeeded()) this.#runner = this.#make();
    return this.#runner;
  }

  get isWorking(): boolean {
    return this.#runner?.isWorking === true;
  }

  isForged(...of: Parameters<Runner['isForged']>): boolean {
    return this.#runner?.isForged(...of) === true;
  }

  isServed(callId: unknown): boolean {
    return this.#runner?.isServed(callId) === true;
  }

  awaits(responseId: unknown): boolean {
    return this.#runner?.awaits(responseId) === true;
  }

  isBackends(callId: string): boolean {
    return this.#runner?.forBackends.isBackends(callId) === true;
  }

  answer(callId: string, output: string): ReturnType<Runner['forBackends']['answer']> {
    return this.#runner?.forBackends.answer(callId, output) ?? null;
  }

  isDecided(requestId: string): boolean {
    return this.#runner?.forBackends.isDecided(requestId) === true;
  }

  decide(requestId: string): boolean {
    return this.#runner?.forBackends.decide(requestId) === true;
  }

  get forBackends(): Runner['forBackends'] {
    return this;
  }

  close(): void {
    this.#runner?.close();
  }
}

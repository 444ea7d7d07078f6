/** Stops waiting for what cannot be stopped. */

/** Settles as `promise` does, or rejects with the signal's reason as soon as that is aborted. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const halt = () => reject(signal.reason);
    signal.addEventListener('abort', halt, { once: true });
    if (signal.aborted) halt();
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', halt));
  });
}

/**
 * Stops one thing that is under way. What an AbortController is for, without its event target, which takes as long to make
 * as the rest of a dial's bookkeeping.
 */
export class Stop {
  #reason: unknown = null;
  #halt: ((reason: unknown) => void) | null = null;

  /** Why it was stopped; null while it was not. */
  get reason(): unknown {
    return this.#reason;
  }

  /** Stops it. Only the first reason counts. */
  because(reason: unknown): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.#halt?.(reason);
  }

  /** Names what is under way now, by what halts it: at once, where it is stopped already. Null: nothing is. */
  watch(halt: ((reason: unknown) => void) | null): void {
    this.#halt = halt;
    if (this.#reason !== null) halt?.(this.#reason);
  }
}

const standstillMs = 250;

/**
 * Calls when the time is over, and answers with what ends the waiting. Where this process stood still meanwhile, what has
 * come for it is yet to be read: that much longer is waited, once.
 */
export function patience(milliseconds: number, expired: () => void): () => void {
  const due = performance.now() + milliseconds;
  let timer = setTimeout(() => {
    const late = performance.now() - due;
    if (late < standstillMs) expired();
    else timer = setTimeout(expired, late);
  }, milliseconds);
  return () => clearTimeout(timer);
}

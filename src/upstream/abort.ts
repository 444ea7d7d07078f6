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

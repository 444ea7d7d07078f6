/** The signals that ask a process to end. */

/** Calls back at the next signal to end. */
export function onSignal(listener: () => void): void {
  process.once('SIGTERM', listener);
  process.once('SIGINT', listener);
}

/** Resolves at the next signal to end. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => onSignal(resolve));
}

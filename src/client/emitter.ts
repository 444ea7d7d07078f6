/** Events with types: each name has the one shape of its details. */

/** Tells listeners what happens, in the order in which they came. */
export class Emitter<Events extends object> {
  readonly #listeners: { [Name in keyof Events]?: Set<(detail: Events[Name]) => void> } = {};

  /** Listens to one kind of event; the function it returns ends that. */
  on<Name extends keyof Events>(name: Name, listener: (detail: Events[Name]) => void): () => void {
    let listeners = this.#listeners[name];
    if (!listeners) {
      listeners = new Set();
      this.#listeners[name] = listeners;
    }
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  protected emit<Name extends keyof Events>(name: Name, detail: Events[Name]): void {
    for (const listener of this.#listeners[name] ?? []) {
      try {
        listener(detail);
      } catch (error) {
        // A fault of one listener is the page's, for its console: neither the others nor the session may miss a beat.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

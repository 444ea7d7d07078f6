/** The clock of a conversation at its natural pace. */

/** Short slots: conversations that all spoke at once would measure how long the others in the queue take. */
export const slotsPerSecond = 500;

/** Calls back for every slot of the second, however late the timer is; returns what ends it. */
export function everySlot(visit: (slot: number) => void): () => void {
  const slotMs = 1000 / slotsPerSecond;
  const start = performance.now();
  let slot = 0;
  const timer = setInterval(() => {
    const due = Math.floor((performance.now() - start) / slotMs);
    while (slot < due) visit(slot++);
  }, slotMs);
  return () => clearInterval(timer);
}

/**
 * Follows which connections Node's round robin has handed to a worker that has not taken them. It hands over one at a time and
 * waits; a worker that hangs keeps that one for ever, and so does the leader when the worker dies. The messages are private
 * to Node's `cluster` (alike from 0.12 to 24); where they have another form, nothing is changed and nothing gained.
 */

import type { Worker } from 'node:cluster';

/** What is known of the connections on their way to one worker. */
export interface Handover {
  /** The worker is no more: what it had not taken goes to the others. */
  giveBack(): void;
}

/** @param refuses whether connections should go to other workers now */
export function watchHandover({ process }: Worker, refuses: () => boolean): Handover {
  const underway = new Set<number>();
  const decline = (seq: number) => {
    underway.delete(seq);
    // As a worker says that is shutting down.
    process.emit(
      'internalMessage' as 'message',
      { cmd: 'NODE_CLUSTER', ack: seq, accepted: false },
      undefined as never,
    );
  };
  const send = process.send.bind(process) as (...args: unknown[]) => boolean;
  process.send = (...args: unknown[]): boolean => {
    const seq = connectionIn(args[0]);
    if (seq === null) return send(...args);
    underway.add(seq);
    if (!refuses()) return send(...args);
    setImmediate(decline, seq);
    return true;
  };
  process.on('internalMessage' as 'message', (message) => underway.delete((message as { ack?: number }).ack ?? -1));
  return {
    giveBack() {
      for (const seq of underway) decline(seq);
    },
  };
}

function connectionIn(message: unknown): number | null {
  const { cmd, act, seq } = (message ?? {}) as { cmd?: unknown; act?: unknown; seq?: unknown };
  return cmd === 'NODE_CLUSTER' && act === 'newconn' && typeof seq === 'number' ? seq : null;
}

/** When an upstream is left alone: after it asked for it, or after it failed several times in a row. */

/** The state of one upstream; times are milliseconds of the pool's clock. */
export interface Circuit {
  /** Milliseconds until a dial may be tried; 0 when it may be now. */
  wait(): number;
  /** Call before a dial. After failures in a row only one dial at a time is let through until one succeeds. */
  begin(): void;
  succeeded(): void;
  /** `coolDownMs` when the upstream said how long it wants to be left alone. */
  failed(coolDownMs: number | undefined): void;
  /** The dial told nothing about the upstream: the client left, or there was no credential. */
  abandoned(): void;
}

const failuresToOpen = 5;
const shortestMs = 1000;
const longestMs = 30_000;

export function createCircuit(now: () => number): Circuit {
  let failures = 0;
  let closedUntil = 0;
  let probing = false;
  const isProbe = () => failures >= failuresToOpen;
  return {
    wait() {
      const remaining = closedUntil - now();
      if (remaining > 0) return remaining;
      return isProbe() && probing ? shortestMs : 0;
    },
    begin() {
      if (isProbe()) probing = true;
    },
    succeeded() {
      failures = 0;
      closedUntil = 0;
      probing = false;
    },
    failed(coolDownMs) {
      probing = false;
      if (coolDownMs !== undefined) {
        closedUntil = Math.max(closedUntil, now() + coolDownMs);
        return;
      }
      failures += 1;
      if (!isProbe()) return;
      const pause = Math.min(longestMs, shortestMs * 2 ** (failures - failuresToOpen));
      closedUntil = Math.max(closedUntil, now() + pause);
    },
    abandoned() {
      probing = false;
    },
  };
}

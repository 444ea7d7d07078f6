/** When an upstream is left alone: after it asked for it, or after it failed or stayed silent several times in a row. */

/** The health of one upstream; times are milliseconds. */
export interface Circuit {
  /** Until a dial may be tried; 0 when it may be now. */
  wait(): number;
  /** Call before a dial, and exactly one of the answer's functions after it. */
  begin(): Outcome;
  /** It runs a session that was opened there. */
  heard(): void;
  /** A session that ran there was lost. */
  lost(): void;
  /** It was opened, and then let the time pass in which a session begins. */
  silent(): void;
}

interface Outcome {
  succeeded(): void;
  /**
   * `coolDownMs` when the upstream said how long it wants to be left alone; `weight` is how often the failure counts, since
   * one that took seconds is worse for the user than one that was there at once.
   */
  failed(coolDownMs: number | undefined, weight: number): void;
  /** The dial told nothing about the upstream: the client left, or there was no credential. */
  abandoned(): void;
}

const failuresToOpen = 5;
const shortestMs = 1000;
const longestMs = 30_000;
/** A dial that succeeds is no sign that one that stays silent has found its words. */
const trialEveryMs = 10_000;

/** After five failures in a row: a pause of 1 s, doubled to 30 s, with a single dial after each as a probe. */
export function createCircuit(now: () => number): Circuit {
  let failures = 0;
  let pauses = 0;
  let openUntil = 0;
  let probing = false;
  let silences = 0;
  const isMute = () => silences >= failuresToOpen;
  return {
    wait() {
      const remaining = openUntil - now();
      if (remaining > 0) return remaining;
      return probing ? shortestMs : 0;
    },
    begin() {
      const isProbe = failures >= failuresToOpen;
      if (isProbe) probing = true;
      // Nobody has to say how the trial went: until it was heard, the next one waits for its time.
      if (isMute()) openUntil = Math.max(openUntil, now() + trialEveryMs);
      const end = () => {
        if (isProbe) probing = false;
      };
      return {
        succeeded() {
          end();
          failures = 0;
          pauses = 0;
          if (!isMute()) openUntil = 0;
          probing = false;
        },
        failed(coolDownMs, weight) {
          end();
          if (coolDownMs !== undefined) {
            openUntil = Math.max(openUntil, now() + coolDownMs);
            return;
          }
          // Dials that were under way together fail together: that is one fault, not a reason to stay away longer.
          if (openUntil > now()) return;
          if (failures >= failuresToOpen && !isProbe) return;
          failures += weight;
          if (failures < failuresToOpen) return;
          openUntil = now() + Math.min(longestMs, shortestMs * 2 ** pauses);
          pauses += 1;
        },
        abandoned: end,
      };
    },
    heard() {
      if (isMute()) openUntil = 0;
      silences = 0;
    },
    lost() {
      this.begin().failed(undefined, 1);
    },
    silent() {
      const wasMute = isMute();
      silences += 2;
      if (isMute() && !wasMute) openUntil = Math.max(openUntil, now() + shortestMs);
    },
  };
}

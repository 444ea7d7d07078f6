/** Notices workers that do not say any more that they live, and ends those that stay so. */

import type { Log } from '../telemetry/log.js';

/** How often a worker says that it lives, unless a test is in a hurry. */
export const beatMs = 1000;

/** Looks without a word: no new connections from here on, and a line in the log. */
const silentLooks = 5;
/** It is taken for hung: its sessions have been silent for as long. */
const hungLooks = 15;
/** One that has not begun to listen has much to read from a disk. */
const startLooks = 60;

/** One worker as it is watched. */
export interface Patient {
  readonly worker: number;
  readonly pid: number | undefined;
  kill(): void;
}

/** What is told of a worker while it is watched. */
export interface Pulse {
  readonly isSilent: boolean;
  /** Something came from it. */
  beat(): void;
  /** It listens: from now on it is expected to answer. */
  listens(): void;
  remove(): void;
}

interface Watched extends Patient {
  looks: number;
  listens: boolean;
}

export class Pulses {
  readonly #log: Log;
  readonly #hung: () => void;
  readonly #everyMs: number;
  readonly #watched = new Set<Watched>();
  readonly #timer: NodeJS.Timeout;

  /**
   * @param hung told of each worker that is killed because it hangs
   * @param everyMs between two looks: as often as workers say something
   */
  constructor(log: Log, hung: () => void, everyMs: number) {
    this.#log = log;
    this.#hung = hung;
    this.#everyMs = everyMs;
    this.#timer = setInterval(() => this.look(), everyMs);
  }

  /** Workers that listen and are not heard. */
  get silent(): number {
    return [...this.#watched].filter(isSilent).length;
  }

  /** Whether another one would take what one that is silent does not. */
  get hasLiving(): boolean {
    return [...this.#watched].some((one) => one.listens && !isSilent(one));
  }

  add(patient: Patient): Pulse {
    const one: Watched = { ...patient, looks: 0, listens: false };
    this.#watched.add(one);
    return {
      get isSilent() {
        return isSilent(one);
      },
      beat: () => {
        if (isSilent(one))
          this.#log.info({ worker: one.worker, pid: one.pid, seconds: this.#secondsOf(one) }, 'worker.heard');
        one.looks = 0;
      },
      listens: () => {
        one.listens = true;
      },
      remove: () => void this.#watched.delete(one),
    };
  }

  /** As often as they beat. It counts looks and no time: when this process stood still, the others need not have. */
  look(): void {
    for (const one of this.#watched) {
      one.looks++;
      const what = { worker: one.worker, pid: one.pid, seconds: this.#secondsOf(one) };
      if (one.listens && one.looks === silentLooks) this.#log.warn(what, 'worker.silent');
      if (one.looks < (one.listens ? hungLooks : startLooks)) continue;
      this.#log.error(what, 'worker.hung');
      this.#hung();
      this.#watched.delete(one);
      one.kill();
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #secondsOf({ looks }: Watched): number {
    return (looks * this.#everyMs) / 1000;
  }
}

function isSilent({ listens, looks }: Watched): boolean {
  return listens && looks >= silentLooks;
}

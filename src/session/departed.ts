/** Sessions that are over, for as long as their clients may want to go on with them: these learn how they ended. */

import { timingSafeEqual } from 'node:crypto';
import type { RelayError } from '../errors.js';
import { type Comer, hashOf, ownerOf, type Resumption } from './resumption.js';

/** A session that has ended. */
interface Ended {
  readonly id: string;
  readonly resumption?: Pick<Resumption, 'keys' | 'seconds'> | null;
  readonly admission: { readonly principal: Comer['principal']; readonly dialect: Comer['dialect'] };
}

interface Departure {
  readonly keys: readonly Buffer[];
  readonly owner: string;
  readonly why: RelayError;
  readonly until: number;
}

const most = 10_000;
/** Who comes after one of these begins anew. */
const anew: readonly string[] = ['normal', 'client_lost', 'draining'];

/** Remembers the ends of sessions. */
export class Departed {
  readonly #departures = new Map<string, Departure>();

  /** Takes note of an end, where somebody may ask for it. */
  add({ id, resumption, admission }: Ended, why: RelayError): void {
    if (!resumption || resumption.keys.length === 0) return;
    const until = performance.now() + resumption.seconds * 1000;
    this.#departures.set(id, { keys: resumption.keys, owner: ownerOf(admission), why, until });
    const now = performance.now();
    for (const [oldest, departure] of this.#departures) {
      if (departure.until > now && this.#departures.size <= most) break;
      this.#departures.delete(oldest);
    }
  }

  /** How a session ended, for who could have gone on with it. */
  find(id: string, comer: Comer): 'unknown' | 'late' | RelayError {
    const departure = this.#departures.get(id);
    if (!departure || departure.until <= performance.now()) return 'unknown';
    const hash = hashOf(comer.token);
    const isTheirs = departure.owner === ownerOf(comer) && departure.keys.some((key) => timingSafeEqual(key, hash));
    if (!isTheirs) return 'unknown';
    return anew.includes(departure.why.id) ? 'late' : departure.why;
  }
}

/** All sessions of this instance: how many there may be, their one clock, and how they end at shutdown. */

import type { Admission } from '../admission/admission.js';
import type { Places } from '../admission/stay.js';
import type { Principal } from '../auth/principal.js';
import { type Moment, moment } from '../clock.js';
import type { ExitId } from '../errors.js';
import type { Initiator } from '../telemetry/labels.js';
import { inTime } from '../wait.js';
import type { Backend } from './backend.js';
import type { Buffered } from './buffered.js';
import type { Overview } from './overview.js';
import type { Resumption } from './resumption.js';
import type { Taps } from './taps.js';

/** A session, whichever way its client is connected. */
export interface Registered {
  readonly id: string;
  /** Of a call: what its client knows it by, with the same digits as `id`. */
  readonly callId?: string | undefined;
  readonly admission: Pick<Admission, 'renew' | 'principal' | 'profile'>;
  readonly isOpen: boolean;
  /** Bytes waiting to be written, by the direction they travel. */
  readonly buffered: Buffered;
  /** Milliseconds that its events have taken of the process. */
  readonly workMs?: number;
  /** Called about once a second. */
  tick(at: Moment): void;
  /** Milliseconds since anything came from the client; 0 where that cannot be known. `now` is `performance.now()`. */
  quietMs(now: number): number;
  /** What can be told of it. */
  overview(): Overview;
  readonly backend: Omit<Backend, 'close'>;
  /** Who sees what passes. */
  readonly taps: Pick<Taps, 'add'>;
  /** How its client comes back to it; null or left out where it cannot. */
  readonly resumption?: Resumption | null;
  /** Asks the client for a sign of life. */
  ask(): void;
  /** Ends the session as soon as no answer is running. */
  drain(): void;
  end(id: ExitId, initiator: Initiator, ending?: { readonly message?: string }): void;
}

const tickMs = 1000;
const renewTicks = 20;

export class SessionRegistry {
  readonly #sessions = new Map<string, Registered>();
  /** Those that have come since the last tick. */
  readonly #fresh = new Set<Registered>();
  readonly #isRevoked: (principal: Principal) => boolean;
  #limit: number;
  #pending = 0;
  /** How many more the instance has means for, until somebody looks again. */
  #means = Number.POSITIVE_INFINITY;
  #connections: () => number = () => 0;
  #connectionsBefore = 0;
  /** Places that were taken since the last look. */
  #reserved = 0;
  #ticks = 0;
  #tickedAt = 0;
  #draining = false;
  #ticker: NodeJS.Timeout | null = null;
  #whenEmpty: (() => void) | null = null;

  /**
   * @param limit sessions at the same time, those still being admitted included
   * @param isRevoked whether somebody's right to a session was withdrawn
   */
  constructor(limit: number, isRevoked: (principal: Principal) => boolean = () => false) {
    this.#limit = limit;
    this.#isRevoked = isRevoked;
  }

  /** Sets another limit; sessions over it go on, and nobody is admitted until there is room. */
  resize(limit: number): void {
    this.#limit = limit;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get isFull(): boolean {
    return this.#sessions.size + this.#pending >= this.#limit;
  }

  /** The instance is short of something: nobody is admitted for now. */
  get isShort(): boolean {
    // Connections that have come since the last look take a descriptor each, also those of whom nothing becomes; one asks.
    const others = Math.max(0, this.#connections() - this.#connectionsBefore - this.#reserved - 1);
    return this.#means - others / 2 < 1;
  }

  /** Tells how many connections of clients there are, from now on. */
  watch(connections: () => number): void {
    this.#connections = connections;
  }

  /** Has means for so many from now on, and for those who are being admitted; called again about once a second. */
  letIn(count: number): void {
    // Half of what they need they have: their client's connection. Who has just come may have no more yet.
    this.#means = count - (this.#pending + this.#fresh.size) / 2;
    this.#connectionsBefore = this.#connections();
    this.#reserved = 0;
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  [Symbol.iterator](): Iterator<Registered> {
    return this.#sessions.values();
  }

  /** Takes one of the instance's places, or says that there is none; `add` or `giveUp` must follow. */
  reserve(): boolean {
    if (this.isFull) return false;
    this.#pending++;
    this.#means--;
    this.#reserved++;
    return true;
  }

  /** Gives back a reserved place that no session came to use. */
  giveUp(): void {
    this.#pending--;
    this.#means++;
    this.#reserved--;
  }

  /** Puts a session into its reserved place; one clock runs while there is any. */
  add(session: Registered): void {
    this.#pending--;
    this.#sessions.set(session.id, session);
    this.#fresh.add(session);
    if (this.#ticker) return;
    this.#tickedAt = performance.now();
    this.#ticker = setInterval(this.#look, tickMs);
  }

  remove(session: Registered): void {
    this.#sessions.delete(session.id);
    this.#fresh.delete(session);
    if (this.#sessions.size > 0) return;
    if (this.#ticker) clearInterval(this.#ticker);
    this.#ticker = null;
    this.#whenEmpty?.();
  }

  readonly #look = (): void => {
    // After a standstill what has come meanwhile is read first, so that nobody is taken for dead who has answered.
    if (performance.now() - this.#tickedAt > 1.5 * tickMs) setImmediate(this.#tick);
    else this.#tick();
  };

  readonly #tick = (): void => {
    const at = moment();
    this.#tickedAt = at.now;
    const renews = ++this.#ticks % renewTicks === 0;
    // A token may have been withdrawn while its session was being admitted.
    endRevoked(this.#fresh, this.#isRevoked);
    this.#fresh.clear();
    for (const session of this.#sessions.values()) {
      session.tick(at);
      if (renews && session.isOpen) session.admission.renew();
    }
  };

  /** The session with this id, or the call; undefined when there is none. */
  find(id: string): Registered | undefined {
    const session = this.#sessions.get(id.replace(/^call_/, 'sess_'));
    return session?.id === id || session?.callId === id ? session : undefined;
  }

  /** Ends all sessions of those who are meant, and says how many. */
  endRevoked(isMeant: (principal: Principal) => boolean): number {
    return endRevoked(this.#sessions.values(), isMeant);
  }

  /** Admits nobody from now on, without ending anybody. */
  close(): void {
    this.#draining = true;
  }

  /** Lets running answers finish and ends every session; those that take longer than the limit are ended then. */
  async drain(seconds: number): Promise<void> {
    this.#draining = true;
    for (const session of this.#sessions.values()) session.drain();
    if (this.#sessions.size === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    if (await inTime(empty, seconds * 1000)) return;
    for (const session of this.#sessions.values()) session.end('draining', 'relay');
    await empty;
  }
}

function endRevoked(sessions: Iterable<Registered>, isMeant: (principal: Principal) => boolean): number {
  const meant = [...sessions].filter(({ admission }) => isMeant(admission.principal));
  for (const session of meant) session.end('revoked', 'relay');
  return meant.length;
}

/** The places of this process, which are also full when those of all processes are. */
export function placesOf(registry: SessionRegistry, isFullElsewhere: () => boolean): Places {
  return {
    get isDraining() {
      return registry.isDraining;
    },
    get isShort() {
      return registry.isShort;
    },
    get isFull() {
      return registry.isFull || isFullElsewhere();
    },
    reserve: () => registry.reserve(),
    giveUp: () => registry.giveUp(),
  };
}

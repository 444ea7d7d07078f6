/** Listeners that see what passes in a session and can neither change it nor hold it up. */

import type { ExitId } from '../errors.js';
import type { RealtimeEvent, Step } from '../protocol/event.js';
import { warnOf } from './surely.js';

/**
 * What is listened to, always in GA. Raw bytes are good for this turn only: who keeps them copies them at once.
 * `sent`: what came from the client. `passed`: what of it goes upstream. `came`: what came from upstream. `before`: what of
 * it is about the conversation, unredacted. `after`: what of that the client is shown. `told`: what the relay has to say itself
 * to those beside.
 */
export type Tap = { readonly [P in Place]?: (event: RealtimeEvent) => void } & {
  /** Whether who sees this may decide what the server has to decide. */
  readonly decides?: boolean;
  /** Upstream runs the session, and the client is told. */
  opened?(): void;
  /** The session will end as soon as what has begun is over. */
  draining?(): void;
  /** It has ended. */
  ended?(id: ExitId): void;
};
type Place = 'sent' | 'passed' | 'came' | 'before' | 'after' | 'told';

/** The taps of one session. */
export interface Taps {
  /** The step that shows what passes at a place. */
  step(place: Place): Step;
  opened(): void;
  draining(): void;
  ended(id: ExitId): void;
  /** Whether anybody may decide what the server has to decide. */
  readonly isDecided: boolean;
  /** Adds one; what is returned takes it away. Null when there are too many. */
  add(tap: Tap): (() => void) | null;
}

const most = 64;

/** Makes the taps of a session that has none. One that throws is a tap no more; the session does not notice. */
export function createTaps(): Taps {
  return new SessionTaps();
}

class SessionTaps implements Taps {
  #taps: readonly Tap[] = none;

  step(place: Place): Step {
    return (event) => {
      // Each event of speech comes here, and hardly any session is listened to.
      if (this.#taps.length > 0) this.#show(place, event);
      return event;
    };
  }

  #show(place: Place, event: RealtimeEvent): void {
    for (const tap of this.#taps) {
      try {
        tap[place]?.(event);
      } catch (error) {
        this.#remove(tap);
        warnOf(error);
      }
    }
  }

  get isDecided(): boolean {
    return this.#taps.some(({ decides }) => decides === true);
  }

  opened(): void {
    this.#tell((tap) => tap.opened?.());
  }

  draining(): void {
    this.#tell((tap) => tap.draining?.());
  }

  ended(id: ExitId): void {
    this.#tell((tap) => tap.ended?.(id));
  }

  #tell(tell: (tap: Tap) => void): void {
    for (const tap of this.#taps) {
      try {
        tell(tap);
      } catch (error) {
        this.#remove(tap);
        warnOf(error);
      }
    }
  }

  add(tap: Tap): (() => void) | null {
    if (this.#taps.length >= most) return null;
    this.#taps = [...this.#taps, tap];
    return () => this.#remove(tap);
  }

  #remove(tap: Tap): void {
    this.#taps = this.#taps.filter((one) => one !== tap);
  }
}

const none: readonly Tap[] = [];

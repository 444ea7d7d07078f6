/** Listeners that see what passes in a session and can neither change it nor hold it up. */

import type { RealtimeEvent, Step } from '../protocol/event.js';
import { warnOf } from './surely.js';

/**
 * What is listened to, always in GA. Raw bytes are good for this turn only: who keeps them copies them at once.
 * `sent`: what came from the client. `passed`: what of it goes upstream. `came`: what came from upstream. `before`: what of
 * it is about the conversation, unredacted. `after`: what of that the client is shown.
 */
export type Tap = { readonly [P in Place]?: (event: RealtimeEvent) => void };
type Place = 'sent' | 'passed' | 'came' | 'before' | 'after';

/** The taps of one session. */
export interface Taps {
  /** The step that shows what passes at a place. */
  step(place: Place): Step;
  /** Adds one; what is returned takes it away. Null when there are too many. */
  add(tap: Tap): (() => void) | null;
}

const most = 64;

/** Makes the taps of a session that has none. One that throws is a tap no more; the session does not notice. */
export function createTaps(): Taps {
  let taps: readonly Tap[] = [];
  const remove = (tap: Tap) => {
    taps = taps.filter((one) => one !== tap);
  };
  const show = (tap: Tap, place: Place, event: RealtimeEvent) => {
    try {
      tap[place]?.(event);
    } catch (error) {
      remove(tap);
      warnOf(error);
    }
  };
  return {
    step: (place) => (event) => {
      // Each event of speech comes here, and hardly any session is listened to.
      if (taps.length > 0) for (const tap of taps) show(tap, place, event);
      return event;
    },
    add(tap) {
      if (taps.length >= most) return null;
      taps = [...taps, tap];
      return () => remove(tap);
    },
  };
}

/** What passes in a session, by type, for the log at level debug. Sessions of a relay that logs less have no such thing. */

import {
  clientEvents,
  type Direction,
  previewClientEvents,
  previewServerEvents,
  serverEvents,
} from '../protocol/catalogue.js';
import type { Step } from '../protocol/event.js';

const names = new Set<string>([...clientEvents, ...previewClientEvents, ...serverEvents, ...previewServerEvents]);

/** Counts by type since the last look; a type nobody knows is the sender's text and counts as `other`. */
type Counts = Readonly<Record<string, number>>;

export interface Activity {
  /** The step that counts one direction; it changes nothing. */
  step(direction: Direction): Step;
  /** What has passed since the last call, or null when nothing has. */
  take(): Readonly<Record<Direction, Counts>> | null;
}

/** Starts to count. */
export function createActivity(): Activity {
  const counts = { up: new Map<string, number>(), down: new Map<string, number>() };
  return {
    step(direction) {
      const own = counts[direction];
      return (event) => {
        const type = names.has(event.type) ? event.type : 'other';
        own.set(type, (own.get(type) ?? 0) + 1);
        return event;
      };
    },
    take() {
      const { up, down } = counts;
      if (up.size + down.size === 0) return null;
      const taken = { up: Object.fromEntries(up), down: Object.fromEntries(down) };
      up.clear();
      down.clear();
      return taken;
    },
  };
}

/** What passes in a session, by type, for the log at level debug. Sessions of a relay that logs less have no such thing. */

import {
  clientEvents,
  type Direction,
  previewClientEvents,
  previewServerEvents,
  serverEvents,
} from '../protocol/catalogue.js';
import type { RealtimeEvent } from '../protocol/event.js';
import type { Tap } from './taps.js';

const names = new Set<string>([...clientEvents, ...previewClientEvents, ...serverEvents, ...previewServerEvents]);

/** Counts by type since the last look; a type nobody knows is the sender's text and counts as `other`. */
type Counts = Readonly<Record<string, number>>;

export interface Activity {
  /** What counts. */
  readonly tap: Tap;
  /** What has passed since the last call, or null when nothing has. */
  take(): Readonly<Record<Direction, Counts>> | null;
}

/** Starts to count. */
export function createActivity(): Activity {
  const counts = { up: new Map<string, number>(), down: new Map<string, number>() };
  const counted = (of: Map<string, number>) => (event: RealtimeEvent) => {
    const type = names.has(event.type) ? event.type : 'other';
    of.set(type, (of.get(type) ?? 0) + 1);
  };
  return {
    tap: { sent: counted(counts.up), came: counted(counts.down) },
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

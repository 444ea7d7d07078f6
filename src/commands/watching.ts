/** What has changed among live sessions since they were looked at last. */

import type { Description } from '../control/description.js';

/** One thing that happened to a session, which is shown as it is now, or was last. */
export interface Change {
  readonly event: 'opened' | 'turn' | 'ended';
  readonly session: Description;
}

/** Live sessions, the newest first. */
export interface Seen {
  readonly sessions: readonly Description[];
  /** Whether there are others, older than these. */
  readonly hasMore: boolean;
}

/** Of so many that were too old to be listed at the last look it is kept that they were there. */
const mostKept = 10_000;

/** Compares each look with the one before; those that are there at the first one count as opened. */
export function createWatching(): (seen: Seen) => Change[] {
  let before = new Map<string, Description>();
  return ({ sessions, hasMore }) => {
    // One that is still being opened may come to nothing.
    const open = sessions.filter(({ state }) => state !== 'opening');
    // Ids are in the order of time: of one older than the oldest that was listed nothing is known.
    const oldest = hasMore ? (sessions.at(-1)?.id ?? '') : '';
    const older = [...before].filter(([id]) => id < oldest).slice(-mostKept);
    const now = new Map([...older, ...open.map((session) => [session.id, session] as const)]);
    const ended = [...before.values()].filter(({ id }) => !now.has(id));
    const changes: Change[] = ended.map((session) => ({ event: 'ended', session }));
    for (const session of open.toReversed()) {
      const known = before.get(session.id);
      if (!known) changes.push({ event: 'opened', session });
      else if (session.turns > known.turns) changes.push({ event: 'turn', session });
    }
    before = now;
    return changes;
  };
}

/** Lets backends follow the sessions of this process: what passes is told over a way, and what comes over it is said. */

import type { Registered } from '../session/registry.js';
import { type Follow, Follower, type FollowingPorts } from './follower.js';
import type { Stream } from './streams.js';

/** The followers of a process. */
export interface Following {
  /** Lets somebody follow over a way that is joined then; false where as many follow the session as may. */
  follow(session: Registered, follow: Follow, join: () => Stream): boolean;
  /** How many follow a session. */
  count(session: Registered): number;
}

/**
 * Starts without anybody.
 * @param most how many may follow one session
 */
export function createFollowing(ports: FollowingPorts, most: () => number): Following {
  const counts = new WeakMap<Registered, number>();
  const count = (session: Registered) => counts.get(session) ?? 0;
  return {
    count,
    follow(session, follow, join) {
      if (count(session) >= most()) return false;
      const follower = new Follower(session, follow, ports, () => counts.set(session, count(session) - 1));
      if (!follower.listens) return false;
      counts.set(session, count(session) + 1);
      follower.start(join());
      return true;
    },
  };
}

/** Ghosts: sessions whose client has gone without a word, and which hold the place of the user who comes back. */

import { type User, userKey } from '../auth/principal.js';
import type { Registered } from './registry.js';

/** For those who come back from nowhere, as a page that was loaded again. */
const lost = 'The user has begun another session, and there was no place for both.';
/** Nothing was heard for longer than this: pings come every 25 s, so a client that is there may well be as quiet. */
const quietMs = 15_000;
/** For a sign of life, once it is asked for. */
const answerMs = 2000;
/** Who waits holds a place of the instance's, and no more than one becomes free. */
const mostWaiting = 2;

/** What finds ghosts. */
export interface Ghosts {
  /**
   * Ends the session of a user that has had no client for longest; where there is none, that which was not heard for longest, once nothing at all has come from its client in answer to a
   * ping either; resolves to whether a place has become free by that. Who asks meanwhile for the same user
   * shares the answer; of many, most are told at once that there is none.
   */
  end(user: User): Promise<boolean>;
}

/** Looks for ghosts among these sessions. */
export function createGhosts(sessions: Iterable<Registered>): Ghosts {
  /** By user; each is over after `answerMs`. */
  const asked = new Map<string, { readonly answer: Promise<boolean>; waiting: number }>();

  function quietest(key: string): Registered | null {
    const now = performance.now();
    let found: Registered | null = null;
    let longest = quietMs;
    for (const session of sessions) {
      const quiet = session.quietMs(now);
      if (quiet <= longest || userKey(session.admission.principal) !== key) continue;
      found = session;
      longest = quiet;
    }
    return found;
  }

  return {
    end(user) {
      const key = userKey(user);
      const running = asked.get(key);
      if (running !== undefined) {
        return ++running.waiting > mostWaiting ? Promise.resolve(false) : running.answer;
      }
      if (abandoned(sessions, key)) return Promise.resolve(true);
      const ghost = quietest(key);
      if (!ghost) return Promise.resolve(false);
      const answer = laid(ghost).finally(() => asked.delete(key));
      asked.set(key, { answer, waiting: 1 });
      return answer;
    },
  };
}

/** Ends the session of a user that waits for its client for longest; false when none does. */
function abandoned(sessions: Iterable<Registered>, key: string): boolean {
  let oldest: Registered | null = null;
  let since = Number.POSITIVE_INFINITY;
  for (const session of sessions) {
    const at = session.resumption?.detachedAt ?? null;
    if (at === null || at >= since || userKey(session.admission.principal) !== key) continue;
    oldest = session;
    since = at;
  }
  oldest?.end('client_lost', 'client', { message: lost });
  return oldest !== null;
}

async function laid(ghost: Registered): Promise<boolean> {
  ghost.ask();
  await new Promise((resolve) => setTimeout(resolve, answerMs));
  // After a standstill what has come meanwhile is read first.
  await new Promise((resolve) => setImmediate(resolve));
  if (!ghost.isOpen) return true;
  if (ghost.quietMs(performance.now()) <= quietMs) return false;
  ghost.end('client_lost', 'client');
  return true;
}

/** Carries out, in this process, what is to be done with live sessions. */

import { type User, userKey } from '../auth/principal.js';
import type { Ghosts } from '../session/ghosts.js';
import type { Registered } from '../session/registry.js';
import { concerns, type Revocations } from '../store/revocations.js';
import type { Answer, Command, Verb } from './commands.js';

/** What commands are carried out on. */
export interface ControlServices {
  readonly registry: {
    /** The session with this id, or the call; undefined when there is none. */
    find(id: string): Registered | undefined;
    /** Ends the sessions of those who are meant, and says how many. */
    endRevoked(isMeant: (principal: Registered['admission']['principal']) => boolean): number;
  };
  readonly ghosts: Ghosts;
  readonly revocations: Revocations;
}

/** Carries out one command on the sessions of this process. */
export type Control = <C extends Command>(command: C) => Promise<Answer<C['verb']>>;

/** Makes what carries commands out. */
export function createControl({ registry, ghosts, revocations }: ControlServices): Control {
  const cases: { readonly [V in Verb]: (command: Command<V>) => Answer<V> | Promise<Answer<V>> } = {
    revoke: ({ revocation, keep }) => ({
      isKept: keep && revocations.add(revocation),
      ended: registry.endRevoked((principal) => concerns(revocation, principal)),
    }),
    hang_up({ id, owner }) {
      const call = registry.find(id);
      // Who asks must not learn that somebody else's exists.
      if (call?.callId !== id || !isOf(owner, call)) return false;
      call.end('normal', 'client', { message: 'The client hung up.' });
      return true;
    },
    end_ghost: ({ user }) => ghosts.end(user),
  };
  return async <C extends Command>(command: C) => {
    const carryOut = cases[command.verb] as unknown as (command: C) => Promise<Answer<C['verb']>>;
    return carryOut(command);
  };
}

/** What a process does that has no sessions yet: what is withdrawn is kept. */
export function createIdleControl(revocations: Revocations): Control {
  return createControl({
    registry: { find: () => undefined, endRevoked: () => 0 },
    ghosts: { end: async () => false },
    revocations,
  });
}

function isOf(user: User, { admission }: Registered): boolean {
  return userKey(admission.principal) === userKey(user);
}

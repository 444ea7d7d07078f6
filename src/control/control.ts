/** Carries out, in this process, what is to be done with live sessions. */

import { type Principal, type User, userKey } from '../auth/principal.js';
import type { Ghosts } from '../session/ghosts.js';
import type { Registered } from '../session/registry.js';
import { concerns, type Revocations } from '../store/revocations.js';
import { type Answer, type Command, newestFirst, type Reach, type Verb } from './commands.js';
import { describe, type Home } from './description.js';
import type { Following } from './following.js';
import { type Resuming, resumeHere } from './resuming.js';
import type { Say } from './saying.js';
import type { Streams } from './streams.js';

/** What commands are carried out on. */
export interface ControlServices {
  readonly registry: Iterable<Registered> & {
    /** The session with this id, or the call; undefined when there is none. */
    find(id: string): Registered | undefined;
    /** Ends the sessions of those who are meant, and says how many. */
    endRevoked(isMeant: (principal: Principal) => boolean): number;
  };
  readonly ghosts: Ghosts;
  readonly revocations: Revocations;
  readonly home: Home;
  /** Says something in a session. */
  readonly say: Say;
  readonly streams: Streams;
  /** Who follows sessions. Left out: nobody may, as if there were no session. */
  readonly following?: Following;
  /** Who comes back to sessions. Left out: nobody can. */
  readonly resuming?: Resuming;
}

/** Carries out one command on the sessions of this process. */
export type Control = <C extends Command>(command: C) => Promise<Answer<C['verb']>>;

/** Makes what carries commands out. */
export function createControl(services: ControlServices): Control {
  const { registry, ghosts, revocations, home, streams, following, resuming } = services;
  const described = (session: Registered) => describe(session, home, following?.count(session) ?? 0);
  const found = (id: string, reach: Reach): Registered | null => {
    const session = registry.find(id);
    return session?.isOpen && isWithin(reach, session) ? session : null;
  };
  const cases: { readonly [V in Verb]: (command: Command<V>) => Answer<V> | Promise<Answer<V>> } = {
    revoke({ revocation, keep }) {
      const isKept = keep && revocations.add(revocation);
      for (const { backend } of registry) backend.takeover.withdraw((held) => concerns(revocation, held));
      return { isKept, ended: registry.endRevoked((principal) => concerns(revocation, principal)) };
    },
    hang_up({ id, owner }) {
      const call = registry.find(id);
      // Who asks must not learn that somebody else's exists.
      if (call?.callId !== id || !isOf(owner, call)) return false;
      call.end('normal', 'client', { message: 'The client hung up.' });
      return true;
    },
    end_ghost: ({ user }) => ghosts.end(user),
    resume: (asked) => (resuming ? resumeHere(resuming, streams, asked) : null),
    list({ reach, limit, after, ...wanted }) {
      const before = after === null ? null : after.replace(/^call_/, 'sess_');
      const meant = [...registry].filter(
        (session) => (before === null || session.id < before) && isWithin(reach, session) && isWanted(wanted, session),
      );
      const page = newestFirst(meant).slice(0, limit + 1);
      return page.map(described);
    },
    inspect({ id, reach }) {
      const session = found(id, reach);
      return session && described(session);
    },
    locate: ({ id, reach }) => (found(id, reach) ? streams.address : null),
    follow({ id, reach, way, from, ...follow }) {
      const session = found(id, reach);
      if (!session || !following) return null;
      const isJoined = following.follow(session, follow, () => streams.join(way, from));
      return isJoined ? { outcome: 'joined', address: streams.address } : { outcome: 'full' };
    },
    say({ id, reach, ...what }) {
      const session = found(id, reach);
      return session && services.say(session, { ...what, isBound: reach !== null });
    },
    async take_over({ id, reach, by, on, force }) {
      const session = found(id, reach);
      if (!session) return null;
      const { takeover } = session.backend;
      const taken = on ? await takeover.take(by, force) : takeover.giveBack(by);
      if (taken === 'over') return null;
      if (taken !== 'done') return { outcome: taken };
      return { outcome: 'done', id: session.id, isOn: takeover.isOn, by: takeover.holder?.subject ?? null };
    },
    end({ id, reach }) {
      const session = found(id, reach);
      session?.end('ended_by_backend', 'backend');
      return session?.id ?? null;
    },
  };
  return async <C extends Command>(command: C) => {
    const carryOut = cases[command.verb] as unknown as (command: C) => Promise<Answer<C['verb']>>;
    return carryOut(command);
  };
}

/** What a process does that has no sessions yet: what is withdrawn is kept. */
export function createIdleControl(revocations: Revocations, streams: Streams): Control {
  return createControl({
    registry: Object.assign([], { find: () => undefined, endRevoked: () => 0 }),
    ghosts: { end: async () => false },
    revocations,
    home: { replica: '', hasSeveralIssuers: false },
    streams,
    say: async () => ({ outcome: 'not_open' }),
  });
}

/** A tenant is one of its issuer: another may have one of the same name. */
function isWithin(reach: Reach, { admission }: Registered): boolean {
  const { issuer, tenant } = admission.principal;
  return reach === null || (tenant === reach.tenant && issuer === reach.issuer);
}

function isWanted(
  { subject, tenant, profile }: Pick<Command<'list'>, 'subject' | 'tenant' | 'profile'>,
  { admission: { principal, profile: own } }: Registered,
): boolean {
  return (
    (subject === null || subject === principal.subject) &&
    (tenant === null || tenant === principal.tenant) &&
    (profile === null || profile === own.name)
  );
}

function isOf(user: User, { admission }: Registered): boolean {
  return userKey(admission.principal) === userKey(user);
}

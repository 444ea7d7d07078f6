/** What can be told of a session while it lives. */

import type { Admission } from '../admission/admission.js';
import type { Dialed } from '../upstream/dial.js';
import type { Totals } from './books.js';
import { announced, type Deadline } from './overdue.js';

/** A live session as others may see it; times are in milliseconds since 1970. */
export interface Overview {
  readonly profile: string;
  readonly dialect: Admission['dialect'];
  readonly state: 'opening' | 'open' | 'draining';
  /** The upstream's name; null before there is one. */
  readonly upstream: string | null;
  readonly azure: { readonly sessionId: string | null; readonly requestIds: readonly string[] };
  readonly startedAt: number;
  readonly expiresAt: number;
  /** When anything came of either side, to about a second. */
  readonly lastEventAt: number;
  readonly turns: number;
  readonly tokens: number;
  /** Null where sound does not pass the relay. */
  readonly audioSecondsUp: number | null;
  readonly audioSecondsDown: number | null;
}

/** What only a session itself knows. */
interface Inner extends Pick<Overview, 'state' | 'startedAt' | 'lastEventAt'> {
  readonly reached: Pick<Dialed, 'upstream' | 'requestIds'> | null;
  /** Upstream's own id of it. */
  readonly azureId: unknown;
  readonly deadline: Deadline;
  readonly totals: Totals;
}

/** Puts together what can be told. */
export function overviewOf(
  { profile, dialect, principal }: Admission,
  { state, startedAt, lastEventAt, reached, azureId, deadline, totals }: Inner,
): Overview {
  const { turns, tokens, audioSecondsUp, audioSecondsDown } = totals;
  return {
    profile: profile.name,
    dialect,
    state,
    upstream: reached?.upstream.name ?? null,
    azure: {
      sessionId: typeof azureId === 'string' ? azureId.slice(0, 128) : null,
      requestIds: Object.values(reached?.requestIds ?? {}),
    },
    startedAt,
    expiresAt: announced(deadline, principal.expiresAt * 1000).expiresAt * 1000,
    lastEventAt,
    turns,
    tokens,
    audioSecondsUp,
    audioSecondsDown,
  };
}

/** The state of a session in the words of others, to whom all that comes before it is open is alike. */
export function stateOf(state: string): Overview['state'] {
  return state === 'open' || state === 'draining' ? state : 'opening';
}

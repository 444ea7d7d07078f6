/** Everything that ends a session because time has passed, in the order in which it is looked at. */

import type { ExitId } from '../errors.js';
import type { Initiator } from '../telemetry/labels.js';

/** What is known of a session once a second; times are in `performance.now()`, spans in seconds. */
export interface Facts {
  readonly state: 'dialing' | 'configuring' | 'open' | 'draining';
  readonly clientIsAlive: boolean;
  readonly upstreamIsAlive: boolean;
  /** By the wall clock, which is what the token means. */
  readonly tokenHasRunOut: boolean;
  /** When upstream must have accepted the configuration, and what it has not done yet. */
  readonly configureBy: number;
  readonly configureSent: boolean;
  /** How long each side has taken nothing of what waits for it, and how long it may. */
  readonly clientStalled: number;
  readonly upstreamStalled: number;
  readonly mostStalled: number;
  /** Whether an answer is due for longer than upstream may be silent. */
  readonly upstreamIsSilent: boolean;
  readonly endsAt: number;
  readonly idleFor: number;
  readonly mostIdle: number;
}

/** An end that is due. */
export interface Due {
  readonly id: ExitId;
  readonly initiator: Initiator;
  readonly message?: string;
  /** What upstream should have done. */
  readonly phase?: 'greeting' | 'configuration';
}

/** No tunnel keeps an upstream from reading. */
const mostUpstreamStalls = 10;

/** The end that is due now, or null. */
export function overdue(now: number, facts: Facts): Due | null {
  if (!facts.clientIsAlive) {
    return { id: 'client_lost', initiator: 'client', message: 'The client was not heard, and does not answer pings.' };
  }
  if (!facts.upstreamIsAlive) {
    return { id: 'upstream_lost', initiator: 'upstream', message: 'The upstream does not answer pings.' };
  }
  // In every state: a slow dial and a slow configuration together could outlast the token by far.
  if (facts.tokenHasRunOut) return { id: 'token_expired', initiator: 'relay' };
  if (facts.state === 'configuring') return now > facts.configureBy ? notConfigured(facts) : null;
  return facts.state === 'dialing' ? null : overdueOpen(now, facts);
}

function notConfigured({ configureSent }: Facts): Due {
  const missing = configureSent ? 'accept the configuration' : 'start the session';
  const message = `The upstream did not ${missing} in time.`;
  const phase = configureSent ? 'configuration' : 'greeting';
  return { id: 'upstream_configuration_failed', initiator: 'upstream', message, phase };
}

function overdueOpen(now: number, facts: Facts): Due | null {
  if (facts.clientStalled > facts.mostStalled) return { id: 'slow_consumer', initiator: 'client' };
  if (facts.upstreamStalled > Math.min(facts.mostStalled, mostUpstreamStalls)) {
    return { id: 'slow_consumer', initiator: 'upstream', message: 'The upstream stopped reading.' };
  }
  if (facts.upstreamIsSilent) {
    const message = 'The upstream went silent when an answer was due.';
    return { id: 'upstream_timeout', initiator: 'upstream', message };
  }
  if (now >= facts.endsAt) return { id: 'session_expired', initiator: 'relay' };
  return facts.idleFor > facts.mostIdle ? { id: 'idle_timeout', initiator: 'relay' } : null;
}

/** Clients that come back to the sessions of this process, also of those that are over by now. */

import type { RelayError } from '../errors.js';
import type { Connection } from '../legs/leg.js';
import type { ResumeOutcome } from '../telemetry/labels.js';
import { Departed } from './departed.js';
import type { Registered } from './registry.js';
import { type Comer, sessionOf } from './resumption.js';

/** What becomes of somebody who wants to go on with a session. */
export interface Verdict {
  readonly outcome: ResumeOutcome;
  /** How the session has ended meanwhile, where they are to know that; null where they are not. */
  readonly why: RelayError | null;
}

/** Whether they go on. */
export function goesOn({ outcome }: Verdict): boolean {
  return outcome === 'ok' || outcome === 'superseded';
}

export class Comebacks {
  readonly #departed = new Departed();
  readonly #sessions: { find(id: string): Registered | undefined };

  constructor(sessions: { find(id: string): Registered | undefined }) {
    this.#sessions = sessions;
  }

  /** What would become of somebody; null where this process knows nothing of such a session. It changes nothing. */
  judge(comer: Comer): Verdict | null {
    const session = this.#find(comer);
    if (session) return { outcome: session.resumption?.judge(comer) ?? 'unknown', why: null };
    const id = sessionOf(comer.token);
    const end = id === null ? 'unknown' : this.#departed.find(id, comer);
    if (end === 'unknown') return null;
    return end === 'late' ? { outcome: 'late', why: null } : { outcome: 'late', why: end };
  }

  /** Goes on over the connection that `connect` makes, which is null when the client has gone meanwhile. */
  resume(comer: Comer, connect: (session: Registered) => Connection | null): Verdict | null {
    const verdict = this.judge(comer);
    const session = this.#find(comer);
    if (!verdict || !session || !goesOn(verdict)) return verdict;
    const connection = connect(session);
    if (connection) session.resumption?.resume(comer, connection);
    return verdict;
  }

  /** Ends a session that its own client cannot go on with: it holds a place that they may need. */
  giveUp(comer: Comer): void {
    const session = this.#find(comer);
    if (!session?.resumption?.isDetached || session.resumption.judge(comer) !== 'late') return;
    session.end('client_lost', 'client', { message: 'The client came back, and too much was missing.' });
  }

  /** A session is over. */
  ended(session: Parameters<Departed['add']>[0], why: RelayError): void {
    this.#departed.add(session, why);
  }

  #find({ token }: Comer): Registered | undefined {
    const id = sessionOf(token);
    const session = id === null ? undefined : this.#sessions.find(id);
    return session?.isOpen ? session : undefined;
  }
}

/** The door for clients that go on with a session over another connection. */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Admission } from '../admission/admission.js';
import { anonymous } from '../admission/anonymous.js';
import type { AdmissionServices, Wishes } from '../admission/candidate.js';
import type { Guest, Request } from '../admission/recognise.js';
import { giveBackReturn, recogniseReturning, takeReturn } from '../admission/returning.js';
import { offeredProtocols } from '../auth/credentials.js';
import { type User, userKey } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { ClientSocket } from '../legs/client-socket.js';
import { eventBytesOf } from '../legs/readers.js';
import { Departed } from '../session/departed.js';
import type { Registered } from '../session/registry.js';
import { type Comer, sessionOf } from '../session/resumption.js';
import type { ResumeOutcome } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { logRepeated } from '../telemetry/repeats.js';

/** What a client says of going on with sessions. */
export interface ResumeWish {
  /** Whether it would rather be refused than begin anew. */
  readonly isRequired: boolean;
  /** What it goes on with; null for a client that begins. */
  readonly shown: Shown | null;
}

/** What a client goes on with, and how many messages it has. */
type Shown = Pick<Comer, 'token' | 'received'>;

/** What the door needs. */
export interface ReturnServices {
  readonly admission: AdmissionServices;
  readonly registry: { find(id: string): Registered | undefined };
  readonly metrics: Pick<Metrics, 'resumed'>;
  readonly log: Log;
}

/** Somebody at the door. */
interface Visit {
  readonly request: Request;
  readonly wishes: Wishes;
  readonly shown: Shown;
  readonly isRequired: boolean;
  readonly socket: Duplex;
  /** Completes the handshake; null when the client has gone meanwhile. */
  upgrade(maxPayload: number): ClientSocket | null;
}

const protocol = 'realtime-relay-resume.';
const nothing = { token: '', received: 0 };
const refusal = 'This session cannot be gone on with; connect without it, and a new one begins.';

/** What a request says of going on with sessions; null where it does not want that. */
export function resumeWishOf({ headers }: IncomingMessage, { searchParams }: URL): ResumeWish | null {
  const resume = searchParams.get('resume');
  if (searchParams.get('relay_events') !== 'on' || (resume !== 'on' && resume !== 'required')) return null;
  const [shown, ...more] = offeredProtocols(headers).filter((one) => one.startsWith(protocol));
  return {
    isRequired: resume === 'required',
    shown: shown === undefined ? null : more.length > 0 ? nothing : shownIn(shown.slice(protocol.length)),
  };
}

function shownIn(text: string): Shown {
  const [, token, count] = /^([\w-]{1,200})\.(\d{1,15})$/.exec(text) ?? [];
  return token === undefined ? nothing : { token, received: Number(count) };
}

/** Whether sessions of somebody who was let in may be gone on with. A name that many share is nobody's. */
export function canResume({ profile, principal }: Pick<Admission, 'profile' | 'principal'>): boolean {
  const { enabled, resume_seconds } = profile.continuity;
  return enabled !== false && resume_seconds > 0 && principal.subject !== anonymous;
}

/** Lets clients go on with their sessions. */
export class Returns {
  readonly departed = new Departed();
  readonly #services: ReturnServices;

  constructor(services: ReturnServices) {
    this.#services = services;
  }

  /**
   * Goes on with the session that is shown. Gives who asks where that cannot be, and a new one is to begin.
   * @throws RelayError the refusal
   */
  async attend(visit: Visit): Promise<Guest | null> {
    const { request, wishes, shown } = visit;
    const candidate = await recogniseReturning(request, this.#services.admission);
    const { principal } = candidate.guest;
    const comer: Comer = { principal, dialect: wishes.dialect, ...shown };
    if (this.#judge(comer) !== null) {
      try {
        await takeReturn(candidate);
        // Time has passed: somebody else may have been quicker, or it has ended.
        const session = this.#judge(comer);
        if (session !== null) {
          this.#goOn(session, comer, visit);
          return null;
        }
      } catch (error) {
        giveBackReturn(candidate);
        throw error;
      }
    }
    this.#refuse(comer, visit);
    return candidate.guest;
  }

  /** The session with which somebody may go on; null when they may not. */
  #judge(comer: Comer): Registered | null {
    const session = this.#find(comer);
    const outcome = session?.resumption?.judge(comer);
    return session && (outcome === 'ok' || outcome === 'superseded') ? session : null;
  }

  #find({ token }: Comer): Registered | undefined {
    const id = sessionOf(token);
    const session = id === null ? undefined : this.#services.registry.find(id);
    return session?.isOpen ? session : undefined;
  }

  #goOn({ admission, resumption }: Registered, comer: Comer, { socket, upgrade }: Visit): void {
    const ws = socket.writable ? upgrade(eventBytesOf(admission.profile)) : null;
    if (!ws || !resumption) return;
    const outcome = resumption.judge(comer);
    resumption.resume(comer, { socket: ws, stream: socket });
    this.#services.metrics.resumed(outcome);
  }

  #refuse(comer: Comer, { request, wishes, isRequired }: Visit): void {
    const session = this.#find(comer);
    const id = sessionOf(comer.token);
    const found = session?.resumption?.judge(comer) ?? (id === null ? 'unknown' : this.departed.find(id, comer));
    const outcome = found instanceof RelayError ? 'late' : found;
    this.#services.metrics.resumed(outcome);
    this.#note(outcome, id, wishes.requestId, request.user);
    if (found instanceof RelayError) throw found;
    // Whose it is cannot use it any more: it holds a place that they may need.
    if (outcome === 'late' && session?.resumption?.isDetached) {
      session.end('client_lost', 'client', { message: 'The client came back, and too much was missing.' });
    }
    if (outcome === 'too_often') {
      throw new RelayError('resume_refused', 'This session was gone on with too often within a minute.');
    }
    if (isRequired) throw new RelayError('resume_refused', refusal);
  }

  #note(outcome: ResumeOutcome, session: string | null, requestId: string, user: User | undefined): void {
    const about = `${outcome} ${user ? userKey(user) : ''}`;
    const common = {
      outcome,
      ...(user && { subject: user.subject, ...(user.tenant !== null && { tenant: user.tenant }) }),
    };
    logRepeated(this.#services.log, 'warn', { about, common, own: { session, requestId } }, 'session.not_resumed');
  }
}

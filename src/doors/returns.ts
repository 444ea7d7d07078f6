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
import type { Peers } from '../control/peers.js';
import type { Resuming } from '../control/resuming.js';
import { RelayError } from '../errors.js';
import type { ClientSocket } from '../legs/client-socket.js';
import { eventBytesOf } from '../legs/readers.js';
import { goesOn, type Verdict } from '../session/comebacks.js';
import { type Comer, sessionOf } from '../session/resumption.js';
import type { ResumeOutcome } from '../telemetry/labels.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { logRepeated } from '../telemetry/repeats.js';
import { carry } from './carrying.js';

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
  readonly resuming: Resuming;
  readonly peers: Pick<Peers, 'resume'>;
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
  /** What came behind the request. */
  readonly head: Buffer;
  /** Completes the handshake; null when the client has gone meanwhile. */
  upgrade(maxPayload: number): ClientSocket | null;
}

const protocol = 'realtime-relay-resume.';
const unknown: Verdict = { outcome: 'unknown', why: null };
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
  readonly #services: ReturnServices;

  constructor(services: ReturnServices) {
    this.#services = services;
  }

  /**
   * Goes on with the session that is shown. Gives who asks where that cannot be, and a new one is to begin.
   * @throws RelayError the refusal
   */
  async attend(visit: Visit): Promise<Guest | null> {
    const { resuming, peers, admission } = this.#services;
    const { request, wishes, shown } = visit;
    const candidate = await recogniseReturning(request, admission);
    const { principal } = candidate.guest;
    const comer: Comer = { principal, dialect: wishes.dialect, ...shown };
    const here = resuming.comebacks.judge(comer);
    let verdict = here ?? (sessionOf(comer.token) ? (await peers.resume(comer, null))?.verdict : null) ?? unknown;
    if (goesOn(verdict)) {
      try {
        await takeReturn(candidate);
        // Time has passed: somebody else may have been quicker, or it has ended.
        verdict = (here ? this.#resumeHere(comer, visit) : await this.#resumeElsewhere(comer, visit)) ?? unknown;
        if (!goesOn(verdict)) giveBackReturn(candidate);
      } catch (error) {
        giveBackReturn(candidate);
        throw error;
      }
    }
    this.#services.metrics.resumed(verdict.outcome);
    if (goesOn(verdict)) return null;
    this.#refuse(verdict, comer, visit);
    return candidate.guest;
  }

  #resumeHere(comer: Comer, { socket, upgrade }: Visit): Verdict | null {
    return this.#services.resuming.comebacks.resume(comer, ({ admission }) => {
      const ws = socket.writable ? upgrade(eventBytesOf(admission.profile)) : null;
      return ws && { socket: ws, stream: socket };
    });
  }

  async #resumeElsewhere(comer: Comer, { request, wishes, socket, head }: Visit): Promise<Verdict | null> {
    const { headers } = request.message;
    const found = await this.#services.peers.resume(comer, {
      key: String(headers['sec-websocket-key']),
      hasProtocol: offeredProtocols(headers).includes('realtime'),
      requestId: wishes.requestId,
    });
    if (found?.stream) carry(socket, head, found.stream);
    return found?.verdict ?? null;
  }

  #refuse({ outcome, why }: Verdict, comer: Comer, { request, wishes, isRequired }: Visit): void {
    this.#note(outcome, sessionOf(comer.token), wishes.requestId, request.user);
    if (why) throw why;
    this.#services.resuming.comebacks.giveUp(comer);
    if (outcome === 'too_often') {
      throw new RelayError('resume_refused', 'This session was gone on with too often within a minute.');
    }
    if (isRequired) throw new RelayError('resume_refused', refusal);
  }

  #note(outcome: ResumeOutcome, session: string | null, requestId: string, user: User | undefined): void {
    const about = `${outcome} ${user ? userKey(user) : ''}`;
    const whose = user && { subject: user.subject, ...(user.tenant !== null && { tenant: user.tenant }) };
    const line = { about, common: { outcome, ...whose }, own: { session, requestId } };
    logRepeated(this.#services.log, 'warn', line, 'session.not_resumed');
  }
}

/** The door through which backends follow live sessions, and speak in them: WebSockets beside the clients' own. */

import type { Duplex } from 'node:stream';
import { checkSameRights, createBearer } from '../admission/bearer.js';
import type { AdmissionServices } from '../admission/candidate.js';
import type { Controls } from '../admission/controls.js';
import { fullError } from '../admission/judging.js';
import { checkOrigin } from '../admission/origin.js';
import { authenticate, type Request } from '../admission/recognise.js';
import { createShares } from '../admission/shares.js';
import { sidebandsOf } from '../admission/verifier.js';
import type { Principal } from '../auth/principal.js';
import type { Clock } from '../clock.js';
import { detachedFrom } from '../control/detached.js';
import type { Peers } from '../control/peers.js';
import type { Stream } from '../control/streams.js';
import { RelayError } from '../errors.js';
import { sidebandLeg } from '../legs/client.js';
import type { ClientSocket } from '../legs/client-socket.js';
import type { Leg } from '../legs/leg.js';
import { audit, type Log } from '../telemetry/log.js';
import { type Audit, outcomeOf } from './audit.js';
import { checkScope, isBackend, reachOf } from './rights.js';
import { Sideband } from './sideband.js';

/** The largest message that a backend may send, in bytes. */
export const sidebandBytes = 1024 * 1024;

const tickMs = 1000;
const path = /^\/v1\/relay\/sessions\/([^/]{1,200})\/sideband\/?$/;

/** What the door needs. */
export interface SidebandServices {
  readonly admission: AdmissionServices;
  readonly controls: Controls;
  readonly audit: Audit;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly workers: number;
  readonly log: Log;
}

/** Somebody who wants to follow a session. */
export interface Visit extends Request {
  readonly socket: Duplex;
  readonly requestId: string;
  /** What becomes of it is on account from the moment that it is known who it is. */
  isOnAccount?: boolean;
}

/** The session that a request wants to follow; null for one that wants a session of its own. */
export function followedBy({ pathname, searchParams }: URL, isDoor: boolean): string | null {
  const named = path.exec(pathname)?.[1];
  if (named !== undefined) return named;
  const ids = isDoor ? searchParams.getAll('call_id') : [];
  if (!ids.some((id) => /^(sess|call)_/.test(id))) return null;
  if (ids.length > 1) throw new RelayError('bad_event', 'The parameter "call_id" is there twice.');
  return ids[0] as string;
}

/** All sidebands of a process. */
export class Sidebands {
  readonly #services: SidebandServices;
  readonly #places;
  readonly #byIssuer = new Map<string, number>();
  readonly #open = new Set<Sideband>();
  #ticker: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(services: SidebandServices) {
    this.#services = services;
    this.#places = createShares(() => this.#most(this.#limits.sidebands));
  }

  /** How many there are. */
  get size(): number {
    return this.#open.size;
  }

  /** Bytes that wait to be written. */
  get bufferedBytes(): number {
    return [...this.#open].reduce((sum, { leg }) => sum + bytesOf(leg), 0);
  }

  /** Ends those for whom most waits, until so many bytes do not wait any more; gives how many that were. */
  shed(bytes: number): number {
    let freed = 0;
    for (const sideband of [...this.#open].sort((a, b) => bytesOf(b.leg) - bytesOf(a.leg))) {
      const own = bytesOf(sideband.leg);
      if (freed >= bytes || own === 0) break;
      freed += own;
      sideband.end('slow_consumer');
    }
    return freed;
  }

  get #limits() {
    return this.#services.admission.settings().limits;
  }

  #most(limit: number): number {
    return Math.ceil(limit / this.#services.workers);
  }

  /**
   * Lets somebody follow a session.
   * @param upgrade completes the handshake; null when the peer has gone meanwhile
   * @throws RelayError when they may not, or there is none
   */
  async attach(visit: Visit, id: string, upgrade: () => ClientSocket | null): Promise<void> {
    const { admission, controls, audit: account } = this.#services;
    checkOrigin(visit.message, admission.origins);
    const { principal } = await authenticate(visit, admission, 'mint');
    visit.isOnAccount = true;
    const entry = { verb: 'sideband', by: principal, session: id } as const;
    let leave: (() => void) | null = null;
    try {
      controls.ask(principal, isBackend(principal));
      checkScope(principal, 'relay.sessions.read');
      const wishes = wishesOf(visit.url, principal);
      if (admission.registry.isShort) throw fullError('is busy; try again shortly', 2000 + Math.random() * 4000);
      leave = this.#enter(principal);
      const way = await this.#join(id, principal, wishes, visit.requestId);
      const ws = visit.socket.writable && !this.#isClosed ? upgrade() : null;
      if (ws === null) {
        way.end();
        leave();
        return;
      }
      this.#begin(ws, way, visit, entry, leave);
      account.note(entry, visit.requestId, 'done', null);
    } catch (error) {
      leave?.();
      const { id: code } = RelayError.from(error);
      account.note(entry, visit.requestId, outcomeOf(code), code);
      throw error;
    }
  }

  async #join(id: string, by: Principal, wishes: ReturnType<typeof wishesOf>, requestId: string): Promise<Stream> {
    const { issuer, subject, tenant } = by;
    const user = { issuer, subject, tenant };
    const way = await this.#services.peers.stream({ id, reach: reachOf(by), wishes, by: user, requestId });
    if (way === null) throw new RelayError('not_found', 'No session of yours has this id.');
    return way;
  }

  /** Takes a place; gives what gives it back. */
  #enter(principal: Principal): () => void {
    const { sidebands, sidebands_per_session } = this.#limits;
    const { key, most } = sidebandsOf(this.#services.admission.issuers, principal.issuer, sidebands);
    const ofIssuer = this.#byIssuer.get(key) ?? 0;
    const leave = ofIssuer < this.#most(most) ? this.#places.take(principal, sidebands_per_session) : null;
    if (leave === null) {
      throw new RelayError('rate_limited', 'Too many sidebands are open on this relay.', { retryAfterMs: 1000 });
    }
    this.#byIssuer.set(key, ofIssuer + 1);
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      leave();
      const left = (this.#byIssuer.get(key) ?? 0) - 1;
      if (left > 0) this.#byIssuer.set(key, left);
      else this.#byIssuer.delete(key);
    };
  }

  #begin(
    ws: ClientSocket,
    way: Stream,
    { socket, requestId }: Visit,
    entry: { readonly verb: 'sideband'; readonly by: Principal; readonly session: string },
    leave: () => void,
  ): void {
    const { admission, controls, audit: account, clock, log } = this.#services;
    const since = performance.now();
    const bearer = createBearer(entry.by, admission, checkSameRights);
    const sideband = new Sideband({
      leg: sidebandLeg(ws, socket, this.#limits, sidebandBytes),
      way,
      bearer,
      clock,
      carries: (bytes) => controls.carries(bearer.principal, bytes),
      renewal: (isTaken) =>
        account.note(entry, requestId, isTaken ? 'done' : 'refused', isTaken ? null : 'renewal_refused'),
      left: (isLost) => {
        leave();
        this.#remove(sideband);
        if (isLost)
          log.info({ ...audit, ...detachedFrom(entry.by, entry.session, requestId, since) }, 'control.detached');
      },
    });
    this.#open.add(sideband);
    this.#ticker ??= setInterval(() => this.#tick(), tickMs);
    sideband.start();
  }

  /** Ends all of them: what they follow lives on elsewhere, if it lives. */
  close(): void {
    this.#isClosed = true;
    for (const sideband of [...this.#open]) sideband.end('draining');
  }

  #remove(sideband: Sideband): void {
    this.#open.delete(sideband);
    if (this.#open.size > 0 || this.#ticker === null) return;
    clearInterval(this.#ticker);
    this.#ticker = null;
  }

  #tick(): void {
    const { revocations } = this.#services.admission;
    const stallMs = this.#limits.stall_seconds * 1000;
    const now = performance.now();
    for (const sideband of [...this.#open]) {
      const { principal, leg } = sideband;
      if (!leg.isAlive(now, false)) sideband.end('client_lost');
      else if (leg.stalledMs(now) > stallMs) sideband.end('slow_consumer');
      else if (principal.expiresAt * 1000 <= Date.now()) sideband.end('token_expired');
      else if (revocations.covers(principal)) sideband.end('revoked');
    }
  }
}

function bytesOf({ bufferedBytes, waitingBytes }: Leg): number {
  return bufferedBytes + waitingBytes;
}

function wishesOf(url: URL, principal: Principal) {
  return {
    audio: switchOf(url, 'audio'),
    clientEvents: switchOf(url, 'client_events'),
    mayWrite: principal.scopes.includes('relay.sessions.write'),
    isBound: reachOf(principal) !== null,
  };
}

function switchOf({ searchParams }: URL, name: string): boolean {
  const [value = 'off', ...more] = searchParams.getAll(name);
  if (more.length === 0 && (value === 'on' || value === 'off')) return value === 'on';
  throw new RelayError('bad_event', `The parameter "${name}" must be "on" or "off".`);
}

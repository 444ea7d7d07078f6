/** What of a session is a matter of time, looked at once a second: whether its peers are there, how long it may go on, and the end. */

import type { Admission } from '../admission/admission.js';
import { type Moment, moment, wallOf } from '../clock.js';
import type { ExitId } from '../errors.js';
import type { Leg } from '../legs/leg.js';
import type { Refusal, Step } from '../protocol/event.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Ending } from './ending.js';
import type { Front } from './front.js';
import { createHeldWatch } from './held.js';
import { announced, type Deadline, deadlineOf, type Facts, noDeadline, overdue } from './overdue.js';
import { type Overview, overviewOf, stateOf } from './overview.js';
import type { Pipe } from './pipe.js';
import { authenticateType, createRenewal } from './renewal.js';
import type { Account } from './spending.js';

/** What a lookout needs of its session. */
interface LookoutPorts {
  readonly admission: Admission;
  readonly metrics: Metrics;
  readonly client: Leg | null;
  readonly up: Pipe;
  readonly front: Front;
  readonly account: Account;
  readonly chronicle: Chronicle;
  state(): Facts['state'] | 'closed';
  attachment(): Attachment | null;
  end(id: ExitId, initiator: Initiator, ending: Ending): void;
}

const expiryNoticeMs = 60_000;

export class Lookout {
  /** Takes the tokens with which the client goes on; null for one that did not ask for what answers them. */
  readonly renewal: Step | null;
  readonly #ports: LookoutPorts;
  readonly #watchHeld;
  #deadline: Deadline = noDeadline;
  #lastActiveAt: number;
  #noticeMs = expiryNoticeMs;
  /** The end that the client was warned of, in seconds since 1970. */
  #announcedEnd: number | null = null;

  constructor(ports: LookoutPorts) {
    const { admission, metrics, chronicle, front } = ports;
    this.#ports = ports;
    this.#lastActiveAt = chronicle.started.now;
    const refuse = (refusal: Refusal) => front.refuse(refusal, true);
    const renewed = () => this.#renewed(moment());
    const decided = (decision: 'answer' | 'refuse') => metrics.traffic.up.event(authenticateType, decision);
    this.renewal = admission.relayEvents ? createRenewal({ bearer: admission, decided, refuse, renewed }) : null;
    // The client may want to know, and so may the operator.
    this.#watchHeld = createHeldWatch((why, seconds) => {
      front.notify('relay.held', { why, seconds });
      chronicle.held(why, seconds);
    });
  }

  /** Upstream runs the session, and will until `expiresAt` by its own word, where it is not the session's `own`; gives the end that the client may know of. */
  opened(at: Moment, expiresAt: unknown): number {
    const { admission, chronicle } = this.#ports;
    this.#deadline = deadlineOf(admission.profile, chronicle.started.now, at, expiresAt);
    return announced(this.#deadline, admission.principal.expiresAt * 1000).expiresAt;
  }

  /** When it ends by its limits and its token, in seconds since 1970. */
  get endsAt(): number {
    return announced(this.#deadline, this.#ports.admission.principal.expiresAt * 1000).expiresAt;
  }

  /** What can be told of the session. */
  overview(): Overview {
    const { admission, chronicle, up, state, attachment } = this.#ports;
    const upstream = attachment();
    const isActive = up.isActive || upstream?.down.isActive === true;
    return overviewOf(admission, {
      state: stateOf(state()),
      startedAt: chronicle.started.wall,
      lastEventAt: wallOf(chronicle.started, isActive ? performance.now() : this.#lastActiveAt),
      reached: upstream?.reached ?? null,
      azureId: upstream?.azureId,
      deadline: this.#deadline,
      totals: chronicle.totals,
    });
  }

  tick(at: Moment): void {
    const { chronicle, account, client, state, attachment, end } = this.#ports;
    const before = state();
    if (before === 'closed') return;
    chronicle.passed();
    const facts = this.#look(before, at);
    if (chronicle.isReady) account.tick(at.now);
    // The account may just have ended it.
    if (state() === 'closed') return;
    const due = overdue(at.now, facts);
    if (due) {
      if (due.phase !== undefined) attachment()?.reached.silent();
      end(due.id, due.initiator, { message: due.message, phase: due.phase });
      return;
    }
    if (!chronicle.isReady) return;
    this.#announceExpiry(at);
    if (client) this.#watchHeld(client.held, at.now);
  }

  /** Looks after both legs, and says how things stand. */
  #look(state: Facts['state'], { now, wall }: Moment): Facts {
    const { admission, client, up, attachment } = this.#ports;
    const { principal, profile, limits } = admission;
    const upstream = attachment();
    const clientIsAlive = client?.isAlive(now, false) ?? true;
    const wasHeard = upstream?.look(now, state === 'configuring', up.heldSeconds() > 0) ?? false;
    if (up.wasActive() || wasHeard || upstream?.isWorking) this.#lastActiveAt = now;
    return {
      state,
      clientIsAlive,
      upstreamIsAlive: upstream?.isAlive ?? true,
      tokenHasRunOut: wall >= principal.expiresAt * 1000,
      configureBy: upstream?.configureBy ?? Number.POSITIVE_INFINITY,
      configureSent: upstream?.isSent === true,
      clientStalled: (client?.stalledMs(now) ?? 0) / 1000,
      upstreamStalled: (upstream?.reached.leg.stalledMs(now) ?? 0) / 1000,
      mostStalled: limits.stall_seconds,
      upstreamSilent: (upstream?.silentMs(now) ?? 0) / 1000,
      mostSilent: limits.answer_seconds,
      endsAt: this.#deadline.at,
      idleFor: (now - this.#lastActiveAt) / 1000,
      mostIdle: profile.limits.idle_seconds,
    };
  }

  /** Another token holds from now on: the end may have moved, either way. */
  #renewed(at: Moment): void {
    const { admission, front, chronicle, state } = this.#ports;
    if (state() === 'closed') return;
    // Who gets tokens of half a minute would otherwise be asked for the next one every second.
    this.#noticeMs = Math.min(expiryNoticeMs, this.#leftMs(at) / 2);
    const { expiresAt } = announced(this.#deadline, admission.principal.expiresAt * 1000);
    chronicle.renewed(expiresAt);
    front.renewed(expiresAt);
  }

  #leftMs({ now, wall }: Moment): number {
    return Math.min(this.#deadline.at - now, this.#ports.admission.principal.expiresAt * 1000 - wall);
  }

  #announceExpiry({ now, wall }: Moment): void {
    const { admission, front } = this.#ports;
    const tokenEndsAt = admission.principal.expiresAt * 1000;
    const left = this.#leftMs({ now, wall });
    if (left > this.#noticeMs) return;
    const { expiresAt, id } = announced(this.#deadline, tokenEndsAt);
    if (expiresAt === this.#announcedEnd) return;
    this.#announcedEnd = expiresAt;
    front.notify('relay.session_expiring', { expires_at: expiresAt, reason: id });
  }
}

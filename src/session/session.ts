/**
 * One session, whatever its legs: a client's or none, upstream's, and what happens between them. Its life is
 * dialing → configuring → open → draining → closed; any state may go to closed, and nothing leaves that.
 */

import type { Admission } from '../admission/admission.js';
import { guarded, type Moment, moment } from '../clock.js';
import { type ExitId, exits, RelayError } from '../errors.js';
import type { Leg, Line } from '../legs/leg.js';
import type { JsonObject, RealtimeEvent } from '../protocol/event.js';
import type { Initiator } from '../telemetry/labels.js';
import type { Attachment } from './attachment.js';
import { type Backend, createBackend } from './backend.js';
import { Books } from './books.js';
import { type Buffered, bufferedOf } from './buffered.js';
import { Chronicle, type ChronicleServices } from './chronicle.js';
import { type Drain, drainBetween } from './drain.js';
import type { Ending } from './ending.js';
import { createFront, createFrontBeside, type Front } from './front.js';
import { fromClient, type HearingPorts } from './hearing.js';
import { Lookout } from './lookout.js';
import { createFailures } from './mishaps.js';
import type { Overview } from './overview.js';
import { type Flow, Pipe } from './pipe.js';
import type { Reach } from './reach.js';
import { Resumption } from './resumption.js';
import type { Settlements } from './settlement.js';
import { Account } from './spending.js';
import { Succession } from './succession.js';
import { surely } from './surely.js';
import { createTaps } from './taps.js';
import { createTools, type Tooling } from './tooling.js';

/** The parts of the instance that every session uses. */
export interface SessionServices extends ChronicleServices {
  readonly settlements: Settlements;
  readonly tooling: Tooling;
  /** Told of every session that upstream has accepted. */
  opened(): void;
  /** Told once, when a session has ended, and with what. */
  ended(session: Session, why: RelayError): void;
}

/** What differs between sessions. */
export interface SessionParts {
  /** The client's leg, not started yet; null where the client talks to upstream past the relay. */
  readonly client: Leg | null;
  readonly reach: Reach;
  /** The client's leg where that may be connected anew. */
  readonly resumable?: Line | null;
  /** What the client knows the session by, where that is a call. */
  readonly callId?: string;
  /** Said in the log where it is not the relay's own. */
  readonly transport?: string;
}

type State = 'dialing' | 'configuring' | 'open' | 'draining' | 'closed';

export class Session {
  readonly admission: Admission;
  readonly callId: string | undefined;
  /** Who sees what passes. */
  readonly taps = createTaps();
  readonly backend: Backend;
  /** How its client comes back to it; null for one that cannot. */
  readonly resumption: Resumption | null;
  readonly #services: SessionServices;
  readonly #client: Leg | null;
  readonly #front: Front;
  readonly #up: Pipe;
  readonly #books: Books;
  readonly #chronicle: Chronicle;
  readonly #account: Account;
  readonly #tools;
  readonly #lookout: Lookout;
  readonly #hearing: HearingPorts;
  readonly #succession: Succession;
  #state: State = 'dialing';
  #drain: Drain | null = null;

  constructor(
    admission: Admission,
    { client, reach, resumable, callId, transport }: SessionParts,
    shared: SessionServices,
  ) {
    // What is put off for later, and throws then, ends this session and no other.
    const services = { ...shared, clock: guarded(shared.clock, (error) => this.#hearing.failures.unforeseen(error)) };
    this.admission = admission;
    this.callId = callId;
    this.#services = services;
    this.#client = client;
    this.#books = new Books(services.metrics);
    const isUnsaid = (event: RealtimeEvent) => this.backend.takeover.keeps(event);
    this.#chronicle = new Chronicle(admission, transport, this.#books, services, { taps: this.taps, client, isUnsaid });
    this.#account = new Account(admission.budget, {
      warn: (warning) => this.#front.notify('relay.quota_warning', warning),
      turns: () => this.#attachment?.turns ?? null,
      cancel: (id) => this.#attachment?.cancel(id),
      end: ({ id, message, retryAfterMs }) => this.end(id, 'relay', { message, retryAfterMs }),
    });
    this.#up = new Pipe(this.#flow('up'));
    const [up, account, chronicle] = [this.#up, this.#account, this.#chronicle];
    const { metrics, clock, tooling } = services;
    const state = () => this.#state;
    const attachment = () => this.#succession.current;
    const end = (id: ExitId, initiator: Initiator, ending: Ending) => this.end(id, initiator, ending);
    const inside = { admission, client, metrics, up, account, chronicle, state, attachment, end, clock };
    const front = client ? createFront(client, inside) : createFrontBeside(inside);
    this.#front = front;
    const { course } = this.#books;
    this.#tools = createTools({ admission, tooling, clock, chronicle, course, front, taps: this.taps, attachment });
    const around = { admission, client, metrics, up, account, chronicle, state, attachment, end, front };
    const failures = createFailures(around);
    this.#hearing = { metrics, up, front, chronicle, failures, attachment, end };
    const { taps } = this;
    const { forBackends } = this.#tools;
    const isCall = client === null;
    const backend = createBackend({ taps, clock, front, tools: forBackends, chronicle, isCall, attachment });
    this.backend = backend;
    this.#lookout = new Lookout(around);
    this.resumption = resumable
      ? new Resumption(resumable, {
          admission,
          front,
          chronicle,
          state,
          attachment,
          endsAt: () => this.#lookout.endsAt,
          end,
        })
      : null;
    const [hearing, { renewal }, books, tools] = [this.#hearing, this.#lookout, this.#books, this.#tools];
    this.#succession = new Succession({
      ...{ admission, client, reach, metrics, clock, front, up, books, tools, chronicle, account, taps, hearing },
      ...{ renewal, takeover: backend.takeover },
      flow: this.#flow('down'),
      isDialing: () => this.#state === 'dialing',
      isQuiet: () => this.resumption?.isQuiet === true,
      attached: () => {
        this.#state = 'configuring';
      },
      ready: (session) => this.#ready(session),
      settlements: services.settlements,
      isOpen: () => this.#state === 'open',
      end,
    });
    client?.hold('opening');
    client?.start(fromClient(this.#hearing));
  }

  get id(): string {
    return this.admission.id;
  }

  /** The leg to upstream, once there is one. */
  get #attachment(): Attachment | null {
    return this.#succession.current;
  }

  get isOpen(): boolean {
    return this.#state !== 'closed';
  }

  /** Bytes waiting to be passed on or written, by the direction they travel. */
  get buffered(): Buffered {
    const passing = this.#up.waiting + this.#succession.keptBytes;
    const leg = this.#attachment?.reached.leg ?? null;
    return bufferedOf(this.#client, leg, passing, this.resumption?.keptBytes);
  }

  get workMs(): number {
    return this.#up.workMs + (this.#attachment?.down.workMs ?? 0);
  }

  /** Milliseconds since anything came from the client; 0 where that does not pass here. */
  quietMs(now: number): number {
    return this.#client?.quietMs(now) ?? 0;
  }

  readonly overview = (): Overview => this.#lookout.overview();

  readonly ask = (): void => this.#client?.ask();

  /** Reaches upstream; ends the session when that fails. */
  async open(): Promise<void> {
    await this.#succession.open();
  }

  /** Upstream runs what was imposed: the client is told, and what it sent meanwhile goes first. */
  #ready(session: JsonObject): void {
    const at = moment();
    this.#state = 'open';
    this.#attachment?.reached.heard();
    this.#services.opened();
    this.#chronicle.opened(at.now);
    this.#front.opened(session, this.#lookout.opened(at, this.#succession.isContinuous ? 'own' : session.expires_at));
    this.taps.opened();
    this.resumption?.opened();
    this.#account.start(at.now);
    this.#client?.release('opening');
  }

  #flow(direction: 'up' | 'down'): Flow {
    return {
      traffic: this.#services.metrics.traffic[direction],
      clock: this.#services.clock,
      isOpen: () => this.isOpen,
      failed: (error) => this.#hearing.failures.came(error, direction === 'up' ? 'client' : 'upstream'),
    };
  }

  /** Once a second: everything about a session that is a matter of time. */
  tick(at: Moment): void {
    try {
      this.#lookout.tick(at);
      if (this.isOpen) this.resumption?.tick(at.now);
      this.#drain?.look();
    } catch (error) {
      this.#hearing.failures.unforeseen(error);
    }
  }

  /** Ends the session as soon as what has begun is finished; no answer is asked for any more. */
  drain(): void {
    const [client, attachment] = [this.#client, this.#attachment];
    if (this.#state !== 'open' || attachment === null || this.resumption?.isDetached) {
      this.end('draining', 'relay');
      return;
    }
    this.#state = 'draining';
    this.#front.notify('relay.draining', {});
    this.taps.draining();
    const { turns } = attachment;
    const over = () => this.end('draining', 'relay');
    const drain = drainBetween({ clock: this.#services.clock, client, up: this.#up, attachment, over });
    this.#drain = drain;
    this.#front.drain(() => turns.unasked !== null);
    attachment.onPassed = drain.look;
    drain.look();
  }

  /** The one transition to closed: tells both sides, gives back what the session held, and logs it. */
  end(id: ExitId, initiator: Initiator, ending: Ending = {}): void {
    if (this.#state === 'closed') {
      // What is left of the client's socket has no say in what upstream still has to say.
      if (initiator !== 'client') this.#attachment?.finish();
      return;
    }
    if (this.#succession.takes(id, initiator, ending)) return;
    const wasConfiguring = this.#state === 'configuring';
    const now = performance.now();
    this.#state = 'closed';
    this.#succession.abort();
    this.#drain?.stop();
    this.#up.close();
    const { message, cause, retryAfterMs } = ending;
    const [up, down, { refusals }] = [this.#up, this.#attachment?.down, this.#front];
    surely(
      () => this.#client?.close({ id, event: this.#front.farewell(id, message, retryAfterMs) }),
      () => this.#front.close(),
      () => this.backend.close(),
      () => this.admission.release(),
      () => this.#services.ended(this, new RelayError(id, message ?? exits[id].meaning, { retryAfterMs, cause })),
      () => this.#tools?.close(),
      () => this.#chronicle.passed(),
      () => this.#chronicle.ended({ ...ending, id, initiator, up, down, refusals, wasConfiguring }, now),
      () => this.taps.ended(id),
      // The end of the last answer is asked for before what it is part of is ended.
      () => this.#settle(initiator, now),
      () => this.#attachment?.reached.leave(),
    );
  }

  /** Keeps upstream until it has said what the session cost, then lets go of it. */
  #settle(initiator: Initiator, now: number): void {
    const attachment = this.#attachment;
    const isReady = this.#chronicle.isReady;
    const isSound = initiator !== 'upstream' && isReady && attachment?.reached.leg.isFull === false;
    const settled = (complete: boolean) =>
      surely(
        () => this.#account.close(),
        () => attachment?.letGo(),
        () => this.#chronicle.used(complete && !this.#succession.isSettling),
      );
    this.#account.stop(now);
    this.#succession.close();
    if (attachment) attachment.settle(isSound ? this.#services.settlements : null, settled);
    else settled(true);
  }
}

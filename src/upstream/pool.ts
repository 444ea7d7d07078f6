/** Picks an upstream for each session: the first one that works, in the operator's order. */

import { type ExitId, exits, RelayError } from '../errors.js';
import type { Dialect } from '../protocol/catalogue.js';
import { type Circuit, createCircuit } from './circuit.js';
import { type Dialed, type DialOptions, dial } from './dial.js';
import { DialFailure } from './failure.js';
import { type Attempt, overtaken, race } from './race.js';
import { Suspicions } from './suspicions.js';
import type { Purpose, UpstreamTarget } from './target.js';

/** One dial, for metrics and logs. */
export interface DialEvent {
  /** The target's configured name. */
  upstream: string;
  outcome: 'ok' | ExitId | 'aborted';
  seconds: number;
  /** HTTP status of a refused upgrade. */
  status?: number;
  /** Why it failed, for the log. */
  failure?: DialFailure;
}

interface PoolOptions {
  /** Monotonic milliseconds; default `performance.now`. */
  now?: () => number;
  /** Called after every dial; must not throw. */
  onDial?: (event: DialEvent) => void;
}

export interface OpenOptions extends Pick<Purpose, 'intent'> {
  requestId: string;
  /** Aborted when the client leaves. */
  signal: AbortSignal;
  /** For all attempts together. */
  dialSeconds: number;
  /** How long a second upstream waits for the first one. */
  secondDialMs: number;
  /** The upstream that is asked only when no other one is to be had. */
  avoid?: string | null;
  /** As the pool's own, for the dials of this session. */
  onDial?: (event: DialEvent) => void;
}

/** A session's connection, and what it tells the health of its upstream when that was heard, or was not. */
export interface Opened extends Dialed, Pick<Circuit, 'heard' | 'silent'> {
  readonly attempts: number;
  /** The connection was lost; what may be the fault of one session alone counts once several users have met it. */
  lost(user: string | null): void;
}

/** What is asked of an upstream; rejects as `dial` does. */
type Ask<T> = (target: UpstreamTarget, options: DialOptions) => Promise<T>;

interface Member {
  readonly target: UpstreamTarget;
  readonly circuit: Circuit;
  readonly suspicions: Suspicions;
}

/** Share of the time after which a second upstream is asked at the latest. */
const firstShare = 0.6;

/** What several attempts for one session have in common. */
interface Flight {
  readonly options: OpenOptions;
  readonly deadline: number;
  readonly running: Set<AbortController>;
  /** Why no more of them is wanted. */
  halted: unknown;
}

/** The upstreams of a relay in order of preference, with the health of each. */
export class UpstreamPool {
  readonly #members: readonly Member[];
  readonly #now: () => number;
  readonly #onDial: ((event: DialEvent) => void) | undefined;
  readonly #closing = new Set<() => void>();
  readonly #whenIdle: (() => void)[] = [];
  #closed = false;

  constructor(targets: readonly UpstreamTarget[], options: PoolOptions = {}) {
    if (targets.length === 0) throw new Error('At least one upstream is needed.');
    this.#now = options.now ?? (() => performance.now());
    this.#onDial = options.onDial;
    this.#members = targets.map((target) => ({
      target,
      circuit: createCircuit(this.#now),
      suspicions: new Suspicions(this.#now),
    }));
  }

  /**
   * Opens a session on the first healthy upstream, in at most two attempts. Rejects as `dial` does, and with
   * `upstream_unavailable` without dialling while every upstream is cooling down.
   */
  async open(options: OpenOptions): Promise<Opened> {
    const { answer, attempts } = await this.reach(options, dial, undefined, ({ socket }) => socket.terminate());
    const { socket, stream, upstream, requestIds } = answer;
    const member = this.#members.find(({ target }) => target === upstream);
    return {
      ...{ socket, stream, upstream, requestIds, attempts },
      heard: () => member?.circuit.heard(),
      silent: () => member?.circuit.silent(),
      lost: (user) => {
        // Where there is no other one, all who have lost a connection go on with this one, or with none.
        if (!member || this.#members.length === 1) return;
        if (user === null || member.suspicions.add(user)) member.circuit.lost();
      },
    };
  }

  /**
   * As `open`, with another request than a dial; of the upstreams of one dialect only if it is given. `discard` gets what a
   * second upstream has answered too late.
   */
  async reach<T>(
    options: OpenOptions,
    ask: Ask<T>,
    dialect?: Dialect,
    discard: (answer: T) => void = () => undefined,
  ): Promise<{ answer: T; attempts: number }> {
    const { signal, dialSeconds } = options;
    const deadline = this.#now() + dialSeconds * 1000;
    const flight: Flight = { options, deadline, running: new Set(), halted: null };
    const halt = (reason: unknown) => {
      flight.halted ??= reason;
      for (const stop of flight.running) stop.abort(flight.halted);
    };
    const leave = () => halt(signal.reason);
    const close = () => halt(new RelayError('draining', exits.draining.meaning));
    if (this.#closed) close();
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    this.#closing.add(close);
    try {
      return await this.#reach(flight, ask, dialect, discard);
    } finally {
      this.#closing.delete(close);
      if (this.#closing.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
      signal.removeEventListener('abort', leave);
    }
  }

  async #reach<T>(
    flight: Flight,
    ask: Ask<T>,
    dialect: Dialect | undefined,
    discard: (answer: T) => void,
  ): Promise<{ answer: T; attempts: number }> {
    const { secondDialMs, dialSeconds, avoid = null } = flight.options;
    const fit = this.#fit(dialect, avoid);
    const member = fit.find(({ circuit }) => circuit.wait() === 0);
    if (member === undefined) throw refusalFor(fit);
    const { attempts, ...result } = await race({
      first: this.#begin(member, ask, flight),
      second: (refusal) => {
        const next = flight.halted === null ? this.#second(fit, member, refusal) : undefined;
        return next === undefined || flight.deadline <= this.#now() ? null : this.#begin(next, ask, flight);
      },
      aloneMs: fit.length > 1 ? Math.min(secondDialMs, dialSeconds * 1000 * firstShare) : null,
      discard,
    });
    if ('refusal' in result) throw result.refusal;
    return { answer: result.answer, attempts };
  }

  #begin<T>(member: Member, ask: Ask<T>, { options, deadline, running, halted }: Flight): Attempt<T> {
    const { requestId, intent, onDial } = options;
    const stop = new AbortController();
    running.add(stop);
    if (halted !== null) stop.abort(halted);
    const timeoutSeconds = (deadline - this.#now()) / 1000;
    const dialing = this.#dial(member, ask, { requestId, signal: stop.signal, timeoutSeconds, intent }, onDial);
    return {
      result: dialing
        .then(
          (answer) => ({ answer }),
          (error: unknown) => ({ refusal: RelayError.from(error) }),
        )
        .finally(() => running.delete(stop)),
      stop: (reason) => stop.abort(reason),
    };
  }

  async #dial<T>(
    { target, circuit }: Member,
    ask: Ask<T>,
    options: DialOptions,
    onDial: ((event: DialEvent) => void) | undefined,
  ): Promise<T> {
    const started = this.#now();
    const outcome = circuit.begin();
    const tell = (event: DialEvent) => {
      this.#onDial?.(event);
      onDial?.(event);
    };
    try {
      const answer = await ask(target, options);
      outcome.succeeded();
      tell({ upstream: target.name, outcome: 'ok', seconds: (this.#now() - started) / 1000 });
      return answer;
    } catch (error) {
      const refusal = RelayError.from(error);
      const failure = refusal.cause instanceof DialFailure ? refusal.cause : undefined;
      if (failure) failure.isCounted = true;
      const aborted = options.signal.aborted && options.signal.reason !== overtaken;
      // One profile that upstream does not take must not close it to all others.
      const isProfiles = refusal.id === 'upstream_configuration_failed';
      if (aborted || isProfiles || failure?.kind === 'credential' || failure?.kind === 'shortage') outcome.abandoned();
      else outcome.failed(failure?.retryAfterMs, failure?.kind === 'timeout' ? 2 : 1);
      tell({
        upstream: target.name,
        outcome: aborted ? 'aborted' : refusal.id,
        seconds: (this.#now() - started) / 1000,
        ...(failure?.status === undefined ? {} : { status: failure.status }),
        ...(failure === undefined || aborted ? {} : { failure }),
      });
      throw refusal;
    }
  }

  /** Another that may be tried now; alone, the same one again when the fault was one of the moment. */
  #second(fit: readonly Member[], first: Member, refusal: RelayError | null): Member | undefined {
    const failure = refusal?.cause instanceof DialFailure ? refusal.cause : null;
    // What this process lacks it lacks for all of them.
    if (failure?.kind === 'shortage') return undefined;
    if (fit.length === 1) {
      const passing = failure?.kind === 'reset' || (failure?.kind === 'server_error' && failure.status !== 503);
      return passing && first.circuit.wait() === 0 ? first : undefined;
    }
    return fit.find(
      (member) =>
        member !== first &&
        member.circuit.wait() === 0 &&
        !(failure?.kind === 'credential' && member.target.authorize === first.target.authorize),
    );
  }

  /**
   * Why none of the upstreams (of this dialect, if one is given) would be dialled now, with the time until one may be;
   * null while one may be. Costs nothing and begins nothing.
   */
  unavailable(dialect?: Dialect): RelayError | null {
    const fit = this.#fit(dialect);
    return fit.some(({ circuit }) => circuit.wait() === 0) ? null : refusalFor(fit);
  }

  #fit(dialect: Dialect | undefined, avoid: string | null = null): readonly Member[] {
    const fit = this.#members.filter(({ target }) => dialect === undefined || target.dialect === dialect);
    if (avoid === null) return fit;
    const isMeant = ({ target }: Member) => target.name !== avoid;
    return [...fit.filter(isMeant), ...fit.filter((member) => !isMeant(member))];
  }

  /** Ready when at least one upstream would have a credential; `detail` says for the operator what the others lack. */
  ready(): { ready: boolean; detail: string | null } {
    const states = this.#members.map(({ target }) => ({ name: target.name, ...target.authorize.status() }));
    const lacking = states
      .filter((state) => !state.ready)
      .map(({ name, detail }) => `${name}: ${detail ?? 'not ready'}`);
    return { ready: lacking.length < states.length, detail: lacking.length === 0 ? null : lacking.join('; ') };
  }

  /** Resolves when no dial is under way: at once, or when the last one has ended. */
  async idle(): Promise<void> {
    if (this.#closing.size > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  /** Aborts the dials under way and refuses new ones; open sessions are their owners' to end. */
  close(): void {
    this.#closed = true;
    for (const close of this.#closing) close();
  }
}

function refusalFor(members: readonly Member[]): RelayError {
  const waits = members.map(({ circuit }) => circuit.wait());
  return new RelayError('upstream_unavailable', exits.upstream_unavailable.meaning, {
    ...(waits.length > 0 && { retryAfterMs: Math.ceil(Math.min(...waits)) }),
  });
}

/** The ways to a leg to upstream: by socket, by a browser's offer, by the id of a call. Each may be gone again: that is a swap. */

import type { Admission } from '../admission/admission.js';
import { userKey } from '../auth/principal.js';
import type { Clock } from '../clock.js';
import { RelayError } from '../errors.js';
import type { Leg } from '../legs/leg.js';
import type { JsonObject } from '../protocol/event.js';
import type { Log } from '../telemetry/log.js';
import { attach, type Call, createCall, hangUp, mintKey } from '../upstream/calls.js';
import type { Dialed } from '../upstream/dial.js';
import type { DialEvent, OpenOptions, UpstreamPool } from '../upstream/pool.js';
import { inTime } from '../wait.js';

/** One attempt to reach upstream for a session. */
export interface Attempt {
  readonly admission: Admission;
  /** What upstream is to run. */
  readonly session: JsonObject;
  /** Aborted when the session ends: nothing stays behind of what was reached by then. */
  readonly signal: AbortSignal;
  onDial(event: DialEvent): void;
  /** What upstream's own records know the leg by, where that is not the session. */
  readonly requestId?: string;
  /** The upstream that was lost: any other one is asked first. */
  readonly avoid?: string | null;
  /** Where it is not the session's own. */
  readonly dialSeconds?: number;
  readonly secondDialMs?: number;
}

/** What was reached. */
export interface Reached extends Pick<Dialed, 'upstream' | 'requestIds'> {
  readonly leg: Leg;
  readonly attempts: number;
  /** When upstream had accepted, in `performance.now()`. */
  readonly acceptedAt: number;
  /**
   * Where the client talks to upstream as well, past the relay: what upstream made of the session before the client could
   * reach it. Null where the leg is the relay's own, which upstream greets.
   */
  readonly shared: JsonObject | null;
  /** Told of the upstream's health: it was heard, or was not. */
  heard(): void;
  silent(): void;
  /** The same of a leg that was lost; `isPlain`: by what is no matter of a single session. */
  lost(isPlain: boolean): void;
  /** Reaches the same call once more; left out where the leg is beside none. */
  readonly again?: Reach;
  /** Ends what the leg is beside, if it is beside something. */
  leave(): void;
}

/** Rejects with the RelayError that the session ends with. */
export type Reach = (attempt: Attempt) => Promise<Reached>;

/** What the ways to upstream need. */
interface ReachServices {
  readonly upstreams: Pick<UpstreamPool, 'open' | 'reach'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes a leg of what was dialled. */
  leg(dialed: Dialed, limits: Admission['limits']): Leg;
}

/** Only for the start: a call goes on after its key has run out. */
const keySeconds = 30;
/** For a call to be found, all tries included. */
const attachMs = 20_000;
const hangUpSeconds = 3;
const never = new AbortController().signal;

/** The ways of one process to its upstreams, and what is still to be hung up. */
export class Reaches {
  readonly #services: ReachServices;
  readonly #hangUps = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(services: ReachServices) {
    this.#services = services;
  }

  /** A connection of the relay's own. */
  readonly bySocket: Reach = async (attempt) => {
    const { admission } = attempt;
    const opened = await this.#services.upstreams.open({
      ...optionsOf(attempt),
      ...(admission.profile.session.type === 'transcription' && { intent: 'transcription' }),
    });
    const { upstream, requestIds, attempts, heard, silent, lost } = opened;
    const user = userKey(admission.principal);
    const leg = this.#legOf(opened, attempt);
    const acceptedAt = performance.now();
    return {
      ...{ leg, upstream, requestIds, attempts, acceptedAt, shared: null, heard, silent },
      lost: (isPlain) => lost(isPlain ? null : user),
      leave: nothing,
    };
  };

  /** A call that a browser offers: `answered` is given the SDP answer, and the leg is beside the call. */
  byOffer(offer: string, answered: (answer: string) => void): Reach {
    return async (attempt) => {
      const { admission, session, signal } = attempt;
      const { answer: key, attempts } = await this.#services.upstreams.reach(
        optionsOf(attempt),
        (target, options) => mintKey(target, session, keySeconds, options),
        'ga',
      );
      // Not aborted when the client leaves: the answer names the call that has to be ended then.
      const call = await createCall(key, offer, {
        requestId: admission.requestId,
        signal: never,
        timeoutSeconds: admission.limits.dial_seconds,
      });
      const acceptedAt = performance.now();
      if (!signal.aborted) answered(call.answer);
      return await this.#beside(call, attempt, { attempts, acceptedAt, shared: key.session });
    };
  }

  /** Beside a call that exists: one that came in, or one whose leg was lost. */
  byCallId(call: Call, shared: JsonObject): Reach {
    return (attempt) => this.#beside(call, attempt, { attempts: 1, acceptedAt: performance.now(), shared });
  }

  /** The call is hung up when nobody is beside it any more. */
  async #beside(
    call: Call,
    attempt: Attempt,
    known: Pick<Reached, 'attempts' | 'acceptedAt' | 'shared'>,
  ): Promise<Reached> {
    const { admission, signal } = attempt;
    const tooLong = new AbortController();
    const cancel = this.#services.clock.at(attachMs, () =>
      tooLong.abort(new RelayError('upstream_timeout', 'The upstream did not let the relay into the call.')),
    );
    let leg: Leg;
    let dialed: Dialed;
    try {
      signal.throwIfAborted();
      dialed = await attach(call, {
        requestId: admission.requestId,
        signal: AbortSignal.any([signal, tooLong.signal]),
        timeoutSeconds: admission.limits.dial_seconds,
      });
      leg = this.#legOf(dialed, attempt);
    } catch (error) {
      this.#hangUp(call, admission);
      throw error;
    } finally {
      cancel();
    }
    // With upstream's id of the call the operator can ask for it.
    const requestIds = { ...dialed.requestIds, 'call-id': call.id };
    const leave = () => this.#hangUp(call, admission);
    return {
      leg,
      upstream: dialed.upstream,
      requestIds,
      ...known,
      heard: nothing,
      silent: nothing,
      lost: nothing,
      again: this.byCallId(call, known.shared ?? {}),
      leave,
    };
  }

  #legOf(dialed: Dialed, { admission, signal }: Attempt): Leg {
    const leg = this.#services.leg(dialed, admission.limits);
    if (signal.aborted) {
      leg.terminate();
      signal.throwIfAborted();
    }
    return leg;
  }

  #hangUp(call: Call, { id, requestId }: Admission): void {
    const { log } = this.#services;
    const done = hangUp(call, { requestId, signal: this.#stop.signal, timeoutSeconds: hangUpSeconds })
      .catch((error: unknown) => {
        // Upstream ends a call by itself, but only when its own time is up.
        log.error({ session: id, requestId, call: call.id, error: RelayError.from(error).cause }, 'call.not_hung_up');
      })
      .finally(() => this.#hangUps.delete(done));
    this.#hangUps.add(done);
  }

  /** Waits this long for what is still to be hung up, and gives up the rest. */
  async close(ms: number): Promise<void> {
    const all = Promise.all(this.#hangUps);
    if (!(await inTime(all, ms))) this.#stop.abort();
    await all;
  }
}

function optionsOf({ admission, signal, onDial, ...own }: Attempt): OpenOptions {
  const { limits } = admission;
  const { requestId = admission.requestId, avoid = null } = own;
  const { dialSeconds = limits.dial_seconds, secondDialMs = limits.second_dial_ms } = own;
  return { requestId, signal, avoid, dialSeconds, secondDialMs, onDial };
}

function nothing(): void {}

/**
 * Somebody takes over a session: from then on the model answers when a backend asks it to, and not by itself, nor for the client
 * or the relay. Whoever has taken it holds it until they give it back, or are no more.
 */

import { type User, userKey } from '../auth/principal.js';
import type { Cancel, Clock } from '../clock.js';
import { eventOf, type JsonObject, type RealtimeEvent, type Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Revocable } from '../store/revocations.js';
import { audit } from '../telemetry/log.js';
import type { Attachment } from './attachment.js';
import type { Chronicle } from './chronicle.js';
import type { Front } from './front.js';
import { createHush, type Hush } from './hush.js';
import type { Taps } from './taps.js';

/** Somebody who may hold a session. */
interface Holder extends User {
  /** The claim `jti` of the token. */
  readonly tokenId: string | null;
  /** In seconds since 1970. */
  readonly expiresAt: number;
  /** Who holds it as long as they follow it; left out: by request. */
  readonly seat?: Seat;
}

/** A backend that follows the session, and may steer it. */
interface Seat {
  /** Whether it holds the session, by itself or by a request of the same backend. */
  readonly isHolder: boolean;
  /** Takes the session over, bound to this. */
  take(force: boolean): Promise<Taken>;
  /** It follows no more. */
  leave(): void;
}

/**
 * What became of the wish to take over. `held`: somebody else has it. `late`: upstream was not silent in time, and all is as
 * before. `over`: the session has ended.
 */
type Taken = 'done' | 'held' | 'not_open' | 'late' | 'over';

/** Why a session was taken over or given back, for the log. */
type TakeoverCause = 'asked' | 'forced' | 'late' | 'left' | 'token_expired' | 'revoked';

/** The takeover of one session. */
export interface Takeover {
  /** Whether the model answers backends only, and upstream has said so. */
  readonly isOn: boolean;
  /** Who holds it. */
  readonly holder: User | null;
  /** Sees every event of upstream, before the tools. */
  readonly down: Step;
  /** A response begins that no backend has asked for, though the model should be silent. */
  readonly hush: Hush['begun'];
  /** Whether an event of upstream is of a response that the client is not to hear. */
  readonly keeps: Hush['keeps'];
  /** Takes the session over, from others only by `force`; resolves when no answer runs or can begin. */
  take(holder: Holder, force: boolean): Promise<Taken>;
  /** A backend follows the session from now on. */
  sit(user: User): Seat;
  /** Gives it back, whoever holds it. */
  giveBack(by: User): Taken;
  /** Gives it back where the token of who holds it is meant. */
  withdraw(isMeant: (held: Revocable) => boolean): void;
  /** The session has ended. */
  close(): void;
}

/** What a takeover needs of its session. */
export interface TakeoverPorts {
  readonly clock: Clock;
  readonly taps: Pick<Taps, 'step'>;
  readonly chronicle: Pick<Chronicle, 'noted'>;
  readonly front: Pick<Front, 'imposed' | 'hush' | 'hide' | 'still' | 'notify'>;
  readonly isCall: boolean;
  /** The leg to upstream once that runs what was imposed. */
  open(): Attachment | null;
}

/** For upstream to end what runs, and to take note that nothing begins by itself any more. */
const patienceMs = 3000;
/** A clock that is set meanwhile is noticed after this. */
const longestWaitMs = 60_000;
/** What may have moved things on. */
const tidings: ReadonlySet<string> = new Set([
  family.down.configured,
  family.down.error,
  family.down.answerBegun,
  family.down.answerEnded,
]);

/** Makes that of a session that nobody holds. */
export function createTakeover(ports: TakeoverPorts): Takeover {
  return new SessionTakeover(ports);
}

interface Taking {
  readonly waiting: ((taken: Taken) => void)[];
  readonly stop: Cancel;
}

class SessionTakeover implements Takeover {
  readonly #ports: TakeoverPorts;
  readonly #hush: Hush;
  isOn = false;
  holder: Holder | null = null;
  /** Those who follow the session; as many as it may have sidebands. */
  readonly #seats = new Map<Seat, User>();
  #taking: Taking | null = null;
  #expiry: Cancel | null = null;
  #looking: Cancel | null = null;
  /** Whether it was ever taken over: before that there is nothing to look at. */
  #isUsed = false;

  constructor(ports: TakeoverPorts) {
    this.#ports = ports;
    this.#hush = createHush(ports);
  }

  readonly down: Step = (event) => {
    if (!this.#isUsed) return event;
    // When whoever comes behind has seen it, too.
    if (tidings.has(event.type)) this.#looking ??= this.#ports.clock.at(0, this.#look);
    return this.#hush.down(event);
  };

  hush(response: JsonObject): void {
    this.#hush.begun(response);
  }

  keeps(event: RealtimeEvent): boolean {
    return !this.#ports.isCall && this.#hush.keeps(event);
  }

  async take(holder: Holder, force: boolean): Promise<Taken> {
    const attachment = this.#ports.open();
    if (!attachment) return 'not_open';
    const before = this.holder;
    const isOthers = before !== null && isOther(before, holder);
    if (isOthers && !force) return 'held';
    this.#hold(holder);
    if (before === null) this.#begin(attachment);
    else if (isOthers && this.isOn) this.#told('forced');
    const waiting = this.#taking?.waiting;
    const taken = waiting ? await new Promise<Taken>((resolve) => waiting.push(resolve)) : 'done';
    return this.holder !== null && isOther(this.holder, holder) ? 'held' : taken;
  }

  sit(user: User): Seat {
    const { issuer, tenant, subject } = user;
    const holds = (seat: Seat) => this.holder !== null && (this.holder.seat ?? seat) === seat && this.#isOf(user);
    const held = (seat: Seat) => ({ issuer, tenant, subject, tokenId: null, expiresAt: 0, seat });
    const seat: Seat = {
      get isHolder() {
        return holds(seat);
      },
      take: (force) => this.take(held(seat), force),
      leave: () => {
        if (!this.#seats.delete(seat)) return;
        const isBound = this.holder?.seat === undefined ? !this.#hasSeat : this.holder.seat === seat;
        if (holds(seat) && isBound) this.#release('left');
      },
    };
    this.#seats.set(seat, user);
    return seat;
  }

  #isOf(user: User): boolean {
    return this.holder !== null && userKey(this.holder) === userKey(user);
  }

  /** Whether the backend that holds the session follows it. */
  get #hasSeat(): boolean {
    return [...this.#seats.values()].some((user) => this.#isOf(user));
  }

  /** The same with a later token goes on for as long. */
  #hold(holder: Holder): void {
    this.holder = holder;
    this.#expiry?.();
    this.#expiry = null;
    if (holder.seat === undefined) this.#watch();
  }

  readonly #watch = (): void => {
    const left = (this.holder?.expiresAt ?? 0) * 1000 - Date.now();
    this.#expiry = this.#ports.clock.at(Math.min(left, longestWaitMs), () => {
      if (left > longestWaitMs) this.#watch();
      else if (!this.#hasSeat) this.#release('token_expired');
    });
  };

  #begin(attachment: Attachment): void {
    const { front, clock, isCall } = this.#ports;
    const { asks, turns } = attachment;
    this.#isUsed = true;
    front.imposed.silence.set(true);
    const { running } = asks;
    for (const id of running) this.#hush.still(id);
    front.still();
    // What the browser has of the answer and has not played yet.
    if (isCall && (running.length > 0 || turns.isPlaying())) attachment.say({ type: family.up.silence });
    this.#taking = { waiting: [], stop: clock.at(patienceMs, this.#late) };
    asks.look();
    this.#look();
  }

  readonly #look = (): void => {
    this.#looking?.();
    this.#looking = null;
    const { silence } = this.#ports.front.imposed;
    const attachment = this.#ports.open();
    if (attachment === null) return;
    const session = silence.owed();
    if (session) attachment.say({ type: family.up.configure, session: { type: 'realtime', ...session } });
    if (this.#taking && this.#isQuiet && !attachment.asks.isAwaited) this.#took();
  };

  /** Whether no answer runs that is not for a backend, and none begins by itself. */
  get #isQuiet(): boolean {
    return this.#ports.front.imposed.silence.isKept && this.#hush.isOver;
  }

  #took(): void {
    this.isOn = true;
    this.#told('asked');
    this.#settle('done');
  }

  /** What upstream was asked for and does not begin is in nobody's way. */
  readonly #late = (): void => {
    if (this.#isQuiet) this.#took();
    else this.#release('late');
  };

  giveBack(by: User): Taken {
    if (!this.#ports.open()) return 'not_open';
    if (this.holder !== null) this.#release('asked', by);
    return 'done';
  }

  withdraw(isMeant: (held: Revocable) => boolean): void {
    const { holder } = this;
    // The token of a seat ends that.
    if (holder && holder.seat === undefined && isMeant({ ...holder, claims: { jti: holder.tokenId ?? undefined } }))
      this.#release('revoked');
  }

  close(): void {
    this.#expiry?.();
    this.#looking?.();
    this.holder = null;
    this.#settle('over');
  }

  #release(why: TakeoverCause, by: User | null = this.holder): void {
    const wasOn = this.isOn;
    this.#expiry?.();
    this.holder = null;
    this.isOn = false;
    this.#ports.front.imposed.silence.set(false);
    this.#look();
    // What was held for the relay's own.
    this.#ports.open()?.asks.look();
    if (wasOn || why === 'late') this.#told(why, by);
    this.#settle(why === 'late' ? 'late' : 'done');
  }

  #settle(taken: Taken): void {
    const taking = this.#taking;
    this.#taking = null;
    taking?.stop();
    for (const resolve of taking?.waiting ?? []) resolve(taken);
  }

  #told(why: TakeoverCause, by: User | null = this.holder): void {
    const { front, taps, chronicle } = this.#ports;
    const subject = by?.subject ?? null;
    chronicle.noted({ ...audit, on: this.isOn, by: subject, why }, 'session.taken_over');
    if (why === 'late') return;
    if (why !== 'forced') front.notify('relay.taken_over', { on: this.isOn });
    taps.step('told')(eventOf({ type: 'relay.taken_over', on: this.isOn, by: subject }));
  }
}

/** Whether it is held by somebody else than who wants it. Several may follow it for one backend, and are told apart. */
function isOther(holder: Holder, other: Holder): boolean {
  return userKey(holder) !== userKey(other) || (holder.seat !== undefined && holder.seat !== other.seat);
}

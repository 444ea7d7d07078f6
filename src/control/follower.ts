/** One backend that follows a session, where the session is: what it is told of it, and what it says in it. */

import type { Buckets } from '../admission/buckets.js';
import type { Cancel, Clock } from '../clock.js';
import type { ExitId } from '../errors.js';
import { isFault, judgeBackend } from '../policy/backend.js';
import type { Fault } from '../policy/faults.js';
import { relayPrefix } from '../protocol/catalogue.js';
import { type JsonObject, objectOf, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Sender } from '../session/backend.js';
import type { Registered } from '../session/registry.js';
import { warnOf } from '../session/surely.js';
import { audit, type Log } from '../telemetry/log.js';
import type { Command } from './commands.js';
import { detachedFrom } from './detached.js';
import { crowded, eventRate, isBackedUp, whereOf } from './saying.js';
import { createSeating, isTakeover, type Seating, standingOf } from './seating.js';
import { asClientSent, asSeen, greetingOf } from './showing.js';
import type { Stream } from './streams.js';
import { ending, telling } from './telling.js';

/** Who follows a session, and how. */
export type Follow = Pick<Command<'follow'>, 'wishes' | 'by' | 'requestId'>;

/** What following needs of the instance. */
export interface FollowingPorts {
  readonly clock: Clock;
  readonly log: Log;
  /** The pace at which something is said, by session. */
  readonly rates: Buckets;
}

/** While upstream takes nothing. */
const againMs = 100;
/** For who has asked to hear that it may, and say so. */
const meetingMs = 10_000;

export class Follower {
  readonly #session: Registered;
  readonly #follow: Follow;
  readonly #ports: FollowingPorts;
  readonly #sender: Sender;
  readonly #left: () => void;
  readonly #untap: (() => void) | null;
  readonly #since = performance.now();
  /** Null for one that may only observe, as far as is known. */
  #seat: Seating | null = null;
  /** Whether the session is being taken over for it, which what it says meanwhile waits for. */
  #isTaking = false;
  #way: Stream | null = null;
  /** Said before it may be; the way's credit is its bound. */
  #unsaid: Uint8Array[] = [];
  #wait: Cancel | null = null;
  /** Ends the wait for who has asked, who may not be there any more. */
  #meeting: Cancel | null = null;
  #isBegun = false;
  #isOver = false;
  /** What there was no room for since the last gap that was told, and in all. */
  #missing = 0;
  #dropped = 0;
  #sent = 0;
  #ids = 0;
  /** By which the client knows what it has just sent. */
  #clientEventId: unknown = null;
  /** The last it is told, as there is room. */
  #last: Uint8Array[] | null = null;

  constructor(session: Registered, follow: Follow, ports: FollowingPorts, left: () => void) {
    this.#session = session;
    this.#follow = follow;
    this.#ports = ports;
    this.#left = left;
    this.#sender = {
      isJudged: false,
      // What upstream refuses comes as an event.
      failed: (eventId, error) => {
        if (error.code === 'not_answered') this.#error(error, eventId);
      },
    };
    const maySpeak = () => this.#seat !== null;
    this.#untap = session.taps.add({
      get decides() {
        return maySpeak();
      },
      ...(follow.wishes.clientEvents && {
        sent: ({ body }: RealtimeEvent) => {
          this.#clientEventId = body?.event_id ?? null;
        },
        passed: this.#safely((event: RealtimeEvent) => this.#passed(event)),
      }),
      before: this.#safely((event: RealtimeEvent) => this.#came(event)),
      told: this.#safely(({ body }: RealtimeEvent) => this.#tell(this.#seat?.asHeard(body ?? {}) ?? body ?? {})),
      opened: this.#safely(() => this.#begin()),
      draining: this.#safely(() => this.#tell({ type: 'relay.draining' })),
      ended: this.#safely((id: ExitId) => this.#ended(id)),
    });
  }

  /** Whether there was room for it among those that see what passes. */
  get listens(): boolean {
    return this.#untap !== null;
  }

  start(way: Stream): void {
    this.#way = way;
    if (this.#follow.wishes.mayWrite) this.#sit();
    this.#meeting = this.#ports.clock.at(meetingMs, () => this.#leave());
    way.start({
      received: this.#safely((piece: Uint8Array) => this.#received(piece)),
      room: this.#safely(() => this.#goOn()),
      ended: () => this.#leave(),
    });
  }

  #sit(): void {
    this.#seat ??= createSeating(this.#session.backend.takeover, this.#follow.by, (body) => this.#tell(body));
  }

  /** Whatever goes wrong here is not the session's fault, and ends only this. */
  #safely<A extends unknown[]>(work: (...args: A) => void): (...args: A) => void {
    return (...args) => {
      if (this.#isOver) return;
      try {
        work(...args);
      } catch (error) {
        warnOf(error);
        this.#finish(ending('failed', 'internal'));
      }
    };
  }

  #received(piece: Uint8Array): void {
    if (this.#last !== null) return;
    if (piece.length > 0) {
      // Only who may speak is let through, whatever they might when they came: by now they may have another token.
      this.#sit();
      this.#unsaid.push(piece);
    }
    // The first word, and an empty one, of who has asked: now both know of each other.
    else this.#meet();
    if (this.#isBegun && this.#wait === null) this.#say();
  }

  #meet(): void {
    this.#meeting?.();
    this.#meeting = null;
    this.#begin();
  }

  /** What it hears first is the session as it is now. */
  #begin(): void {
    if (this.#isBegun || this.#meeting !== null || this.#last !== null) return;
    const session = this.#session.backend.session();
    if (session === null) return;
    this.#tell({ type: family.down.greeting, session: greetingOf(session, this.#session) }, true);
    this.#isBegun = true;
    const { takeover } = this.#session.backend;
    if (takeover.isOn) this.#tell(standingOf(takeover));
    this.#say();
  }

  #came(event: RealtimeEvent): void {
    if (!this.#isBegun) return;
    if (event.type === family.down.error) {
      const error = objectOf(event.body?.error);
      this.#put(telling({ ...event.body, error: { ...error, event_id: this.#nameOf(error.event_id) } }));
      return;
    }
    const seen = asSeen(event, this.#session, this.#follow.wishes.audio);
    if (seen !== null) this.#put(telling(seen));
  }

  /** By which whoever sent an event knows it; nobody else's may be taken for it. */
  #nameOf(eventId: unknown): string | null {
    const whose = this.#session.backend.whose(eventId);
    return whose && (whose.sender === this.#sender || whose.sender.isJudged) ? whose.id : null;
  }

  #passed(event: RealtimeEvent): void {
    if (!this.#isBegun) return;
    const { event_id: given } = event.body ?? {};
    // Only where two of the client's had one id it went by another.
    const isClients = typeof given === 'string' && !given.startsWith(relayPrefix);
    const shown = asClientSent(event, isClients ? given : this.#clientEventId, this.#follow.wishes.audio);
    if (shown !== null) this.#tell({ type: 'relay.client_event', event: shown });
  }

  /** What the relay has to say itself; but for the first and the last it comes behind the beginning. */
  #tell(body: JsonObject, isAnyhow = this.#isBegun): void {
    if (isAnyhow) this.#put(telling(this.#named(body)));
  }

  #named(body: JsonObject): JsonObject {
    return { ...body, event_id: `event_rly_${++this.#ids}` };
  }

  #error(error: JsonObject, eventId: string | null): void {
    this.#tell({ type: family.down.error, error: { param: null, ...error, event_id: eventId } });
  }

  /** Sends a piece, or counts what is missing: a slow one is never waited for. */
  #put(piece: Uint8Array): void {
    if (this.#last !== null || (this.#missing === 0 && this.#way?.send(piece))) return;
    this.#missing++;
    this.#dropped++;
  }

  /** Tells what is missing, where it is missing, and then what was kept for the end. */
  #goOn(): void {
    if (this.#missing > 0) {
      if (!this.#way?.send(telling(this.#named({ type: 'relay.gap', dropped: this.#missing })))) return;
      this.#missing = 0;
    }
    if (this.#last === null) return;
    for (let [next] = this.#last; next !== undefined; [next] = this.#last) {
      if (!this.#way?.send(next)) return;
      this.#last.shift();
    }
    this.#leave();
  }

  #ended(id: ExitId): void {
    this.#finish(telling(this.#named({ type: 'relay.session_ended', reason: id })), ending('ended', id));
  }

  #finish(...last: Uint8Array[]): void {
    if (this.#last !== null || this.#isOver) return;
    this.#last = last;
    this.#stop();
    this.#goOn();
  }

  /** Hears and says nothing any more. */
  #stop(): void {
    this.#wait?.();
    this.#meeting?.();
    this.#unsaid = [];
    this.#untap?.();
    this.#seat?.leave();
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop();
    this.#way?.end();
    this.#left();
    const { by, requestId } = this.#follow;
    const { log } = this.#ports;
    const line = { ...audit, ...detachedFrom(by, this.#session.id, requestId, this.#since) };
    log.info({ ...line, sent: this.#sent, dropped: this.#dropped }, 'control.detached');
  }

  /** Says what has come, at its pace; whoever sends faster has no credit. */
  readonly #say = (): void => {
    this.#wait = null;
    const { rates, clock } = this.#ports;
    while (!this.#isOver && !this.#isTaking && this.#unsaid.length > 0) {
      const waitMs = isBackedUp(this.#session) ? againMs : rates.add(this.#session.id, eventRate, 1);
      if (waitMs > 0) {
        this.#wait = clock.at(waitMs, this.#safely(this.#say));
        return;
      }
      const piece = this.#unsaid.shift() as Uint8Array;
      this.#sent++;
      this.#carryOut(JSON.parse(Buffer.from(piece).toString()) as JsonObject);
      this.#way?.took(piece.length);
    }
  };

  #carryOut(event: JsonObject): void {
    if (this.#seat && isTakeover(event)) {
      void this.#takeOver(event, this.#seat);
      return;
    }
    const judged = judgeBackend([event], whereOf(this.#session, this.#follow.wishes.isBound), true);
    const fault = isFault(judged)
      ? judged
      : this.#session.backend.say(judged, this.#sender) === 'crowded'
        ? crowded
        : null;
    if (fault !== null) this.#refuse(event, fault);
  }

  async #takeOver(event: JsonObject, seat: Seating): Promise<void> {
    this.#isTaking = true;
    const fault = await seat.carryOut(event);
    this.#isTaking = false;
    this.#safely(() => {
      if (fault !== null) this.#refuse(event, fault);
      this.#say();
    })();
  }

  #refuse({ event_id: given }: JsonObject, { code, message, param }: Fault): void {
    const eventId = typeof given === 'string' ? given.slice(0, 512) : null;
    this.#error({ type: 'invalid_request_error', code, message, param }, eventId);
  }
}

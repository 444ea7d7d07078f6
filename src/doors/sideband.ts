/** One sideband, where its socket is: what comes over the way is sent, what the backend sends goes over the way. */

import type { Bearer } from '../admission/bearer.js';
import { Buckets } from '../admission/buckets.js';
import type { Principal } from '../auth/principal.js';
import type { Cancel, Clock } from '../clock.js';
import { eventRate } from '../control/saying.js';
import type { Stream } from '../control/streams.js';
import { told } from '../control/telling.js';
import { type ExitId, errorBody, exits, RelayError } from '../errors.js';
import type { Hold, Leg } from '../legs/leg.js';
import { clientEventId } from '../policy/end-user.js';
import { encode, eventOf, type JsonObject, objectOf, type RealtimeEvent, type Refusal } from '../protocol/event.js';
import { createRenewal } from '../session/renewal.js';

/** What a sideband works with. */
interface SidebandPorts {
  readonly leg: Leg;
  readonly way: Stream;
  readonly bearer: Bearer;
  readonly clock: Clock;
  /** The milliseconds until so many bytes may come; 0 where they may now. */
  carries(bytes: number): number;
  /** A token came with which to go on. */
  renewal(isTaken: boolean): void;
  /** It is over; called once. `isLost`: whoever had the session is no more, and cannot say so. */
  left(isLost: boolean): void;
}

/** What has come and cannot pass yet. */
interface Waiting {
  readonly piece: Uint8Array;
  readonly event: RealtimeEvent;
  /** How many of the two rates it counts in already. */
  paid: number;
}

export class Sideband {
  readonly leg: Leg;
  readonly #ports: SidebandPorts;
  readonly #renewal;
  readonly #rate = new Buckets();
  #next: Waiting | null = null;
  #heldFor: Hold | null = null;
  #wait: Cancel | null = null;
  /** Bytes that were received and are not written yet. */
  #owed = 0;
  #ids = 0;
  #isOver = false;

  constructor(ports: SidebandPorts) {
    this.leg = ports.leg;
    this.#ports = ports;
    this.#renewal = createRenewal({
      bearer: { authenticate: (token) => this.#authenticate(token) },
      decided: () => undefined,
      refuse: (refusal) => this.#refuse(refusal),
      renewed: () => this.#say({ type: 'relay.authenticated', expires_at: Math.floor(this.principal.expiresAt) }),
    });
  }

  /** Who follows, by the token that was accepted last. */
  get principal(): Principal {
    return this.#ports.bearer.principal;
  }

  start(): void {
    const fail = (error: unknown) => this.#failed(RelayError.from(error));
    this.leg.start({
      event: (event) => this.#came(event),
      unreadable: fail,
      untranslated: () => undefined,
      binary: () => this.end('unsupported_data', 'Events are JSON in text frames, not binary.'),
      closed: () => this.#leave(),
      drained: () => {
        this.#ports.way.took(this.#owed);
        this.#owed = 0;
        this.#goOn();
      },
      violated: fail,
      failed: fail,
      released: () => undefined,
    });
    this.#ports.way.start({
      received: (piece) => this.#received(piece),
      room: () => this.#goOn(),
      // Whoever had the session is no more, or has it no more.
      ended: (hasDied) => this.#lost(hasDied),
    });
  }

  /** Says goodbye for a reason of its own. */
  end(id: ExitId, message: string = exits[id].meaning): void {
    this.#close(id, exits[id].announced ? { ...errorBody(new RelayError(id, message)), event_id: null } : null);
  }

  #failed({ id, message, isBearable }: RelayError): void {
    if (isBearable) this.#refuse({ code: id, message, param: null, eventId: null });
    else this.end(id, message);
  }

  #came(event: RealtimeEvent): void {
    // Copied: what it came in is used again.
    this.#next = { event, piece: Uint8Array.from(encode(event)), paid: 0 };
    this.#goOn();
  }

  /** Lets pass what has come, and nothing else before that: whoever sends too fast, or does not read, is not read. */
  #goOn(): void {
    const next = this.#next;
    if (next === null || this.#isOver || this.#wait !== null) return;
    const waitMs = this.#waitFor(next);
    if (waitMs > 0) {
      this.#hold('rate');
      this.#wait = this.#ports.clock.at(waitMs, () => {
        this.#wait = null;
        this.#goOn();
      });
      return;
    }
    if (this.leg.isFull || !this.#pass(next)) {
      this.#hold('full');
      return;
    }
    this.#next = null;
    const why = this.#heldFor;
    this.#heldFor = null;
    // The last of all: more may come within it.
    if (why !== null) this.leg.release(why);
  }

  #hold(why: Hold): void {
    if (this.#heldFor === why) return;
    const before = this.#heldFor;
    this.#heldFor = why;
    this.leg.hold(why);
    if (before !== null) this.leg.release(before);
  }

  #waitFor(next: Waiting): number {
    const rates = [() => this.#rate.add('', eventRate), () => this.#ports.carries(next.piece.length)];
    for (const ask of rates.slice(next.paid)) {
      const waitMs = ask();
      if (waitMs > 0) return waitMs;
      next.paid++;
    }
    return 0;
  }

  /** False where the other end has no room. */
  #pass({ event, piece }: Waiting): boolean {
    if (this.#renewal(event) === null) return true;
    if (this.principal.scopes.includes('relay.sessions.write')) return this.#ports.way.send(piece);
    this.#refuse({
      code: 'forbidden',
      message: 'This token may only observe: to send, its claim "scope" must contain "relay.sessions.write", too.',
      param: null,
      eventId: clientEventId(objectOf(event.body).event_id),
    });
    return true;
  }

  async #authenticate(token: unknown): Promise<void> {
    const { bearer, renewal } = this.#ports;
    try {
      await bearer.authenticate(token);
      renewal(true);
    } catch (error) {
      renewal(false);
      throw error;
    }
  }

  #received(piece: Uint8Array): void {
    if (this.#isOver) return;
    const what = told(piece);
    if (what.kind === 'ended') this.#close('normal', null, what.id);
    else if (what.kind === 'failed') this.end(what.id);
    else {
      this.leg.send(what.event);
      // A slow one has no credit, so that events are left out where they come from.
      if (this.leg.isFull) this.#owed += piece.length;
      else this.#ports.way.took(piece.length);
    }
  }

  /** One event was not carried out; all else goes on. */
  #refuse({ code, message, param, eventId }: Refusal): void {
    this.#say({ type: 'error', error: { type: 'invalid_request_error', code, message, param, event_id: eventId } });
  }

  #say(body: JsonObject): void {
    if (!this.#isOver) this.leg.send(eventOf({ ...body, event_id: `event_rly_s${++this.#ids}` }));
  }

  /** With a whole replica its sessions are over; otherwise it may be followed again. */
  #lost(hasDied: boolean): void {
    if (hasDied) this.#say({ type: 'relay.session_ended', reason: 'internal' });
    this.#close(hasDied ? 'internal' : 'draining', null, hasDied ? 'internal' : 'draining', true);
  }

  #close(id: ExitId, error: JsonObject | null, reason: string = id, isLost = false): void {
    if (this.#isOver) return;
    if (error !== null) this.#say({ type: 'error', error });
    if (id === 'client_lost') this.leg.terminate();
    else this.leg.close({ id, event: null, reason });
    this.#leave(isLost);
  }

  #leave(isLost = false): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#next = null;
    this.#wait?.();
    this.#ports.way.end();
    this.#ports.left(isLost);
  }
}

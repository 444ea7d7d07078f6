/** Owns every `response.create` of a session, whichever leg it has: what the client asks for passes, what the relay wants waits its turn. */

import type { Cancel } from '../clock.js';
import { Bounded } from '../policy/bounded.js';
import { isObject, type JsonObject, objectOf, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Placed } from '../tools/answering.js';
import type { AskPorts } from './askports.js';
import { createFloor } from './floor.js';
import { isForBackend, isSettled, type Owed, Owing, owedFor } from './owing.js';
import { isAside, isPassing, Unanswered } from './unanswered.js';
import { type Want, wishOf } from './wants.js';

/** The asks of one session. */
export interface Asks {
  /** Takes note of the session as upstream runs it. */
  configured(session: JsonObject): void;
  /** Looks at an event of the client that policy has let pass; null where it has to wait. */
  readonly up: (event: RealtimeEvent) => RealtimeEvent | null;
  /** Looks at an event of upstream. */
  down(event: RealtimeEvent): void;
  /** Asks for what is owed, if that is in nobody's way; to be called when whoever may owe more has seen the event, too. */
  look(): void;
  /** Asks for a response as soon as that is in nobody's way. */
  want(want: Want): Placed;
  /** Asks for a response for a backend, whatever is in its way; gives what was sent. */
  sayFor(body: JsonObject): JsonObject;
  /** Keeps back the client's next `response.create` until what is returned is called: what it is about is not complete. */
  keep(): () => void;
  /** Whether something is still to be asked for. */
  readonly isOwing: boolean;
  /** Whether a response runs or was asked for, so that upstream would refuse another one. */
  readonly isBusy: boolean;
  /** The responses that run, but for those beside the conversation that a backend has asked for. */
  readonly running: readonly string[];
  /** Whether somebody else than a backend has asked for a response that has yet to begin. */
  readonly isAwaited: boolean;
  /** The conversation goes on with another leg, on which nothing runs, and which answers nothing that was said before. */
  moved(): void;
  /** The session is over: nothing is asked for any more. */
  close(): void;
}

/** Who has asked; `owed` is null for the client. */
interface Asker {
  readonly owed: Owed | null;
  /** What a follow-up goes on with. */
  readonly wish: JsonObject;
}

/** More than an honest session has at a time. */
const most = 64;
/** Upstream that says it is busy, and is not, or has trouble that may pass, is asked again, but not for ever. */
const mostTries = 5;
const againMs = 1000;

/** Makes the asks of a session in which nothing was asked yet. */
export function createAsks(ports: AskPorts): Asks {
  return new LegAsks(ports);
}

class LegAsks implements Asks {
  readonly #ports: AskPorts;
  readonly #floor;
  readonly #owing = new Owing();
  readonly #asked = new Unanswered<Asker>();
  /** Responses beside the conversation that run, and for no backend. */
  readonly #aside = new Set<string>();
  /** By response: what a follow-up of its turn goes on with. */
  readonly #wishes = new Bounded<JsonObject>(most);
  #kept: { readonly event: RealtimeEvent; isDue: boolean } | null = null;
  #keeping = 0;
  #rounds = 0;
  #toolChoice: unknown = 'auto';
  #again: Cancel | null = null;
  /** What is being answered, if it is one of these. */
  #current: Owed | null = null;

  constructor(ports: AskPorts) {
    this.#ports = ports;
    this.#floor = createFloor(ports.clock, () => this.look());
  }

  get isOwing(): boolean {
    // What is held until somebody gives the session back is waited for by nobody.
    if (this.#ports.isSilent()) return this.#owing.hasBackends;
    return !this.#owing.isEmpty || this.#kept !== null;
  }

  get isBusy(): boolean {
    return this.#floor.running.size > 0 || this.#asked.waits;
  }

  get running(): readonly string[] {
    return [...this.#floor.running, ...this.#aside];
  }

  get isAwaited(): boolean {
    return this.#asked.waitsFor(({ owed }) => !isForBackend(owed));
  }

  configured(session: JsonObject): void {
    this.#toolChoice = session.tool_choice;
    this.#floor.configured(session);
  }

  readonly up = (event: RealtimeEvent): RealtimeEvent | null => {
    if (event.body === null) return event;
    if (event.type === family.up.ask) {
      if (this.#keeping > 0 && this.#kept === null && !isAside(event.body.response)) {
        this.#kept = { event, isDue: false };
        return null;
      }
      this.#clientAsks(event.body);
    } else if (event.type === family.up.cancel) {
      this.withdraw();
      this.#owing.endAll('dropped', (owed) => !isForBackend(owed));
    }
    return event;
  };

  #clientAsks(body: JsonObject): void {
    this.#rounds = 0;
    this.#asked.note(body, { owed: null, wish: wishOf(body.response) });
  }

  down({ type, body }: RealtimeEvent): void {
    if (body === null) return;
    this.#floor.heard(type);
    onDown.get(type)?.(this, body);
  }

  want(want: Want): Placed {
    const owed = this.#owing.add(want);
    this.look();
    return {
      acknowledged() {
        owed.isAcknowledged = true;
      },
      drop: () => this.#owing.end(owed, 'dropped'),
    };
  }

  sayFor(body: JsonObject): JsonObject {
    const said = this.#ports.say(body, null);
    this.#asked.note(said, { owed: owedFor({ kind: 'backend' }), wish: {} });
    return said;
  }

  keep(): () => void {
    this.#keeping++;
    let isKeeping = true;
    return () => {
      if (!isKeeping) return;
      isKeeping = false;
      if (--this.#keeping > 0 || this.#kept === null) return;
      this.#kept.isDue = true;
      this.look();
    };
  }

  moved(): void {
    this.#floor.moved();
    this.#aside.clear();
  }

  close(): void {
    this.#again?.();
    this.#floor.close();
    this.#kept = null;
    this.#owing.endAll('dropped');
  }

  look(): void {
    const isSilent = this.#ports.isSilent();
    if (isSilent && this.#kept?.isDue) this.withdraw(true);
    if (!this.isOwing || this.isBusy || this.#again || this.#ports.isQuiet?.()) return;
    if (this.#kept?.isDue) {
      const { event } = this.#kept;
      this.#kept = null;
      this.#clientAsks(event.body as JsonObject);
      this.#ports.pass(event);
      return;
    }
    const next = this.#owing.next(this.#floor.isFree && !isSilent);
    const isFutile = next?.want.kind === 'follow-up' && this.#rounds >= 2 * this.#ports.mostRounds;
    if (next && isFutile) this.#owing.end(next, 'refused');
    else if (next) this.#ask(next);
  }

  #ask(owed: Owed): void {
    const { kind, after = null, response: own } = owed.want;
    this.#owing.take(owed);
    const wish = (after !== null && this.#wishes.get(after)) || {};
    const response = { ...wish, ...(kind === 'follow-up' && this.#choice()), ...own };
    const isBare = Object.values(response).every((value) => value === undefined);
    const body: JsonObject = { type: family.up.ask, ...(!isBare && { response }) };
    const goesOn = kind === 'follow-up' || kind === 'again';
    const said = this.#ports.say(body, goesOn ? after : null);
    this.#asked.note(said, { owed, wish });
    owed.want.asked?.(said);
  }

  /** A choice that made the model call a tool would make it call again, and for ever; so would a model that calls without. */
  #choice(): { tool_choice?: 'auto' | 'none' } {
    if (this.#rounds++ >= this.#ports.mostRounds) return { tool_choice: 'none' };
    return this.#toolChoice === 'required' || isObject(this.#toolChoice) ? { tool_choice: 'auto' } : {};
  }

  begun(response: JsonObject): void {
    const { id } = response;
    const { by, isAside } = this.#asked.begun(response);
    if (typeof id !== 'string') return;
    const { owed = null, wish = {} } = by ?? {};
    const isHushed = this.#ports.isSilent() && !isForBackend(owed);
    if (isAside && !isForBackend(owed) && this.#aside.size < most) this.#aside.add(id);
    if (!isAside) this.#floor.began(id);
    if (isHushed) this.#hush(response, owed);
    if (isAside || isHushed) return;
    this.#wishes.set(id, wish);
    this.#current = owed;
    // A filler is told what to say: it answers nothing.
    if (owed?.want.kind === 'filler') return;
    this.#owing.endAll('settled', isSettled);
    for (const { owed: one } of this.#asked) if (one && isSettled(one)) one.isOvertaken = true;
  }

  #hush(response: JsonObject, owed: Owed | null): void {
    this.#current = null;
    if (owed?.want.kind === 'filler') owed.want.ended?.('dropped');
    else if (owed) this.#owe(owed);
    this.#ports.hush(response);
  }

  /** What was asked for in vain is owed as before. */
  #owe(owed: Owed): void {
    if (owed.want.kind === 'follow-up') this.#rounds--;
    this.#owing.again(owed);
  }

  done(response: JsonObject): void {
    this.#again?.();
    this.#again = null;
    const id = String(response.id);
    this.#aside.delete(id);
    if (!this.#floor.ended(id)) return;
    this.#asked.ended();
    this.#current?.want.ended?.('answered', response);
    this.#current = null;
  }

  refused(error: JsonObject): void {
    const owed = this.#asked.refused(error, (by) => by.owed !== null)?.by.owed;
    if (!owed) return;
    if (this.#current === owed) this.#current = null;
    const isToWait = isPassing(error) && owed.want.kind !== 'backend' && ++owed.tries <= mostTries;
    if (!isToWait || owed.isOvertaken) {
      owed.want.ended?.(owed.isOvertaken ? 'settled' : 'refused');
      return;
    }
    this.#owe(owed);
    // What upstream is busy with is over with a `response.done`; where none is to come, this must do.
    this.#again ??= this.#ports.clock.at(againMs, () => {
      this.#again = null;
      this.look();
    });
  }

  added({ role }: JsonObject): void {
    if (role === 'user') this.#rounds = 0;
  }

  /** What the client has asked for and was kept is not waited for any more. */
  withdraw(isRefused = false): void {
    const kept = this.#kept;
    this.#kept = null;
    if (typeof kept?.event.body?.event_id === 'string') this.#ports.withdrawn(kept.event.body.event_id, isRefused);
  }
}

const itemAdded = (asks: LegAsks, { item }: JsonObject) => asks.added(objectOf(item));

const onDown: ReadonlyMap<string, (asks: LegAsks, body: JsonObject) => void> = new Map([
  [family.down.answerBegun, (asks: LegAsks, { response }: JsonObject) => asks.begun(objectOf(response))],
  [family.down.answerEnded, (asks: LegAsks, { response }: JsonObject) => asks.done(objectOf(response))],
  [family.down.error, (asks: LegAsks, { error }: JsonObject) => asks.refused(objectOf(error))],
  [family.down.speechBegun, (asks: LegAsks) => asks.withdraw()],
  [family.down.configured, (asks: LegAsks, { session }: JsonObject) => asks.configured(objectOf(session))],
  ...family.down.itemAdded.map((type) => [type, itemAdded] as const),
]);

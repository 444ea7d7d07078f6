/** Owns every `response.create` of a leg to upstream: what the client asks for passes, what the relay wants waits its turn. */

import type { Cancel, Clock } from '../clock.js';
import { Bounded } from '../policy/bounded.js';
import { isObject, type JsonObject, objectOf, type RealtimeEvent } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Placed, WantEnd } from '../tools/answering.js';
import { createFloor } from './floor.js';
import { isAside, isPassing, take, Unanswered } from './unanswered.js';
import type { Want } from './wants.js';

/** The asks of one leg to upstream. */
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
  /** Keeps back the client's next `response.create` until what is returned is called: what it is about is not complete. */
  keep(): () => void;
  /** Whether something is still to be asked for. */
  readonly isOwing: boolean;
  /** Whether a response runs or was asked for, so that upstream would refuse another one. */
  readonly isBusy: boolean;
  /** The leg is gone: nothing is asked for any more. */
  close(): void;
}

/** What asks need of their session. */
export interface AskPorts {
  readonly clock: Clock;
  /** Follow-ups in a row, without anything new of the user's. */
  readonly mostRounds: number;
  /** Speaks upstream and gives what was sent, with its id and its tag; `after` names the response that a follow-up goes on with. */
  say(body: JsonObject, after: string | null): JsonObject;
  /** Sends an event of the client's that was kept on its way. */
  pass(event: RealtimeEvent): void;
  /** Whether nothing is to be asked for at the moment; `look` is called when that is over. */
  isQuiet?(): boolean;
  /** An event of the client's that was kept, by its id upstream, will never be sent. */
  withdrawn(eventId: string): void;
}

/** A want and how far it has come. */
interface Owed {
  readonly want: Want;
  isAcknowledged: boolean;
  /** Another response has answered the same while upstream was being asked. */
  isOvertaken: boolean;
  /** How often upstream has said that it is busy. */
  tries: number;
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
/** A client's comes before all of them. */
const order = ['backend', 'follow-up', 'filler'] as const;

/** Makes the asks of a leg on which nothing was asked yet. */
export function createAsks(ports: AskPorts): Asks {
  return new LegAsks(ports);
}

class LegAsks implements Asks {
  readonly #ports: AskPorts;
  readonly #floor;
  readonly #owed: Owed[] = [];
  readonly #asked = new Unanswered<Asker>();
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
    return this.#owed.length > 0 || this.#kept !== null;
  }

  get isBusy(): boolean {
    return this.#floor.running.size > 0 || this.#asked.waits;
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
      for (const owed of [...this.#owed]) if (owed.want.kind !== 'backend') this.#end(owed, 'dropped');
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
    const owed: Owed = { want, isAcknowledged: false, isOvertaken: false, tries: 0 };
    this.#owed.push(owed);
    if (this.#owed.length > most) this.#end(owed, 'refused');
    this.look();
    return {
      acknowledged() {
        owed.isAcknowledged = true;
      },
      drop: () => this.#end(owed, 'dropped'),
    };
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

  close(): void {
    this.#again?.();
    this.#floor.close();
    this.#kept = null;
    for (const owed of [...this.#owed]) this.#end(owed, 'dropped');
  }

  look(): void {
    if (!this.isOwing || this.isBusy || this.#again || this.#ports.isQuiet?.()) return;
    if (this.#kept?.isDue) {
      const { event } = this.#kept;
      this.#kept = null;
      this.#clientAsks(event.body as JsonObject);
      this.#ports.pass(event);
      return;
    }
    const [next] = order
      .filter((kind) => kind === 'backend' || this.#floor.isFree)
      .flatMap((kind) => this.#owed.find(({ want }) => want.kind === kind) ?? []);
    const isFutile = next?.want.kind === 'follow-up' && this.#rounds >= 2 * this.#ports.mostRounds;
    if (next && isFutile) this.#end(next, 'refused');
    else if (next) this.#ask(next);
  }

  #ask(owed: Owed): void {
    const { kind, after = null, response: own } = owed.want;
    take(this.#owed, (one) => one === owed);
    const wish = (after !== null && this.#wishes.get(after)) || {};
    const response = { ...wish, ...(kind === 'follow-up' && this.#choice()), ...own };
    const isBare = Object.values(response).every((value) => value === undefined);
    const body: JsonObject = { type: family.up.ask, ...(!isBare && { response }) };
    const said = this.#ports.say(body, kind === 'follow-up' ? after : null);
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
    const asked = this.#asked.begun(response);
    if (typeof id !== 'string' || asked === 'aside') return;
    const { owed = null, wish = {} } = asked?.by ?? {};
    this.#floor.began(id);
    this.#wishes.set(id, wish);
    this.#current = owed;
    // A filler is told what to say: it answers nothing.
    if (owed?.want.kind === 'filler') return;
    const isSettled = (one: Owed) => one.isAcknowledged && one.want.kind === 'follow-up';
    for (const one of this.#owed.filter(isSettled)) this.#end(one, 'settled');
    for (const { owed: one } of this.#asked) if (one && isSettled(one)) one.isOvertaken = true;
  }

  done(response: JsonObject): void {
    this.#again?.();
    this.#again = null;
    if (!this.#floor.ended(String(response.id))) return;
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
    if (owed.want.kind === 'follow-up') this.#rounds--;
    this.#owed.unshift(owed);
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
  withdraw(): void {
    const kept = this.#kept;
    this.#kept = null;
    if (typeof kept?.event.body?.event_id === 'string') this.#ports.withdrawn(kept.event.body.event_id);
  }

  #end(owed: Owed, how: WantEnd): void {
    if (take(this.#owed, (one) => one === owed)) owed.want.ended?.(how);
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

/** What of a client's `response.create` holds for the rest of its turn. */
function wishOf(response: unknown): JsonObject {
  const { output_modalities, max_output_tokens } = objectOf(response);
  return { output_modalities, max_output_tokens };
}

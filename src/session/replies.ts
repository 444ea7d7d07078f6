/** What the relay itself says to the client of a session: refusals, acks, errors and `relay.*` events. */

import { type ExitId, errorBody, exits, RelayError } from '../errors.js';
import type { Leg } from '../legs/leg.js';
import { relayPrefix } from '../protocol/catalogue.js';
import { eventOf, type JsonObject, type RealtimeEvent, type Refusal } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import { errorOf } from '../protocol/refused.js';
import { type Speak, speakTo } from './speak.js';

/** What the replies need of their session. */
interface ReplyPorts {
  readonly client: Leg;
  /** Unsent bytes over which a client is taken not to read its answers. */
  readonly mostBuffered: number;
  /** Refusals after which the session ends. */
  readonly mostRefusals: number;
  /** Whether the client asked for `relay.*` events. */
  readonly relayEvents: boolean;
  isOpen(): boolean;
  end(id: ExitId, message?: string): void;
}

/** A page that sends the same update again and again needs to be told only now and then. */
const ignoredEveryMs = 1000;

export class Replies {
  readonly #ports: ReplyPorts;
  readonly #tell: Speak;
  #eventIds = 0;
  #ignoredAt = Number.NEGATIVE_INFINITY;
  #refusals = 0;

  constructor(ports: ReplyPorts) {
    this.#ports = ports;
    this.#tell = speakTo(ports.client);
  }

  /** How many events of the client were refused and held against it. */
  get refusals(): number {
    return this.#refusals;
  }

  /** The id of a server event that the relay makes. */
  eventId(): string {
    this.#eventIds++;
    return `event_${relayPrefix}${this.#eventIds}`;
  }

  /** Sends the client an event of the relay's own. One that never reads its answers would fill our memory with them. */
  answer(body: JsonObject): void {
    if (!this.#ports.isOpen()) return;
    this.#tell(body);
    if (this.#ports.client.bufferedBytes > this.#ports.mostBuffered) this.#ports.end('slow_consumer');
  }

  /** Tells the client that one of its events was not carried out; the session goes on, but not for ever. */
  refuse(refusal: Refusal, race = false): void {
    if (!this.#ports.isOpen()) return;
    this.answer(errorOf(refusal, this.eventId()));
    // What a well-behaved client runs into by bad timing alone is not held against it.
    if (race || ++this.#refusals < this.#ports.mostRefusals) return;
    const id = refusal.code === 'rate_limited' ? 'rate_limited' : 'bad_event';
    this.#ports.end(id, `${this.#refusals} events were refused; the last one: ${refusal.message}`);
  }

  /** Names the fields of an event that the profile did not let through; what comes too soon after is not told. */
  ignored(fields: readonly string[], eventId: string | null): void {
    const now = performance.now();
    if (!this.#ports.relayEvents || now - this.#ignoredAt < ignoredEveryMs) return;
    this.#ignoredAt = now;
    this.notify('relay.ignored_fields', { ...(eventId !== null && { event_id: eventId }), fields: [...fields] });
  }

  /** A `relay.*` event, for clients that asked for them. */
  notify(type: string, fields: JsonObject): void {
    if (this.#ports.relayEvents) this.#tell({ type, event_id: this.eventId(), ...fields });
  }

  /** The last thing a client hears; null where its exit has nothing to say. */
  farewell(id: ExitId, message: string | undefined, retryAfterMs: number | undefined): RealtimeEvent | null {
    if (!exits[id].announced) return null;
    const error = new RelayError(id, message ?? exits[id].meaning, { retryAfterMs });
    return eventOf({
      type: family.down.error,
      event_id: this.eventId(),
      error: { ...errorBody(error), event_id: null },
    });
  }
}

/**
 * Keeps answers of the model from a client that is not to hear them: one that runs says no more, one that begins is not shown at
 * all, and calls nothing. Both are cancelled upstream.
 */

import { Bounded } from '../policy/bounded.js';
import { type JsonObject, objectOf, type RealtimeEvent, type Step } from '../protocol/event.js';
import { family } from '../protocol/family.js';
import type { Attachment } from './attachment.js';
import type { Front } from './front.js';
import type { Taps } from './taps.js';

/** What hushing needs of its session. */
interface HushPorts {
  readonly taps: Pick<Taps, 'step'>;
  readonly front: Pick<Front, 'hush' | 'hide'>;
  /** Whether its sound goes past the relay: then answers can be ended, and not kept back. */
  readonly isCall: boolean;
  /** The leg to upstream once that runs what was imposed. */
  open(): Attachment | null;
}

/** Of one session. */
export interface Hush {
  /** Comes before the tools, and before whoever shows the client something. */
  readonly down: Step;
  /** Whether all that was hushed is over. */
  readonly isOver: boolean;
  /** A response that runs says no more. */
  still(responseId: string): void;
  /** A response that begins is not shown. */
  begun(response: JsonObject): void;
  /** Whether an event of upstream is of a response that is not shown. */
  keeps(event: RealtimeEvent): boolean;
}

/** More than upstream lets run at a time, and more items than these have. */
const mostResponses = 64;
const mostItems = 512;
const itemAdded: ReadonlySet<string> = new Set(family.down.itemAdded);

/** Makes it for a session in which nothing is hushed. */
export function createHush(ports: HushPorts): Hush {
  return new SessionHush(ports);
}

class SessionHush implements Hush {
  readonly #ports: HushPorts;
  readonly #stilled = new Bounded<true>(mostResponses);
  /** Responses that are not shown, with their items that came into the conversation. */
  readonly #hidden = new Bounded<string[]>(mostResponses);
  readonly #items = new Bounded<string>(mostItems);
  readonly #running = new Set<string>();
  /** Those beside are shown what the client is not. */
  readonly #show: Step;

  constructor(ports: HushPorts) {
    this.#ports = ports;
    this.#show = ports.taps.step('before');
  }

  get isOver(): boolean {
    // What has ended with its leg is never said to be over.
    return this.#ports.open()?.asks.running.every((id) => !this.#running.has(id)) !== false;
  }

  still(responseId: string): void {
    this.#stilled.set(responseId, true);
    this.#cancel(responseId);
  }

  begun(response: JsonObject): void {
    const id = String(response.id);
    this.#hidden.set(id, []);
    this.#ports.front.hush(response);
    this.#cancel(id);
  }

  #cancel(id: string): void {
    this.#running.add(id);
    const [oldest] = this.#running;
    if (this.#running.size > mostResponses && oldest !== undefined) this.#running.delete(oldest);
    this.#ports.open()?.cancel(id);
  }

  keeps(event: RealtimeEvent): boolean {
    return this.#hidden.size > 0 && this.#hides(event);
  }

  #hides(event: RealtimeEvent): boolean {
    return this.#hidden.has(responseOf(event)) || this.#items.has(itemOf(event));
  }

  readonly down: Step = (event) => {
    // Hardly any session is ever taken over.
    if (this.#hidden.size + this.#stilled.size === 0) return event;
    const id = responseOf(event);
    const isOver = event.type === family.down.answerEnded && this.#running.delete(id);
    if (this.#hides(event)) this.#keep(event, id, isOver);
    else if (!this.#stilled.has(id) || !isSpeech(event)) return event;
    this.#show(event);
    return null;
  };

  #keep({ type, body }: RealtimeEvent, id: string, isOver: boolean): void {
    if (body === null) return;
    const { front, isCall, open } = this.#ports;
    const { item, previous_item_id: previous } = body;
    const { id: itemId } = objectOf(item);
    if (typeof itemId === 'string') {
      const known = this.#items.get(itemId);
      if (known === undefined) this.#items.set(itemId, id);
      else if (itemAdded.has(type)) this.#hidden.get(known)?.push(itemId);
      front.hide(itemId, previous);
    }
    if (isCall && type === family.down.playingBegun) open()?.say({ type: family.up.silence });
    if (isOver) this.#forget(id);
    // Nobody else sees that this is over.
    open()?.asks.look();
  }

  /** The model must not take for said what nobody has heard; in a call some of it was. */
  #forget(id: string): void {
    const { isCall, open } = this.#ports;
    if (isCall) return;
    for (const itemId of this.#hidden.get(id) ?? []) open()?.say({ type: family.up.remove, item_id: itemId });
  }
}

function responseOf({ responseId, body }: RealtimeEvent): string {
  return responseId ?? String(body?.response_id ?? objectOf(body?.response).id);
}

function itemOf({ itemId, body }: RealtimeEvent): string {
  return itemId ?? String(body?.item_id ?? objectOf(body?.item).id);
}

/** Whether it brings more of an answer. */
function isSpeech({ type }: RealtimeEvent): boolean {
  return type.endsWith('.delta');
}

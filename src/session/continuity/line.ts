/** One leg to upstream as a conversation goes over it: what is remembered of what passes, and what is answered here. */

import { randomBytes } from 'node:crypto';
import { eventOf, type JsonObject, objectOf, type RealtimeEvent, type Step } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import type { Attachment } from '../attachment.js';
import type { Lists } from '../steps.js';
import type { Memory } from './memory.js';
import type { Piece } from './microphone.js';
import type { Mirror } from './mirror.js';
import type { View } from './view.js';

/** What a leg has that was told of the past. */
export interface Fresh {
  readonly mirror: Mirror;
  readonly view: View;
  /** Looks at its first answer; null where nothing speaks. */
  readonly spoken: Step | null;
}

export class Line {
  readonly attachment: Attachment;
  readonly #memory: Memory;
  readonly #fresh: Fresh | null;
  readonly #came: (event: RealtimeEvent) => void;

  /**
   * @param fresh null for the first leg of a session
   * @param came told of what has come, after it is remembered
   */
  constructor(attachment: Attachment, memory: Memory, fresh: Fresh | null, came: (event: RealtimeEvent) => void) {
    this.attachment = attachment;
    this.#memory = memory;
    this.#fresh = fresh;
    this.#came = came;
  }

  /** The steps of a session with what its memory needs. */
  around({ up, down }: Lists): Lists {
    const { mirror, spoken, view } = this.#fresh ?? {};
    const first = [...(mirror ? [mirror.step] : []), ...(spoken ? [spoken] : []), ...(view ? [view.down] : [])];
    return { up: [...up, this.outgoing], down: [...first, this.#remember, ...down] };
  }

  readonly #remember: Step = (event) => {
    this.#memory.came(event);
    if (event.body !== null) this.#came(event);
    return event;
  };

  /** Remembers what goes upstream, and answers for a leg what that could only refuse. */
  readonly outgoing: Step = (event) => {
    if (event.body === null || event.type === family.up.audio) {
      this.#memory.sent(event);
      return event;
    }
    const body = this.#fit(named(event.body));
    if (this.#answers(body)) return null;
    const sent = body === event.body ? event : eventOf(body);
    this.#memory.sent(sent);
    if (this.#fresh === null) return sent;
    const said = this.#fresh.view.up(body);
    if (body.type === family.up.remove) this.#fresh.mirror.forget(String(body.item_id));
    return said === body ? sent : eventOf(said);
  };

  /** No leg knows what is behind an item that was never told to it. */
  #fit(body: JsonObject): JsonObject {
    const { previous_item_id: previous, ...rest } = body;
    if (this.#fresh === null || previous === undefined) return body;
    return this.#memory.shadow.isGone(previous) || this.#fresh.mirror.isLine(previous) ? rest : body;
  }

  /** The sound of an item that a leg knows in words cannot be cut there, and one that it was not told cannot be taken away. */
  #answers({ type, item_id: id, content_index, audio_end_ms }: JsonObject): boolean {
    const mirror = this.#fresh?.mirror;
    if (mirror === undefined || typeof id !== 'string') return false;
    const { shadow } = this.#memory;
    const isGone = shadow.isGone(id);
    const isLine = mirror.isLine(id);
    if (type === family.up.truncate && (isGone || mirror.has(id))) {
      this.#say({ type: family.down.truncated, item_id: id, content_index, audio_end_ms });
    } else if (type === family.up.remove && (isGone || isLine)) {
      this.#say({ type: family.down.deleted, item_id: id });
    } else return false;
    if (!isGone) mirror.retell(id, shadow.entries);
    return true;
  }

  /** As if upstream had said it. */
  #say(body: JsonObject): void {
    this.attachment.down.push(eventOf(body), 0, performance.now());
  }

  /** Sends a fresh leg what the one before it left unanswered, in order, with the sound that it has yet to hear. */
  catchUp(): void {
    const { microphone, journal } = this.#memory;
    const { attachment } = this;
    const { leg } = attachment.reached;
    const pieces = microphone.pending();
    let next = 0;
    const sendUntil = (at: number) => {
      for (let piece = pieces[next]; piece && piece.from < at; piece = pieces[++next]) leg.send(soundEvent(piece));
    };
    attachment.turns.isRecording = pieces.length > 0;
    for (const { body, at } of journal.takeAll()) {
      sendUntil(at);
      attachment.meter.injected(body);
      this.#memory.resending = at;
      attachment.send(eventOf(body));
    }
    this.#memory.resending = null;
    sendUntil(Number.POSITIVE_INFINITY);
  }
}

/** A copy: a leg masks what it sends where it stands, and this one may be lost as well. */
function soundEvent({ message }: Piece): RealtimeEvent {
  return { ...eventOf({ type: family.up.audio }), raw: Buffer.from(message), body: null };
}

/** An item without an id could not be told from another one, had it to be sent again. */
function named(body: JsonObject): JsonObject {
  const item = objectOf(body.item);
  if (body.type !== family.up.item || typeof item.id === 'string') return body;
  return { ...body, item: { ...item, id: `item_${randomBytes(16).toString('base64url')}` } };
}

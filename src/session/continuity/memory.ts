/** All that a session remembers so that it can go on with a fresh leg, fed by what passes. */

import { base64Bytes } from '../../protocol/audio.js';
import { type JsonObject, objectOf, type RealtimeEvent } from '../../protocol/event.js';
import { family } from '../../protocol/family.js';
import { bytesPerSecond } from '../limits.js';
import { isAside } from '../unanswered.js';
import { isWordless } from './entry.js';
import { Journal } from './journal.js';
import { Microphone } from './microphone.js';
import { Running } from './running.js';
import { Shadow, type ShadowLimits } from './shadow.js';

/** The memory of one session. */
export class Memory {
  readonly shadow: Shadow;
  readonly running = new Running();
  readonly microphone: Microphone;
  readonly journal = new Journal();
  /** What upstream called the conversation at first. */
  conversationId: string | null = null;
  /** Where in the sound an event stood that is sent again; null while none is. */
  resending: number | null = null;

  /** @param position bytes of sound that upstream was sent before */
  constructor(limits: ShadowLimits, lookBackSeconds: number, position: number) {
    this.shadow = new Shadow(limits);
    this.microphone = new Microphone(lookBackSeconds, position);
  }

  get bytes(): number {
    return this.shadow.bytes + this.microphone.bytes + this.journal.bytes;
  }

  /** Takes note of the session as upstream runs it. */
  configured(session: JsonObject): void {
    const { input, output } = objectOf(session.audio);
    this.microphone.configured(bytesPerSecond(objectOf(input).format), session);
    this.shadow.configured(bytesPerSecond(objectOf(output).format));
  }

  /** Takes note of an event on its way upstream. */
  sent(event: RealtimeEvent): void {
    const { type, body } = event;
    if (type === family.up.audio) this.microphone.keep(event);
    else if (body !== null) {
      if (type === family.up.cancel) this.running.cancelled(body.response_id);
      if (type === family.up.item) this.#brought(objectOf(body.item));
      this.journal.keep(body, this.resending ?? this.microphone.position);
    }
  }

  #brought({ id, content }: JsonObject): void {
    const sounds = Array.isArray(content) ? content.map((part) => objectOf(part).audio) : [];
    const [audio] = sounds.filter((one) => typeof one === 'string');
    if (typeof id === 'string' && audio !== undefined) this.microphone.brought(id, audio);
  }

  /** Takes note of an event of upstream. */
  came(event: RealtimeEvent): void {
    const { type, raw, body } = event;
    if (type === family.down.audio) this.#spoke(event);
    else if (raw !== null) this.running.worded(event);
    else if (body !== null) this.#saw(type, body);
  }

  #spoke(event: RealtimeEvent): void {
    const { body } = event;
    const piece = body === null ? event : slow(event, body);
    this.shadow.spoke(piece);
    this.running.spoke(piece);
  }

  #saw(type: string, body: JsonObject): void {
    const { journal, microphone } = this;
    const answers = type === family.down.cleared ? family.up.clear : family.up.commit;
    microphone.saw(type, body, journal.sentAt(answers) ?? microphone.position);
    if (type === family.down.configured) this.configured(objectOf(body.session));
    if (type === family.down.answerBegun) this.#began(objectOf(body.response));
    journal.saw(type, body);
    this.shadow.saw(type, body);
    this.running.saw(type, body);
    // Words may come before what they are the words of.
    const said = type === family.down.committed ? this.shadow.find(body.item_id) : undefined;
    if (said && !isWordless(said)) microphone.worded(said.id);
  }

  #began(response: JsonObject): void {
    const asked = this.journal.begun(response);
    const { conversation_id: conversation } = response;
    if (typeof conversation === 'string') this.conversationId ??= conversation;
    this.running.began(response, asked, conversation === null || isAside(asked?.response));
  }
}

/** Sound that had to be parsed, as it would have been read otherwise. */
function slow(event: RealtimeEvent, { item_id, response_id, delta }: JsonObject): RealtimeEvent {
  const [itemId, responseId] = [item_id, response_id].map((id) => (typeof id === 'string' ? id : null));
  return { ...event, itemId: itemId ?? null, responseId: responseId ?? null, audioBytes: base64Bytes(delta) };
}

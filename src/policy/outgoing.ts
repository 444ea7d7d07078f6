/** Sends what was judged: gives it the id it goes upstream with, and remembers what its answer will need. */

import { relayPrefix } from '../protocol/catalogue.js';
import { type JsonObject, objectOf } from '../protocol/event.js';
import { root } from './leading.js';
import { setFields } from './locks.js';
import { wordBytes } from './seeds.js';
import { fieldOf, isObject } from './shape.js';
import type { Memory } from './state.js';

/** Whose words the parties of a conversation say. */
const spoken: ReadonlySet<unknown> = new Set(['user', 'assistant']);

/** Prepares events of one session for upstream. */
export class Outgoing {
  readonly #memory: Memory;
  #ids = 0;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** A judged event of the client as it goes upstream, or null when the relay answers it by itself. */
  client(body: JsonObject, clientId: string | null): JsonObject | null {
    if (body.type === 'session.update') return this.#update(body, clientId);
    let out: JsonObject = { ...body };
    let undo: (() => void) | null = null;
    let tag: string | undefined;
    if (body.type === 'response.create') ({ body: out, undo, tag } = this.#response(body));
    else if (body.type === 'conversation.item.create') {
      const { leading } = this.#memory.items;
      // The beginning is behind what the server says there, whoever asks for it.
      if (fieldOf(out, 'previous_item_id') === root && leading !== null) out.previous_item_id = leading;
      undo = this.#item(body);
    } else if (body.type === 'conversation.item.retrieve') undo = this.#retrieval(body);
    if (undo === null) {
      if (clientId === null) delete out.event_id;
      else out.event_id = clientId;
      return out;
    }
    const { sent } = this.#memory;
    // An error must lead back to this very event, even when a client uses one id for all.
    const eventId = clientId === null || sent.has(clientId) ? this.#nextId('c') : clientId;
    sent.set(eventId, { by: 'client', clientId, tag, undo });
    return { ...out, event_id: eventId };
  }

  /** An event of the relay as it goes upstream; `after` is the response whose turn it goes on with. */
  relay(body: JsonObject, after: string | null): JsonObject {
    const { items, responses, updates, sent, trusted, imposed } = this.#memory;
    const eventId = this.#nextId('');
    const out: JsonObject = { ...body, event_id: eventId };
    if (body.type === 'session.update') {
      updates.push({ by: 'relay', eventId });
      if (isObject(body.session)) out.session = imposed.silence.sending(eventId, body.session, true);
    }
    if (body.type === 'conversation.item.create' && isObject(body.item)) {
      const item = this.#named(body.item);
      // A trusted client sees what its tools return, but never what the relay says to the model.
      if (!trusted || item.type === 'message') items.hide(item.id, fieldOf(body, 'previous_item_id'));
      out.item = item;
    }
    if (body.type === 'response.create') {
      const response = isObject(body.response) ? body.response : {};
      const metadata = fieldOf(response, 'metadata');
      const ask = responses.ask({
        by: 'relay',
        hidden: fieldOf(response, 'conversation') === 'none',
        metadata: after === null ? null : responses.attached(after),
      });
      out.response = { ...response, metadata: { ...(isObject(metadata) ? metadata : {}), ...ask.metadata } };
      sent.set(eventId, { by: 'relay', clientId: null, undo: () => responses.forget(ask.tag) });
    }
    return out;
  }

  /** An item that a backend puts in, as it goes upstream: kept from the client, unless its profile shows it what is said. */
  put(body: JsonObject): JsonObject {
    const { items, profile, sent } = this.#memory;
    const given = objectOf(body.item);
    const role = fieldOf(given, 'role');
    const isShown = profile.client.injected === 'messages' && fieldOf(given, 'type') === 'message' && spoken.has(role);
    const item = isShown ? this.#shown(given) : this.#named(given);
    const previous = fieldOf(body, 'previous_item_id');
    const eventId = this.#nextId('b');
    if (isShown) items.show(item.id, { kind: String(role), byClient: false }, previous);
    else items.hide(item.id, previous);
    sent.set(eventId, { by: 'relay', clientId: null, undo: () => isShown && items.forget(item.id) });
    return { ...body, event_id: eventId, item };
  }

  /** With an id by which it is known to be the relay's own, where it has none. */
  #named(item: JsonObject): JsonObject & { id: string } {
    const given = fieldOf(item, 'id');
    return { ...item, id: typeof given === 'string' ? given : this.#nextId('i') };
  }

  /** With an id that says nothing, where it has none. */
  #shown(item: JsonObject): JsonObject & { id: string } {
    const given = fieldOf(item, 'id');
    let id = typeof given === 'string' ? given : '';
    while (id === '' || (id !== given && this.#memory.items.knows(id))) id = `item_b${++this.#ids}`;
    return { ...item, id };
  }

  /** What a backend sets, as it goes upstream. */
  backend(fields: JsonObject): JsonObject {
    const { updates, imposed, profile } = this.#memory;
    const eventId = this.#nextId('b');
    updates.push({ by: 'backend', eventId, settled: imposed.patching(fields) });
    const session = imposed.silence.sending(eventId, { type: profile.session.type, ...fields }, false);
    return { type: 'session.update', event_id: eventId, session };
  }

  #nextId(kind: string): string {
    return `${relayPrefix}${kind}${++this.#ids}`;
  }

  #update(body: JsonObject, clientId: string | null): JsonObject | null {
    const { updates, sent, profile, imposed } = this.#memory;
    const session = fieldOf(body, 'session');
    const fields = isObject(session) ? session : {};
    if (setFields(fields).length === 0 && isObject(session)) return null;
    const eventId = this.#nextId('c');
    updates.push({ by: 'client', eventId, fields });
    sent.set(eventId, { by: 'client', clientId, undo: () => undefined });
    if (!isObject(session)) return { ...body, event_id: eventId };
    const whole = { type: profile.session.type, ...session };
    return { ...body, event_id: eventId, session: imposed.silence.sending(eventId, whole, false) };
  }

  #response(body: JsonObject): { body: JsonObject; undo: () => void; tag: string } {
    const { responses } = this.#memory;
    const wish = fieldOf(body, 'response');
    const response = isObject(wish) ? wish : {};
    const metadata = fieldOf(response, 'metadata');
    const ask = responses.ask({ by: 'client', hidden: false, metadata: isObject(metadata) ? metadata : null });
    return {
      body: { ...body, response: { ...response, metadata: ask.metadata } },
      undo: () => responses.forget(ask.tag),
      tag: ask.tag,
    };
  }

  #item(body: JsonObject): () => void {
    const memory = this.#memory;
    const given = fieldOf(body, 'item');
    const item = isObject(given) ? given : {};
    const id = fieldOf(item, 'id');
    const callId = fieldOf(item, 'call_id');
    memory.created++;
    if (!memory.responses.begun) memory.seeds.bytes += wordBytes(item);
    if (fieldOf(item, 'type') === 'function_call_output' && typeof callId === 'string') {
      // Stays answered even if upstream refuses the answer: an id can be used again, an answer cannot be taken back.
      memory.calls.set(callId, true);
    }
    if (fieldOf(item, 'type') !== 'message') return () => undefined;
    if (typeof id === 'string') {
      const role = fieldOf(item, 'role');
      memory.items.show(id, { kind: typeof role === 'string' ? role : '', byClient: true }, undefined);
      return () => memory.items.forget(id);
    }
    memory.unnamed++;
    return () => {
      memory.unnamed = Math.max(0, memory.unnamed - 1);
    };
  }

  #retrieval(body: JsonObject): () => void {
    const { retrieving } = this.#memory;
    const itemId = fieldOf(body, 'item_id');
    if (typeof itemId !== 'string') return () => undefined;
    retrieving.set(itemId, true);
    return () => void retrieving.delete(itemId);
  }
}

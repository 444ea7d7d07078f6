/** Sends what was judged: gives it the id it goes upstream with, and remembers what its answer will need. */

import { relayPrefix } from '../protocol/catalogue.js';
import type { JsonObject } from '../protocol/event.js';
import { remember } from './bounded.js';
import { setFields } from './locks.js';
import { keepSent, type Memory } from './memory.js';
import { isObject, own } from './shape.js';

const maxRetrievals = 256;

/** Prepares events of one session for upstream. */
export interface Asking {
  /** A judged event of the client as it goes upstream, or null when the relay answers it by itself. */
  client(body: JsonObject, clientId: string | null): JsonObject | null;
  /** An event of the relay as it goes upstream. */
  relay(body: JsonObject): JsonObject;
}

/** Makes what prepares the events of one session. */
export function createAsking(memory: Memory): Asking {
  const { items, responses, updates } = memory;
  let ids = 0;
  const nextId = (kind: string): string => `${relayPrefix}${kind}${++ids}`;

  function sendUpdate(body: JsonObject, clientId: string | null): JsonObject | null {
    const session = own(body, 'session');
    const fields = isObject(session) ? session : {};
    if (setFields(fields).length === 0 && isObject(session)) return null;
    const eventId = nextId('c');
    updates.push({ by: 'client', eventId, fields });
    keepSent(memory, eventId, { by: 'client', clientId, undo: () => undefined });
    if (!isObject(session)) return { ...body, event_id: eventId };
    return { ...body, event_id: eventId, session: { type: memory.profile.session.type, ...session } };
  }

  function sendResponse(body: JsonObject): { body: JsonObject; undo: () => void } {
    const wish = own(body, 'response');
    const response = isObject(wish) ? wish : {};
    const metadata = own(response, 'metadata');
    const ask = responses.ask({ by: 'client', hidden: false, metadata: isObject(metadata) ? metadata : null });
    return {
      body: { ...body, response: { ...response, metadata: ask.metadata } },
      undo: () => responses.forget(ask.tag),
    };
  }

  function sendItem(body: JsonObject): () => void {
    const given = own(body, 'item');
    const item = isObject(given) ? given : {};
    const id = own(item, 'id');
    const callId = own(item, 'call_id');
    memory.created++;
    if (own(item, 'type') === 'function_call_output' && typeof callId === 'string') {
      // Stays answered even if upstream refuses the answer: an id can be used again, an answer cannot be taken back.
      memory.calls.set(callId, true);
    }
    if (own(item, 'type') !== 'message') return () => undefined;
    if (typeof id === 'string') {
      const role = own(item, 'role');
      items.show(id, { kind: typeof role === 'string' ? role : '', byClient: true }, undefined);
      return () => items.forget(id);
    }
    memory.unnamed++;
    return () => {
      memory.unnamed = Math.max(0, memory.unnamed - 1);
    };
  }

  function sendRetrieval(body: JsonObject): () => void {
    const itemId = own(body, 'item_id');
    if (typeof itemId !== 'string') return () => undefined;
    remember(memory.retrieving, itemId, true, maxRetrievals);
    return () => void memory.retrieving.delete(itemId);
  }

  return {
    client(body, clientId) {
      if (body.type === 'session.update') return sendUpdate(body, clientId);
      let out: JsonObject = { ...body };
      let undo: (() => void) | null = null;
      if (body.type === 'response.create') ({ body: out, undo } = sendResponse(body));
      else if (body.type === 'conversation.item.create') undo = sendItem(body);
      else if (body.type === 'conversation.item.retrieve') undo = sendRetrieval(body);
      if (undo === null) {
        if (clientId === null) delete out.event_id;
        else out.event_id = clientId;
        return out;
      }
      // An error must lead back to this very event, even when a client uses one id for all.
      const eventId = clientId === null || memory.sent.has(clientId) ? nextId('c') : clientId;
      keepSent(memory, eventId, { by: 'client', clientId, undo });
      return { ...out, event_id: eventId };
    },
    relay(body) {
      const eventId = nextId('');
      const out: JsonObject = { ...body, event_id: eventId };
      if (body.type === 'session.update') updates.push({ by: 'relay', eventId });
      if (body.type === 'conversation.item.create' && isObject(body.item)) {
        const given = own(body.item, 'id');
        const id = typeof given === 'string' ? given : nextId('i');
        // A trusted client sees what its tools return, but never what the relay says to the model.
        if (!memory.trusted || body.item.type === 'message') items.hide(id, own(body, 'previous_item_id'));
        out.item = { ...body.item, id };
      }
      if (body.type === 'response.create') {
        const response = isObject(body.response) ? body.response : {};
        const ask = responses.ask({ by: 'relay', hidden: own(response, 'conversation') === 'none', metadata: null });
        const metadata = own(response, 'metadata');
        out.response = { ...response, metadata: { ...(isObject(metadata) ? metadata : {}), ...ask.metadata } };
        keepSent(memory, eventId, { by: 'relay', clientId: null, undo: () => responses.forget(ask.tag) });
      }
      return out;
    },
  };
}

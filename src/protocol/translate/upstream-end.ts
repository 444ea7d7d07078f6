/** The upstream's end of a session whose upstream speaks preview. */

import type { Json, JsonObject, Refusal, Step } from '../event.js';
import { itemToGa, itemToPreview, responseRequestToPreview, responseToGa } from './items.js';
import { errorToGa } from './params.js';
import { forget, idIn, idOf, remember } from './seen.js';
import { type SessionKind, sessionToGa, updateToPreview } from './session.js';
import { gaNames, type Rule, type Rules, refusalOf, stepOf, type TranslationPorts, withItem } from './step.js';
import { isObject } from './tables.js';
import { unsupportedByPreview } from './unsupported.js';

/** Both ways. */
interface PreviewUpstream {
  readonly toUpstream: Step;
  readonly fromUpstream: Step;
  /** What of an event in GA cannot be said; null where there is nothing. */
  unsaid(body: JsonObject): Refusal | null;
}

/** For an upstream that speaks preview: GA client events become preview, and its events become GA. */
export function previewUpstream(ports: TranslationPorts): PreviewUpstream {
  const items = new Map<string, { previousItemId: Json | undefined; done: boolean }>();
  const functionNames = new Map<string, string>();
  let kind: SessionKind = 'realtime';

  function announce(body: JsonObject): readonly JsonObject[] {
    const added: JsonObject = { ...withItem(body, itemToGa), type: 'conversation.item.added' };
    const id = idIn(body.item);
    if (id === null) return [added];
    if (items.has(id)) return [];
    learnName(body);
    remember(items, id, { previousItemId: body.previous_item_id, done: false });
    return isBeingWritten(body.item) ? [added] : [added, ...finish(added.item)];
  }

  /** The one conversation.item.done of an item of the conversation, given the item in its GA form. */
  function finish(item: Json | undefined): readonly JsonObject[] {
    const id = idIn(item);
    const known = id === null ? undefined : items.get(id);
    if (item === undefined || known === undefined || known.done) return [];
    known.done = true;
    const { previousItemId } = known;
    return [
      {
        type: 'conversation.item.done',
        event_id: ports.eventId(),
        ...(previousItemId === undefined ? {} : { previous_item_id: previousItemId }),
        item,
      },
    ];
  }

  function learnName({ item }: JsonObject): void {
    if (!isObject(item) || item.type !== 'function_call') return;
    const id = idOf(item.id);
    const name = idOf(item.name);
    if (id !== null && name !== null) remember(functionNames, id, name);
  }

  function showSession(type: string, of: SessionKind): Rule {
    return (body) => {
      kind = of;
      return { ...body, type, ...(isObject(body.session) ? { session: sessionToGa(body.session, of) } : {}) };
    };
  }

  function unsaid(body: JsonObject): Refusal | null {
    const found = unsupportedByPreview(body, kind);
    return found && refusalOf(body, found);
  }

  function refusing(rule: Rule): Rule {
    return (body) => {
      const refusal = unsaid(body);
      if (!refusal) return rule(body);
      ports.refuse(refusal);
      return null;
    };
  }

  const toUpstream: Rules = {
    'session.update': refusing((body) => ({
      ...body,
      type: kind === 'transcription' ? 'transcription_session.update' : 'session.update',
      ...(isObject(body.session) ? { session: updateToPreview(body.session) } : {}),
    })),
    'conversation.item.create': refusing((body) => withItem(body, itemToPreview)),
    'response.create': refusing((body) =>
      isObject(body.response) ? { ...body, response: responseRequestToPreview(body.response) } : body,
    ),
  };

  const fromUpstream: Rules = {
    error: errorToGa,
    'session.created': showSession('session.created', 'realtime'),
    'session.updated': showSession('session.updated', 'realtime'),
    'transcription_session.created': showSession('session.created', 'transcription'),
    'transcription_session.updated': showSession('session.updated', 'transcription'),
    'conversation.created': () => null,
    'conversation.item.created': announce,
    'conversation.item.added': announce,
    'conversation.item.done': (body) => {
      const known = items.get(idIn(body.item) ?? '');
      if (known?.done) return null;
      if (known) known.done = true;
      return withItem(body, itemToGa);
    },
    'conversation.item.retrieved': (body) => withItem(body, itemToGa),
    'conversation.item.deleted': (body) => {
      forget(items, body.item_id);
      forget(functionNames, body.item_id);
      return body;
    },
    'response.created': withResponseToGa,
    'response.done': (body) => {
      const shown = withResponseToGa(body);
      const output = isObject(shown.response) ? shown.response.output : undefined;
      // An item that was cut off may never have had its response.output_item.done.
      return Array.isArray(output) ? [...output.flatMap(finish), shown] : shown;
    },
    'response.output_item.added': (body) => {
      learnName(body);
      return withItem(body, itemToGa);
    },
    'response.output_item.done': (body) => {
      const shown = withItem(body, itemToGa);
      return [shown, ...finish(shown.item)];
    },
    'response.function_call_arguments.done': (body) => {
      const name = functionNames.get(idOf(body.item_id) ?? '');
      return body.name !== undefined || name === undefined ? body : { ...body, name };
    },
  };

  return { toUpstream: stepOf(toUpstream), fromUpstream: stepOf(fromUpstream, gaNames), unsaid };
}

function withResponseToGa(body: JsonObject): JsonObject {
  return isObject(body.response) ? { ...body, response: responseToGa(body.response) } : body;
}

/** Whether the model is still producing an item, so that more about it will follow. */
function isBeingWritten(item: Json | undefined): boolean {
  if (!isObject(item) || item.status === 'completed' || item.status === 'incomplete') return false;
  return item.type === 'function_call' || item.role === 'assistant';
}

/** The client's end of a session whose client speaks preview. */

import { heardDown } from '../catalogue.js';
import type { Json, JsonObject, Step } from '../event.js';
import { isMcpItem, itemToGa, responseRequestToGa, responseToPreview, shownItemToPreview } from './items.js';
import { errorToPreview, paramToPreview } from './params.js';
import { forget, idIn, idOf, remember } from './seen.js';
import { defaultTemperature, type SessionKind, sessionToPreview, updateToGa } from './session.js';
import {
  dropped,
  previewNames,
  type Rule,
  type Rules,
  refusalOf,
  stepOf,
  type TranslationPorts,
  withItem,
} from './step.js';
import { isObject, omit } from './tables.js';
import { unsupportedByGa } from './unsupported.js';

/** Server events without a preview counterpart. */
const unknownToPreview: Rules = Object.fromEntries(
  [
    'conversation.item.input_audio_transcription.segment',
    'input_audio_buffer.timeout_triggered',
    'input_audio_buffer.dtmf_event_received',
    'response.mcp_call_arguments.delta',
    'response.mcp_call_arguments.done',
    'response.mcp_call.in_progress',
    'response.mcp_call.completed',
    'response.mcp_call.failed',
    'mcp_list_tools.in_progress',
    'mcp_list_tools.completed',
    'mcp_list_tools.failed',
  ].map((type) => [type, dropped]),
);

/** The first Azure api-version, whose clients (rt-client 0.5) disconnect at a server event that came later. */
const firstVersion = '2024-10-01-preview';

/** Server events that came after the first api-version and that nobody has to ask for. */
const unknownToFirst: Rules = { [heardDown]: dropped };

/**
 * For a client that speaks preview: its events become GA, and GA server events become preview. `apiVersion` is the one the
 * client names, if it names one.
 */
export function previewClient(
  ports: TranslationPorts,
  apiVersion: string | null = null,
): { fromClient: Step; toClient: Step } {
  const announced = new Map<string, true>();
  const temperatures = new Map<string, number>();
  let conversationCreated = false;
  let temperature = defaultTemperature;
  let requested: { temperature: number; eventId: string | null } | null = null;

  function announce(body: JsonObject): JsonObject | null {
    if (isMcpItem(body.item)) return null;
    const id = idIn(body.item);
    if (id !== null) {
      if (announced.has(id)) return null;
      remember(announced, id, true);
    }
    return { ...withItem(body, shownItemToPreview), type: 'conversation.item.created' };
  }

  function showItem(body: JsonObject): JsonObject | null {
    return isMcpItem(body.item) ? null : withItem(body, shownItemToPreview);
  }

  // GA has no temperature, so what the client asked for is all there is to show it.
  function temperatureOf(body: JsonObject): number {
    const id = idIn(body.response);
    if (requested && body.type === 'response.created') {
      if (id !== null) remember(temperatures, id, requested.temperature);
      requested = null;
    }
    return (id === null ? undefined : temperatures.get(id)) ?? temperature;
  }

  function showResponse(body: JsonObject): JsonObject {
    const shown = temperatureOf(body);
    return isObject(body.response) ? { ...body, response: responseToPreview(body.response, shown) } : body;
  }

  function showSession(stage: 'created' | 'updated'): Rule {
    return (body) => {
      if (!isObject(body.session)) return body;
      const prefix = body.session.type === 'transcription' ? 'transcription_session' : 'session';
      return { ...body, type: `${prefix}.${stage}`, session: sessionToPreview(body.session, temperature) };
    };
  }

  function update(kind: SessionKind): Rule {
    return (body) => {
      if (!isObject(body.session)) return { ...body, type: 'session.update' };
      temperature = numberOr(body.session.temperature, temperature);
      return { ...body, type: 'session.update', session: updateToGa(body.session, kind) };
    };
  }

  function refusing(rule: Rule): Rule {
    return (body) => {
      const found = unsupportedByGa(body);
      if (!found) return rule(body);
      ports.refuse(refusalOf(body, found));
      return null;
    };
  }

  const fromClient: Rules = {
    'session.update': update('realtime'),
    'transcription_session.update': update('transcription'),
    'conversation.item.create': refusing((body) => withItem(body, itemToGa)),
    'response.create': refusing((body) => {
      const { response } = body;
      if (!isObject(response)) return body;
      const asked = numberOr(response.temperature, null);
      if (asked !== null) requested = { temperature: asked, eventId: idOf(body.event_id) };
      const create = { ...body, response: responseRequestToGa(response) };
      if (response.commit !== true) return create;
      return [{ type: 'input_audio_buffer.commit', ...onlyEventId(body) }, create];
    }),
  };

  const toClient: Rules = {
    ...unknownToPreview,
    ...(apiVersion === firstVersion ? unknownToFirst : {}),
    // The words of policy, which knows GA.
    'relay.ignored_fields': (body) => ({ ...body, fields: ofStrings(body.fields).map(paramToPreview) }),
    error: (body) => {
      if (isObject(body.error) && requested?.eventId === idOf(body.error.event_id)) requested = null;
      return errorToPreview(body);
    },
    'session.created': showSession('created'),
    'session.updated': showSession('updated'),
    'conversation.created': (body) => {
      if (conversationCreated) return null;
      conversationCreated = true;
      return body;
    },
    'conversation.item.added': announce,
    'conversation.item.created': announce,
    'conversation.item.done': (body) => (idIn(body.item) === null ? null : announce(body)),
    'conversation.item.retrieved': showItem,
    'conversation.item.deleted': (body) => {
      forget(announced, body.item_id);
      return body;
    },
    'conversation.item.input_audio_transcription.completed': (body) => omit(body, 'languages'),
    'response.function_call_arguments.done': (body) => omit(body, 'name'),
    'response.created': showResponse,
    'response.done': (body) => {
      const shown = showResponse(body);
      forget(temperatures, idIn(body.response));
      return shown;
    },
    'response.output_item.added': showItem,
    'response.output_item.done': showItem,
  };

  return { fromClient: stepOf(fromClient), toClient: stepOf(toClient, previewNames) };
}

function ofStrings(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}

function onlyEventId(body: JsonObject): JsonObject {
  return body.event_id === undefined ? {} : { event_id: body.event_id };
}

function numberOr<Default>(value: Json | undefined, otherwise: Default): number | Default {
  return typeof value === 'number' && Number.isFinite(value) ? value : otherwise;
}

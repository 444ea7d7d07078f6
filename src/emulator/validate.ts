/** What the service accepts from a client, event by event, in GA and in preview. */
import type { Dialect } from '../protocol/catalogue.js';
import { clientEvents, previewClientEvents } from '../protocol/catalogue.js';
import type { JsonObject } from '../protocol/event.js';
import { id, text } from './fields.js';
import { previewShapes } from './flat.js';
import { gaShapes } from './ga.js';
import { type Check, type Complaint, complaint, nullable, number, object } from './schema.js';

const shared = {
  'input_audio_buffer.append': event({ audio: text }, ['audio']),
  'input_audio_buffer.commit': event({}),
  'input_audio_buffer.clear': event({}),
  'conversation.item.retrieve': event({ item_id: id }, ['item_id']),
  'conversation.item.truncate': event(
    {
      item_id: id,
      content_index: number(0, 1000, 'integer'),
      audio_end_ms: number(0, Number.MAX_SAFE_INTEGER, 'integer'),
    },
    ['item_id', 'content_index', 'audio_end_ms'],
  ),
  'conversation.item.delete': event({ item_id: id }, ['item_id']),
  'response.cancel': event({ response_id: id }),
  'output_audio_buffer.clear': event({}),
};

const gaEvents: Record<string, Check> = {
  ...shared,
  'session.update': event({ session: gaShapes.session }, ['session']),
  'conversation.item.create': event({ item: gaShapes.item, previous_item_id: nullable(id) }, ['item']),
  'response.create': event({ response: nullable(gaShapes.response) }),
};

const previewEvents: Record<string, Check> = {
  ...shared,
  'session.update': event({ session: previewShapes.session }, ['session']),
  'transcription_session.update': event({ session: previewShapes.transcription }, ['session']),
  'conversation.item.create': event({ item: previewShapes.item, previous_item_id: nullable(id) }, ['item']),
  'response.create': event({ response: nullable(previewShapes.response) }),
};

const firstPreviewEvents: Record<string, Check> = {
  ...previewEvents,
  'response.create': event({ response: nullable(previewShapes.firstResponse) }),
};

/** The api-version that took extra fields in `response.create`. */
const firstApiVersion = '2024-10-01-preview';

/** What is wrong with a client event in this dialect, or null. Fields are judged; what they refer to is not. */
export function validate(body: JsonObject, dialect: Dialect, apiVersion: string | null): Complaint | null {
  const { type } = body;
  if (type === undefined) return complaint('missing_required_parameter', "Missing required parameter: 'type'.", 'type');
  const previewTable = apiVersion === firstApiVersion ? firstPreviewEvents : previewEvents;
  const table = dialect === 'ga' ? gaEvents : previewTable;
  const check = typeof type === 'string' && Object.hasOwn(table, type) ? table[type] : undefined;
  if (check) return check(body, '');
  const names = dialect === 'ga' ? clientEvents : [...clientEvents, ...previewClientEvents];
  const shown = typeof type === 'string' ? type.slice(0, 100) : JSON.stringify(type).slice(0, 100);
  const supported = names.map((name) => `'${name}'`).join(', ');
  return complaint('invalid_event', `Invalid value: '${shown}'. Supported values are: ${supported}.`, 'type');
}

function event(fields: Record<string, Check>, required: string[] = []): Check {
  return object({ ...fields, type: text, event_id: id }, required);
}

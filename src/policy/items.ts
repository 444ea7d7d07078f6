/** Items of the conversation: what a client may put in, and what it may see of one. */

import { z } from 'zod';
import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { type Fault, faultOf, invalid, missing, quoted } from './faults.js';
import { root } from './leading.js';
import {
  anything,
  either,
  exactBase64For,
  type Fields,
  fieldOf,
  fieldsOf,
  flag,
  isExactBase64,
  isObject,
  list,
  nullable,
  object,
  oneOf,
  type Shape,
  text,
} from './shape.js';
import type { Visibility } from './visibility.js';

// UTF-16 code units: a long document fits, a session's whole context does not.
const maxText = 128 * 1024;
const maxParts = 64;

const itemId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);

const sound = z.string().refine(isExactBase64, { error: ({ input }) => `must be ${exactBase64For(String(input))}` });

const userMessage = z.object({
  id: itemId.nullish(),
  type: z.literal('message'),
  role: z.literal('user'),
  content: z
    .array(
      z.discriminatedUnion('type', [
        z.object({ type: z.literal('input_text'), text: z.string().max(maxText) }),
        z.object({ type: z.literal('input_audio'), audio: sound }),
      ]),
    )
    .min(1)
    .max(maxParts),
});

/** Words of the assistant, which a client may only bring along: see seeds.ts. */
const assistantMessage = z.object({
  id: itemId.nullish(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  content: z
    .array(z.object({ type: z.literal('output_text'), text: z.string().max(maxText) }))
    .min(1)
    .max(maxParts),
});

const functionCallOutput = z.object({
  id: itemId.nullish(),
  type: z.literal('function_call_output'),
  call_id: z.string().min(1).max(256),
  output: z.string().max(maxText),
});

/** An end user's item rebuilt from permitted fields, or what is wrong with it; an assistant's message only seeds. */
export function permittedItem(item: JsonObject): { item: JsonObject } | { fault: Fault } {
  const type = fieldOf(item, 'type');
  const role = fieldOf(item, 'role');
  if (type === undefined) return { fault: missing('item.type') };
  if (type === 'function_call_output') return parsed(functionCallOutput, item);
  if (type !== 'message') return notAllowed('item.type', `Items of type ${quoted(type, 'this kind')}`);
  if (role === undefined) return { fault: missing('item.role') };
  if (role === 'assistant') return parsed(assistantMessage, item);
  if (role !== 'user') return notAllowed('item.role', `Messages with role ${quoted(role, 'of this kind')}`);
  return parsed(userMessage, item);
}

function parsed(schema: z.ZodType, item: JsonObject): { item: JsonObject } | { fault: Fault } {
  const result = schema.safeParse(item);
  if (!result.success) return { fault: faultOf(result.error, item, 'item') };
  const { id, ...rest } = result.data as JsonObject;
  return { item: typeof id === 'string' ? { id, ...rest } : rest };
}

function notAllowed(param: string, what: string): { fault: Fault } {
  const message = `${what} may not be created. Allowed are messages with role 'user' and outputs of this client's own calls.`;
  return { fault: { code: 'item_not_allowed', message, param } };
}

/** Why a client may not give a new item this id, if so. */
export function idFault(id: Json | undefined, items: Pick<Visibility, 'knows'>): Fault | null {
  if (id === undefined || id === null) return null;
  if (typeof id === 'string' && id !== root && !id.startsWith(relayPrefix) && !items.knows(id)) return null;
  return invalid('item.id', 'an id that is not in use');
}

const partShapes = new Map<Json | undefined, Fields>([
  ['input_text', { type: text, text }],
  ['input_audio', { type: text, transcript: nullable(text), audio: text }],
  ['input_image', { type: text, image_url: text, detail: oneOf('auto', 'low', 'high') }],
  ['output_text', { type: text, text }],
  ['output_audio', { type: text, transcript: nullable(text), audio: text }],
  // Some services still send the preview names inside GA items.
  ['text', { type: text, text }],
  ['audio', { type: text, transcript: nullable(text), audio: text }],
]);

const part: Shape = (value) => {
  if (!isObject(value)) return undefined;
  const fields = partShapes.get(fieldOf(value, 'type'));
  return fields === undefined ? undefined : fieldsOf(value, fields);
};

const common: Fields = { id: text, object: oneOf('realtime.item'), type: text, status: text };

const itemShapes = new Map<Json | undefined, Fields>([
  ['message', { ...common, role: text, phase: oneOf('commentary', 'final_answer'), content: list(part) }],
  ['function_call', { ...common, name: text, call_id: text, arguments: text }],
  ['function_call_output', { ...common, call_id: text, output: text }],
  ['mcp_list_tools', { ...common, server_label: text, tools: list(anything) }],
  [
    'mcp_call',
    {
      ...common,
      server_label: text,
      name: text,
      arguments: text,
      approval_request_id: nullable(text),
      output: nullable(text),
      error: nullable(either(object({ type: text, code: anything, message: text }), text)),
    },
  ],
  ['mcp_approval_request', { ...common, server_label: text, name: text, arguments: text }],
  ['mcp_approval_response', { ...common, approval_request_id: text, approve: flag, reason: nullable(text) }],
]);

/** An item of upstream rebuilt from known fields; null when it is of no known type. */
export function publicItem(item: JsonObject): JsonObject | null {
  const fields = itemShapes.get(fieldOf(item, 'type'));
  return fields === undefined ? null : fieldsOf(item, fields);
}

/** Whether a value looks like an item of a conversation, whatever field it was found in. */
export function looksLikeItem(value: JsonObject): boolean {
  return itemShapes.has(fieldOf(value, 'type')) || fieldOf(value, 'object') === 'realtime.item';
}

/** What an item is to a client: the role of a message, the type of anything else. */
export function kindOf(item: JsonObject): string {
  const kind = fieldOf(item, fieldOf(item, 'type') === 'message' ? 'role' : 'type');
  return typeof kind === 'string' ? kind : '';
}

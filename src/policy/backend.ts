/** What a backend may say in a live session. It is the server: what it says is judged for its form, and shown to no client. */

import type { ExitId } from '../errors.js';
import { relayPrefix } from '../protocol/catalogue.js';
import type { Json, JsonObject, Refusal } from '../protocol/event.js';
import { type Fault, invalid, missing, quoted } from './faults.js';
import { root } from './leading.js';
import type { BackendField } from './profile.js';
import { fieldOf, isObject } from './shape.js';

/** A list that was let pass: the events, and beside each the id that its sender has given it, or null. */
export interface Judged {
  readonly events: readonly JsonObject[];
  readonly ids: readonly (string | null)[];
}

const eventId = /^[A-Za-z0-9_.:-]{1,512}$/;
const itemId = /^[A-Za-z0-9_-]{1,64}$/;
/** The exit of the same name: it is a matter of rights, not of form. */
const beyondTenant: ExitId = 'forbidden';
const roles: readonly unknown[] = ['user', 'assistant', 'system'];
/** Said to the model, not to the user. */
const steering: readonly unknown[] = ['system', 'developer'];

/** Looks at one event; `at` names a field of it as its sender does. */
type Judge = (event: JsonObject, at: (field: string) => string, where: Where) => Fault | null;

/** Where it is said. */
export interface Where {
  /** In a call, whose browser sees what is in the conversation itself. */
  readonly isCall: boolean;
  /** Whether the browser of a call may see what is said to the model, and what the model says beside the conversation. */
  readonly isExposed: boolean;
  /** What somebody may set who is of one tenant; null for who is not, and may set all. */
  readonly mayUpdate: readonly BackendField[] | null;
  /** Whether a call of the model's is for a backend to answer, and not answered yet. */
  owns(callId: string): boolean;
  /** Whether a call of upstream's own tools was approved or denied already. */
  isDecided(requestId: string): boolean;
  /** Whether an item is known to have this id. */
  has(itemId: string): boolean;
  /** What the upstream of the session cannot be told of an event; null where there is nothing. */
  unsaid(event: JsonObject): Pick<Refusal, 'code' | 'message' | 'param'> | null;
}

const judges: ReadonlyMap<Json | undefined, Judge> = new Map<string, Judge>([
  ['conversation.item.create', judgeItem],
  ['conversation.item.retrieve', (event, at) => named(event, 'item_id', at)],
  ['conversation.item.delete', (event, at) => named(event, 'item_id', at)],
  [
    'conversation.item.truncate',
    (event, at) => named(event, 'item_id', at) ?? count(event, 'content_index', at) ?? count(event, 'audio_end_ms', at),
  ],
  ['response.create', judgeResponse],
  ['session.update', judgeUpdate],
  [
    'response.cancel',
    (event, at) => (fieldOf(event, 'response_id') === undefined ? null : named(event, 'response_id', at)),
  ],
  ['input_audio_buffer.clear', () => null],
  [
    'output_audio_buffer.clear',
    (_event, at, { isCall }) => (isCall ? null : notAllowed(at('type'), "'output_audio_buffer.clear' is for calls.")),
  ],
]);

/** Judges a list before anything of it is sent; the first fault is that of the whole list. */
export function judgeBackend(list: readonly Json[], where: Where, isSingle: boolean): Judged | Fault {
  const ids: (string | null)[] = [];
  const events: JsonObject[] = [];
  for (const [index, event] of list.entries()) {
    const at = (field: string) => (isSingle ? field : `events[${index}].${field}`);
    if (!isObject(event)) return invalid(isSingle ? 'event' : `events[${index}]`, 'an object');
    const { event_id: given = null, ...rest } = event;
    const type = fieldOf(event, 'type');
    if (type === undefined) return missing(at('type'));
    const judge = judges.get(type);
    if (!judge) return notAllowed(at('type'), `A backend cannot send ${quoted(type, 'an event of this type')}.`);
    const fault = judge(rest, at, where) ?? judgeAgain(rest, events, at);
    if (fault) return fault;
    const judged = type === 'session.update' ? { ...rest, session: ofServer(rest.session) } : rest;
    const unsaid = where.unsaid(judged);
    if (unsaid) return { ...unsaid, param: unsaid.param === null ? null : at(unsaid.param) };
    const isOwn = typeof given === 'string' && eventId.test(given) && !given.startsWith(relayPrefix);
    if (isOwn && ids.includes(given)) return invalid(at('event_id'), 'an id that no other event of the list has');
    ids.push(isOwn ? given : null);
    events.push(judged);
  }
  return { events, ids };
}

/** Whether a list was not let pass. */
export function isFault(judged: Judged | Fault): judged is Fault {
  return 'code' in judged;
}

function judgeItem(event: JsonObject, at: (field: string) => string, where: Where): Fault | null {
  const item = fieldOf(event, 'item');
  if (item === undefined) return missing(at('item'));
  if (!isObject(item)) return invalid(at('item'), 'an object');
  const type = fieldOf(item, 'type');
  if (type === undefined) return missing(at('item.type'));
  if (typeof type !== 'string') return invalid(at('item.type'), 'a string');
  // Who answers a call of a tool is whose the tool is.
  if (type === 'function_call_output') {
    const callId = fieldOf(item, 'call_id');
    if (typeof callId !== 'string' || !where.owns(callId)) return notToAnswer(at);
    return typeof fieldOf(item, 'output') === 'string' ? null : invalid(at('item.output'), 'a string');
  }
  if (type === 'mcp_approval_response') {
    const requestId = fieldOf(item, 'approval_request_id');
    if (typeof requestId !== 'string' || where.isDecided(requestId)) return notToDecide(at);
    if (typeof fieldOf(item, 'approve') !== 'boolean') return invalid(at('item.approve'), 'true or false');
  }
  const id = fieldOf(item, 'id');
  const isFree = id === undefined || id === null || (typeof id === 'string' && itemId.test(id));
  if (!isFree || (typeof id === 'string' && (id.startsWith(relayPrefix) || id === root))) {
    return invalid(at('item.id'), 'at most 64 of A-Z a-z 0-9 _ -, not beginning as ids of the relay do');
  }
  if (typeof id === 'string' && where.has(id)) return inUse(at);
  const previous = fieldOf(event, 'previous_item_id');
  if (previous !== undefined && previous !== null && typeof previous !== 'string') {
    return invalid(at('previous_item_id'), 'the id of an item');
  }
  if (type !== 'message') return null;
  const role = fieldOf(item, 'role');
  if (role === undefined) return missing(at('item.role'));
  if (where.isCall && !where.isExposed && steering.includes(role)) {
    return notAllowed(
      at('item.role'),
      `The browser of a call would see what is said to the model there.${unlessExposed}`,
    );
  }
  if (!roles.includes(role)) return invalid(at('item.role'), 'user, assistant or system');
  return Array.isArray(fieldOf(item, 'content')) ? null : missing(at('item.content'));
}

function judgeResponse(event: JsonObject, at: (field: string) => string, where: Where): Fault | null {
  const response = fieldOf(event, 'response');
  if (response === undefined || response === null) return null;
  if (!isObject(response)) return invalid(at('response'), 'an object');
  const metadata = fieldOf(response, 'metadata');
  if (metadata !== undefined && metadata !== null && !isObject(metadata)) {
    return invalid(at('response.metadata'), 'an object');
  }
  if (where.isCall && !where.isExposed && fieldOf(response, 'conversation') === 'none') {
    const message = `The browser of a call would see an answer beside the conversation.${unlessExposed}`;
    return notAllowed(at('response.conversation'), message);
  }
  return judgeUse(response, (field) => at(`response.${field}`), where);
}

const unlessExposed = ' The profile may allow that (webrtc.injected: exposed).';

/** What is true of an event only until another one of its list was sent. */
function judgeAgain(event: JsonObject, before: readonly JsonObject[], at: (field: string) => string): Fault | null {
  const callId = answeredBy(event);
  if (callId !== null && before.some((one) => answeredBy(one) === callId)) return notToAnswer(at);
  const requestId = decidedBy(event);
  if (requestId !== null && before.some((one) => decidedBy(one) === requestId)) return notToDecide(at);
  const id = itemIdOf(event);
  return typeof id === 'string' && before.some((one) => itemIdOf(one) === id) ? inUse(at) : null;
}

function itemIdOf({ item }: JsonObject): Json | undefined {
  return isObject(item) ? fieldOf(item, 'id') : undefined;
}

function inUse(at: (field: string) => string): Fault {
  return invalid(at('item.id'), 'an id that is not in use');
}

/** The call that an event answers, if it answers one. */
export function answeredBy(event: JsonObject): string | null {
  return itemFieldOf(event, 'function_call_output', 'call_id');
}

/** The request for approval that an event decides, if it decides one. */
export function decidedBy(event: JsonObject): string | null {
  return itemFieldOf(event, 'mcp_approval_response', 'approval_request_id');
}

function itemFieldOf({ type, item }: JsonObject, itemType: string, field: string): string | null {
  if (type !== 'conversation.item.create' || !isObject(item) || fieldOf(item, 'type') !== itemType) return null;
  const value = fieldOf(item, field);
  return typeof value === 'string' ? value : null;
}

function notToDecide(at: (field: string) => string): Fault {
  const message = 'There is no such request, or it is decided.';
  return { code: 'item_not_allowed', message, param: at('item.approval_request_id') };
}

function notToAnswer(at: (field: string) => string): Fault {
  const message = 'This call is not for a backend to answer, or it is answered.';
  return { code: 'item_not_allowed', message, param: at('item.call_id') };
}

function judgeUpdate(event: JsonObject, at: (field: string) => string, where: Where): Fault | null {
  const session = fieldOf(event, 'session');
  if (session === undefined) return missing(at('session'));
  if (!isObject(session)) return invalid(at('session'), 'an object');
  return judgeUse(session, (field) => at(`session.${field}`), where);
}

/** Looks at what a session, or one answer, is to use: one tenant would use what the operator has, and it has not. */
function judgeUse(given: JsonObject, at: (field: string) => string, { mayUpdate }: Where): Fault | null {
  if (mayUpdate === null) return null;
  const tools = fieldOf(given, 'tools');
  const has: Readonly<Record<BackendField, boolean>> = {
    prompt: isGiven(given, 'prompt'),
    tracing: isGiven(given, 'tracing'),
    mcp: Array.isArray(tools) && tools.some((tool) => isObject(tool) && fieldOf(tool, 'type') === 'mcp'),
  };
  const wrong = (Object.keys(has) as BackendField[]).find((field) => has[field] && !mayUpdate.includes(field));
  if (wrong === undefined) return null;
  const message = `A backend of one tenant may not set this, unless the profile lists "${wrong}" in control.may_update.`;
  return { code: beyondTenant, message, param: at(wrong === 'mcp' ? 'tools' : wrong) };
}

function isGiven(given: JsonObject, field: string): boolean {
  return (fieldOf(given, field) ?? null) !== null;
}

/** Without what belongs to the deployment, and to the client's own device. */
function ofServer(given: Json | undefined): JsonObject {
  const { model: _, type: __, ...session } = given as JsonObject;
  const { audio } = session;
  if (!isObject(audio)) return session;
  const groups = Object.entries(audio).map(([name, group]): [string, Json | undefined] => {
    if (!isObject(group)) return [name, group];
    const { format: ___, ...rest } = group;
    return [name, rest];
  });
  return { ...session, audio: Object.fromEntries(groups) };
}

function named(event: JsonObject, field: string, at: (field: string) => string): Fault | null {
  const value = fieldOf(event, field);
  if (value === undefined) return missing(at(field));
  return typeof value === 'string' && value.length <= 512 ? null : invalid(at(field), 'an id');
}

function count(event: JsonObject, field: string, at: (field: string) => string): Fault | null {
  const value = fieldOf(event, field);
  if (value === undefined) return missing(at(field));
  return Number.isSafeInteger(value) && (value as number) >= 0 ? null : invalid(at(field), 'a whole number');
}

function notAllowed(param: string, message: string): Fault {
  return { code: 'event_not_allowed', message, param };
}

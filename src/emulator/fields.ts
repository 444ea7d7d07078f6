/** Field shapes that GA and preview have in common. Source: openai-node type definitions. */
import {
  anyObject,
  array,
  boolean,
  type Check,
  either,
  nullable,
  number,
  object,
  oneOf,
  string,
  variants,
} from './schema.js';

/** Any text. */
export const text = string();
/** An id chosen by either side. */
export const id = string({ max: 512 });
/** An id of an item or a call, which both are to fit in so much. Source: reports of the service's refusals. */
const shortId = string({ max: 32 });
/** A limit of output tokens. */
export const tokens: Check = either(oneOf('inf'), number(1, 4096, 'integer'));
/** What a function may be called. */
export const functionName = string({ pattern: /^[a-zA-Z0-9_-]{1,64}$/ });
/** Extras a client may ask to be sent. */
export const include = nullable(array(oneOf('item.input_audio_transcription.logprobs')));
/** Where traces go. */
export const tracing = nullable(
  either(oneOf('auto'), object({ workflow_name: text, group_id: text, metadata: anyObject })),
);
/** A stored prompt. */
export const prompt = nullable(object({ id: text, version: nullable(text), variables: nullable(anyObject) }, ['id']));

/** A function the client carries out. */
export const functionTool = object({ type: text, name: functionName, description: text, parameters: anyObject }, [
  'name',
]);
const approval = object({ always: anyObject, never: anyObject });
/** A server of tools the service calls itself; GA only. */
export const mcpTool = object(
  {
    type: text,
    server_label: text,
    server_url: text,
    connector_id: text,
    tunnel_id: text,
    authorization: text,
    headers: nullable(anyObject),
    allowed_tools: nullable((value, path) =>
      Array.isArray(value)
        ? array(text)(value, path)
        : object({ read_only: boolean, tool_names: array(text) })(value, path),
    ),
    require_approval: nullable(either(oneOf('always', 'never'), approval)),
    server_description: text,
    allowed_callers: array(oneOf('direct', 'programmatic')),
    defer_loading: boolean,
  },
  ['server_label'],
);
/** A choice of tool in one word. */
export const plainChoice = oneOf('auto', 'none', 'required');
/** The choice of one function. */
export const functionChoice = object({ type: text, name: functionName }, ['name']);

const turnFlags = { type: text, create_response: boolean, interrupt_response: boolean };
/** Fields of turn detection by energy. */
export const serverVad = {
  ...turnFlags,
  threshold: number(0, 1),
  prefix_padding_ms: number(0, 60_000, 'integer'),
  silence_duration_ms: number(0, 60_000, 'integer'),
};
/** Turn detection by meaning. */
export const semanticVad = object({ ...turnFlags, eagerness: oneOf('low', 'medium', 'high', 'auto') });

/** Fields of every item; the service ignores the last two. */
export const itemCommon = {
  type: text,
  id: shortId,
  object: text,
  status: oneOf('completed', 'incomplete', 'in_progress'),
};

/** A message whose content parts are of these kinds. */
export function messageWith(parts: Record<string, Check>): Check {
  return object({ ...itemCommon, role: text, content: array(variants('type', parts)) }, ['content']);
}

/** The item kinds both dialects have. */
export function itemsBesides(message: Check) {
  return {
    message,
    function_call: object({ ...itemCommon, name: text, arguments: text, call_id: shortId }, ['name', 'arguments']),
    function_call_output: object({ ...itemCommon, call_id: shortId, output: text }, ['call_id', 'output']),
  };
}

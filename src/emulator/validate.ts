/** What the service accepts from a client, event by event, in GA and in preview. Source: openai-node type definitions. */
import type { Dialect } from '../protocol/catalogue.js';
import { clientEvents, previewClientEvents } from '../protocol/catalogue.js';
import type { JsonObject } from '../protocol/event.js';
import {
  anyObject,
  array,
  base64,
  boolean,
  type Check,
  type Complaint,
  combination,
  complaint,
  either,
  metadata,
  nullable,
  number,
  object,
  oneOf,
  string,
  variants,
} from './schema.js';

const text = string();
const id = string({ max: 512 });
const tokens: Check = either(oneOf('inf'), number(1, 4096, 'integer'));
const functionName = string({ pattern: /^[a-zA-Z0-9_-]{1,64}$/ });
const include = nullable(array(oneOf('item.input_audio_transcription.logprobs')));
const tracing = nullable(either(oneOf('auto'), object({ workflow_name: text, group_id: text, metadata: anyObject })));
const prompt = nullable(object({ id: text, version: nullable(text), variables: nullable(anyObject) }, ['id']));

const functionTool = object({ type: text, name: functionName, description: text, parameters: anyObject }, ['name']);
const approval = object({ always: anyObject, never: anyObject });
const mcpTool = object(
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
const plainChoice = oneOf('auto', 'none', 'required');
const functionChoice = object({ type: text, name: functionName }, ['name']);

const turnFlags = { type: text, create_response: boolean, interrupt_response: boolean };
const serverVad = {
  ...turnFlags,
  threshold: number(0, 1),
  prefix_padding_ms: number(0, 60_000, 'integer'),
  silence_duration_ms: number(0, 60_000, 'integer'),
};
const semanticVad = object({ ...turnFlags, eagerness: oneOf('low', 'medium', 'high', 'auto') });

const itemCommon = {
  type: text,
  id: string({ max: 512 }),
  object: text,
  status: oneOf('completed', 'incomplete', 'in_progress'),
};

const ga = (() => {
  const format = variants('type', {
    'audio/pcm': object({ type: text, rate: number(24_000, 24_000, 'integer') }),
    'audio/pcmu': object({ type: text }),
    'audio/pcma': object({ type: text }),
  });
  const voice = either(text, object({ id: text }, ['id']));
  const input = object({
    format,
    transcription: nullable(
      object({
        model: text,
        language: nullable(text),
        prompt: nullable(text),
        languages: array(text),
        keywords: array(text),
        delay: text,
      }),
    ),
    noise_reduction: nullable(object({ type: oneOf('near_field', 'far_field'), strength: number(0, 1) }, ['type'])),
    turn_detection: nullable(
      variants('type', {
        server_vad: object({ ...serverVad, idle_timeout_ms: nullable(number(5000, 30_000, 'integer')) }),
        semantic_vad: semanticVad,
      }),
    ),
  });
  const tool = variants('type', { function: functionTool, mcp: mcpTool });
  const toolChoice = either(
    plainChoice,
    variants('type', {
      function: functionChoice,
      mcp: object({ type: text, server_label: text, name: nullable(text) }, ['server_label']),
    }),
  );
  const common = {
    instructions: text,
    tools: array(tool),
    tool_choice: toolChoice,
    max_output_tokens: tokens,
    output_modalities: combination(['text'], ['audio']),
    prompt,
    reasoning: nullable(object({ effort: oneOf('minimal', 'low', 'medium', 'high', 'xhigh') })),
    parallel_tool_calls: boolean,
  };
  const session = variants('type', {
    realtime: object({
      ...common,
      type: text,
      model: text,
      audio: object({ input, output: object({ format, voice, speed: number(0.25, 1.5) }) }),
      tracing,
      truncation: either(
        oneOf('auto', 'disabled'),
        object(
          {
            type: oneOf('retention_ratio'),
            retention_ratio: number(0, 1),
            token_limits: object({ post_instructions: number(0, 1_000_000, 'integer') }),
          },
          ['type', 'retention_ratio'],
        ),
      ),
      include,
    }),
    transcription: object({ type: text, include, audio: object({ input }) }),
  });

  const inputText = object({ type: text, text }, ['text']);
  const message = variants('role', {
    system: messageWith({ input_text: inputText }),
    user: messageWith({
      input_text: inputText,
      input_audio: object({ type: text, audio: base64, transcript: nullable(text) }),
      input_image: object(
        {
          type: text,
          image_url: string({ pattern: /^data:image\/(png|jpeg);base64,/ }),
          detail: oneOf('auto', 'low', 'high'),
        },
        ['image_url'],
      ),
    }),
    assistant: messageWith({ output_text: inputText }),
  });
  const items = {
    ...itemsBesides(message),
    mcp_approval_response: object(
      { ...itemCommon, approval_request_id: text, approve: boolean, reason: nullable(text) },
      ['approval_request_id', 'approve'],
    ),
  };
  const response = object({
    ...common,
    conversation: oneOf('auto', 'none'),
    input: array(variants('type', { ...items, item_reference: object({ type: text, id }, ['id']) })),
    audio: object({ output: object({ format, voice }) }),
    metadata: nullable(metadata),
  });
  return { session, item: variants('type', items), response };
})();

const preview = (() => {
  const format = oneOf('pcm16', 'g711_ulaw', 'g711_alaw');
  const transcription = nullable(object({ model: text, language: nullable(text), prompt: nullable(text) }));
  const noiseReduction = nullable(object({ type: oneOf('near_field', 'far_field') }, ['type']));
  const turnDetection = nullable(
    variants(
      'type',
      { server_vad: object(serverVad), semantic_vad: semanticVad, none: object({ type: text }) },
      'server_vad',
    ),
  );
  const clientSecret = nullable(anyObject);
  const modalities = combination(['text'], ['audio', 'text']);
  const toolChoice = either(
    plainChoice,
    variants('type', {
      // The Azure reference also shows the chat-completions form, with the name one level down.
      function: object({ type: text, name: functionName, function: object({ name: functionName }, ['name']) }),
    }),
  );
  const common = {
    modalities,
    instructions: text,
    voice: text,
    output_audio_format: format,
    tools: array(variants('type', { function: functionTool })),
    tool_choice: toolChoice,
    temperature: number(0.6, 1.2),
    max_response_output_tokens: tokens,
  };
  const input = {
    input_audio_format: format,
    input_audio_transcription: transcription,
    input_audio_noise_reduction: noiseReduction,
    turn_detection: turnDetection,
    include,
    client_secret: clientSecret,
  };
  const session = object({
    ...common,
    ...input,
    model: text,
    speed: number(0.25, 1.5),
    tracing,
    prompt,
    truncation: either(oneOf('auto', 'disabled'), anyObject),
  });

  const partText = object({ type: text, id, text }, ['text']);
  const message = variants('role', {
    system: messageWith({ input_text: partText }),
    user: messageWith({
      input_text: partText,
      input_audio: object({ type: text, id, audio: base64, transcript: nullable(text) }),
    }),
    assistant: messageWith({ text: partText }),
  });
  const items = itemsBesides(message);
  const fields = {
    ...common,
    max_output_tokens: tokens,
    conversation: oneOf('auto', 'none'),
    input: array(variants('type', { ...items, item_reference: object({ type: text, id }, ['id']) })),
    metadata: nullable(metadata),
  };
  return {
    session,
    transcription: object({ ...input, modalities: array(oneOf('text', 'audio')) }),
    item: variants('type', items),
    response: object(fields),
    /** The first api-version knew a few more fields, and the oldest client library still sends them. */
    firstResponse: object({
      ...fields,
      commit: boolean,
      cancel_previous: boolean,
      append_input_items: nullable(array(anyObject)),
      input_items: nullable(array(anyObject)),
    }),
  };
})();

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
  'session.update': event({ session: ga.session }, ['session']),
  'conversation.item.create': event({ item: ga.item, previous_item_id: nullable(id) }, ['item']),
  'response.create': event({ response: nullable(ga.response) }),
};

const previewEvents: Record<string, Check> = {
  ...shared,
  'session.update': event({ session: preview.session }, ['session']),
  'transcription_session.update': event({ session: preview.transcription }, ['session']),
  'conversation.item.create': event({ item: preview.item, previous_item_id: nullable(id) }, ['item']),
  'response.create': event({ response: nullable(preview.response) }),
};

const firstPreviewEvents: Record<string, Check> = {
  ...previewEvents,
  'response.create': event({ response: nullable(preview.firstResponse) }),
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

function messageWith(parts: Record<string, Check>): Check {
  return object({ ...itemCommon, role: text, content: array(variants('type', parts)) }, ['content']);
}

function itemsBesides(message: Check) {
  return {
    message,
    function_call: object({ ...itemCommon, name: text, arguments: text, call_id: id }, ['name', 'arguments']),
    function_call_output: object({ ...itemCommon, call_id: id, output: text }, ['call_id', 'output']),
  };
}

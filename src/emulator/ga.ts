/** What GA takes for a session, an item and a response. Source: openai-node type definitions. */
import {
  functionChoice,
  functionTool,
  id,
  include,
  itemCommon,
  itemsBesides,
  mcpTool,
  messageWith,
  plainChoice,
  prompt,
  semanticVad,
  serverVad,
  text,
  tokens,
  tracing,
} from './fields.js';
import {
  array,
  base64,
  boolean,
  combination,
  either,
  metadata,
  nullable,
  number,
  object,
  oneOf,
  string,
  variants,
} from './schema.js';

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
/** The bodies of the GA client events that have one. */
export const gaShapes = { session, item: variants('type', items), response };

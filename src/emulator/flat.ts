/** What preview takes for a session, an item and a response. Source: openai-node beta type definitions. */
import {
  functionName,
  functionTool,
  id,
  include,
  itemsBesides,
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
  anyObject,
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
  variants,
} from './schema.js';

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
/** The bodies of the preview client events that have one. */
export const previewShapes = {
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

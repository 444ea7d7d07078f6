/**
 * The vocabulary of the Realtime protocol: every event name, GA and preview.
 * Source: openai-node type definitions (GA and beta trees) and the Azure OpenAI Realtime reference.
 */

/** `preview` is the flat-session beta shape, `ga` the nested-session shape. */
export type Dialect = 'preview' | 'ga';

/** Where a model takes words of its own in its history for a reason to write instead of to speak. Source: reports of its users. */
export const writesByExample: Readonly<Record<Dialect, boolean>> = { preview: true, ga: false };

/** `up` is client to upstream, `down` is upstream to client. */
export type Direction = 'up' | 'down';

export const clientEvents = [
  'session.update',
  'input_audio_buffer.append',
  'input_audio_buffer.commit',
  'input_audio_buffer.clear',
  'conversation.item.create',
  'conversation.item.retrieve',
  'conversation.item.truncate',
  'conversation.item.delete',
  'response.create',
  'response.cancel',
  'output_audio_buffer.clear',
] as const;

/** Client events that exist in preview only. */
export const previewClientEvents = ['transcription_session.update'] as const;

export const serverEvents = [
  'error',
  'session.created',
  'session.updated',
  'conversation.created',
  'conversation.item.added',
  'conversation.item.done',
  'conversation.item.created',
  'conversation.item.retrieved',
  'conversation.item.truncated',
  'conversation.item.deleted',
  'conversation.item.input_audio_transcription.delta',
  'conversation.item.input_audio_transcription.completed',
  'conversation.item.input_audio_transcription.failed',
  'conversation.item.input_audio_transcription.segment',
  'input_audio_buffer.committed',
  'input_audio_buffer.cleared',
  'input_audio_buffer.speech_started',
  'input_audio_buffer.speech_stopped',
  'input_audio_buffer.timeout_triggered',
  'input_audio_buffer.dtmf_event_received',
  'output_audio_buffer.started',
  'output_audio_buffer.stopped',
  'output_audio_buffer.cleared',
  'response.created',
  'response.done',
  'response.output_item.added',
  'response.output_item.done',
  'response.content_part.added',
  'response.content_part.done',
  'response.output_text.delta',
  'response.output_text.done',
  'response.output_audio.delta',
  'response.output_audio.done',
  'response.output_audio_transcript.delta',
  'response.output_audio_transcript.done',
  'response.function_call_arguments.delta',
  'response.function_call_arguments.done',
  'response.mcp_call_arguments.delta',
  'response.mcp_call_arguments.done',
  'response.mcp_call.in_progress',
  'response.mcp_call.completed',
  'response.mcp_call.failed',
  'mcp_list_tools.in_progress',
  'mcp_list_tools.completed',
  'mcp_list_tools.failed',
  'rate_limits.updated',
] as const;

/** Server events that exist in preview only, with the GA name each corresponds to where there is one. */
export const previewServerEvents = [
  'response.text.delta',
  'response.text.done',
  'response.audio.delta',
  'response.audio.done',
  'response.audio_transcript.delta',
  'response.audio_transcript.done',
  'transcription_session.created',
  'transcription_session.updated',
] as const;

/** The event that carries the user's speech, the same in both dialects. */
export const audioUp = 'input_audio_buffer.append';
/** The event that carries the model's speech. */
export const audioDown = { ga: 'response.output_audio.delta', preview: 'response.audio.delta' } as const;
/** The events that carry the model's words, the most frequent of all. */
export const textDown = {
  ga: ['response.output_text.delta', 'response.output_audio_transcript.delta'],
  preview: ['response.text.delta', 'response.audio_transcript.delta'],
} as const;

/** The event that carries the user's words as they are heard, the same in both dialects. */
export const heardDown = 'conversation.item.input_audio_transcription.delta';

/** Events the relay injects carry ids with this prefix, and a client may not use it. */
export const relayPrefix = 'rly_';

/**
 * What the core asks of the events it carries, in one table: another family of events, with other names for what a conversation
 * is made of, would be another table.
 */

import { audioDown, audioUp, textDown } from './catalogue.js';
import { objectOf, type RealtimeEvent } from './event.js';

/** The events that mean something to sessions, by what they mean, in GA's names. */
export const family = {
  /** What is asked of upstream. */
  up: {
    configure: 'session.update',
    audio: audioUp,
    commit: 'input_audio_buffer.commit',
    clear: 'input_audio_buffer.clear',
    ask: 'response.create',
    cancel: 'response.cancel',
    truncate: 'conversation.item.truncate',
    item: 'conversation.item.create',
    remove: 'conversation.item.delete',
    /** Sound of a call that was not played yet. */
    silence: 'output_audio_buffer.clear',
    fetch: 'conversation.item.retrieve',
  },
  /** What upstream tells. */
  down: {
    greeting: 'session.created',
    configured: 'session.updated',
    error: 'error',
    audio: audioDown.ga,
    answerBegun: 'response.created',
    answerEnded: 'response.done',
    /** The user's speech, as upstream hears it. */
    speechBegun: 'input_audio_buffer.speech_started',
    speechEnded: 'input_audio_buffer.speech_stopped',
    /** The user has said nothing for so long that upstream goes on by itself. */
    silence: 'input_audio_buffer.timeout_triggered',
    committed: 'input_audio_buffer.committed',
    cleared: 'input_audio_buffer.cleared',
    transcribed: 'conversation.item.input_audio_transcription.completed',
    untranscribed: 'conversation.item.input_audio_transcription.failed',
    /** An item has come into the conversation; one of the two, or both. */
    itemAdded: ['conversation.item.added', 'conversation.item.created'],
    itemEnded: 'conversation.item.done',
    fetched: 'conversation.item.retrieved',
    truncated: 'conversation.item.truncated',
    deleted: 'conversation.item.deleted',
    /** An item of a response, whether it comes into the conversation or not. */
    outputAdded: 'response.output_item.added',
    outputEnded: 'response.output_item.done',
    partAdded: 'response.content_part.added',
    partEnded: 'response.content_part.done',
    soundEnded: 'response.output_audio.done',
    /** Words of an answer: written ones, and spoken ones. */
    words: textDown.ga,
    wordsEnded: ['response.output_text.done', 'response.output_audio_transcript.done'],
    /** A tool of upstream's own is at work, which may take its time. */
    toolBegun: ['response.mcp_call.in_progress', 'mcp_list_tools.in_progress'],
    toolEnded: [
      'response.mcp_call.completed',
      'response.mcp_call.failed',
      'mcp_list_tools.completed',
      'mcp_list_tools.failed',
    ],
    /** An answer is played, where its sound does not pass the relay. */
    playingBegun: 'output_audio_buffer.started',
    playingEnded: ['output_audio_buffer.stopped', 'output_audio_buffer.cleared'],
    rateLimits: 'rate_limits.updated',
  },
} as const;

/** Whether upstream says that the time of the session is up. */
export function isFarewell({ type, body }: RealtimeEvent): boolean {
  return type === family.down.error && objectOf(body?.error).code === 'session_expired';
}

/**
 * The response whose speech an event carries, which may be dropped once nobody hears it any more: the empty string where it
 * names none, null for an event that carries something else.
 */
export function speechOf({ audioBytes, responseId }: RealtimeEvent): string | null {
  return audioBytes > 0 ? (responseId ?? '') : null;
}

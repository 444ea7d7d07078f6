import { pcm16ToBytes } from '../../src/audio/wav.js';
import type { JsonObject } from '../../src/protocol/event.js';

/** The server events of a GA session, as short as they may be. */

export const serverVad: JsonObject = { type: 'server_vad', create_response: true };

export function created(audio: JsonObject = { input: { turn_detection: serverVad } }): JsonObject {
  return { type: 'session.created', session: { type: 'realtime', id: 'sess_1', audio } };
}

export function transcript(words: string): JsonObject {
  return { type: 'conversation.item.input_audio_transcription.completed', item_id: 'item_1', transcript: words };
}

/** What speech brings when turns are detected and transcribed. */
export const heard: readonly JsonObject[] = [
  { type: 'input_audio_buffer.speech_started', audio_start_ms: 300, item_id: 'item_1' },
  { type: 'input_audio_buffer.speech_stopped', audio_end_ms: 2100, item_id: 'item_1' },
  { type: 'input_audio_buffer.committed', item_id: 'item_1' },
  transcript('Where is my order?'),
];

export function audioDelta(bytes: Uint8Array, id = 'resp_1'): JsonObject {
  return { type: 'response.output_audio.delta', response_id: id, delta: Buffer.from(bytes).toString('base64') };
}

export function began(id = 'resp_1'): JsonObject {
  return { type: 'response.created', response: { id, status: 'in_progress' } };
}

export function done(status = 'completed', status_details: JsonObject | null = null, id = 'resp_1'): JsonObject {
  return { type: 'response.done', response: { id, status, status_details, output: [] } };
}

export function words(delta: string, id = 'resp_1'): JsonObject {
  return { type: 'response.output_audio_transcript.delta', response_id: id, delta };
}

/** One whole spoken response. */
export function spoken(text: string, samples: Int16Array, id = 'resp_1'): JsonObject[] {
  return [began(id), words(text, id), audioDelta(pcm16ToBytes(samples), id), done('completed', null, id)];
}

/** The events the benchmark sends, of the sizes a conversation has. */

import { createHash, randomBytes } from 'node:crypto';

/** Bytes without a pattern that are the same in every process, so that the receiver knows what the sender sent. */
function noise(bytes: number, seed: string): string {
  return createHash('shake256', { outputLength: bytes }).update(seed).digest('base64');
}

/** 67 ms of 24 kHz speech: a 4.3 KB append. */
const upAudio = noise(3200, 'up');
/** 128 ms of speech: an 8 KB delta. */
const downAudio = noise(6144, 'down');
const words = ' and then';
/** Live upstreams pad each delta of words to 16 characters. */
const padding = ',"obfuscation":"aB3dE5f"';

export function append(id: string): string {
  return `{"type":"input_audio_buffer.append","event_id":"${id}","audio":"${upAudio}"}`;
}

/** Whether a message is one of these events, whole and unchanged; a translation may have given it another type. */
export function isWhole(message: Buffer): boolean {
  const { type, audio, delta } = JSON.parse(message.toString()) as Record<string, string>;
  if (type === 'input_audio_buffer.append') return audio === upAudio;
  return delta === (type?.endsWith('transcript.delta') ? words : downAudio);
}

export function largeAppend(bytes: number): string {
  return `{"type":"input_audio_buffer.append","audio":"${randomBytes(Math.floor(bytes / 3) * 3).toString('base64')}"}`;
}

const ids = (session: number) =>
  `"response_id":"resp_${session}","item_id":"item_${session}","output_index":0,"content_index":0`;

export function audioDelta(session: number, id: string): string {
  return `{"type":"response.output_audio.delta","event_id":"${id}",${ids(session)},"delta":"${downAudio}"}`;
}

export function textDelta(session: number, id: string, pads = padding): string {
  return `{"type":"response.output_audio_transcript.delta","event_id":"${id}",${ids(session)},"delta":"${words}"${pads}}`;
}

/** The same as a service sends it that does not pad. */
export function bareTextDelta(session: number, id: string): string {
  return textDelta(session, id, '');
}

/** What upstream sends first: policy shows a client only what belongs to a response it was shown. */
export function opening(session: number): string[] {
  const item = `{"id":"item_${session}","type":"message","status":"in_progress","role":"assistant","content":[]}`;
  const response = `{"object":"realtime.response","id":"resp_${session}","status":"in_progress","status_details":null,"output":[],"conversation_id":"conv_1","output_modalities":["audio"],"usage":null,"metadata":null}`;
  return [
    `{"type":"response.created","event_id":"event_1","response":${response}}`,
    `{"type":"response.output_item.added","event_id":"event_2","response_id":"resp_${session}","output_index":0,"item":${item}}`,
  ];
}

const session =
  '{"type":"realtime","object":"realtime.session","id":"sess_1","model":"gpt-realtime","output_modalities":["audio"],"instructions":"x","tools":[],"tool_choice":"auto","max_output_tokens":"inf","tracing":null,"truncation":"auto","prompt":null,"expires_at":4102444800,"audio":{"input":{"format":{"type":"audio/pcm","rate":24000},"transcription":null,"noise_reduction":null,"turn_detection":{"type":"server_vad","threshold":0.5,"prefix_padding_ms":300,"silence_duration_ms":200,"idle_timeout_ms":null,"create_response":true,"interrupt_response":true}},"output":{"format":{"type":"audio/pcm","rate":24000},"voice":"alloy","speed":1}},"include":null}';

export const sessionCreated = `{"type":"session.created","event_id":"event_a","session":${session}}`;
export const sessionUpdated = `{"type":"session.updated","event_id":"event_b","session":${session}}`;

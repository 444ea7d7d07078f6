/** Input transcription: what was heard, told some time after the audio was committed. */
import type { JsonObject } from '../protocol/event.js';
import { wordsOf } from './speech.js';
import { audioTokensIn, textTokens } from './usage.js';

/** The events that tell a transcript, in order. */
export function transcriptEvents(
  itemId: string,
  transcript: string,
  audioMs: number,
  model: string,
  withLogprobs: boolean,
): JsonObject[] {
  const at = { item_id: itemId, content_index: 0 };
  const words = wordsOf(transcript);
  const half = Math.ceil(words.length / 2);
  const pieces = [words.slice(0, half), words.slice(half)].filter((piece) => piece.length > 0);
  const type = 'conversation.item.input_audio_transcription';
  const deltas = pieces.map((piece) => ({
    type: `${type}.delta`,
    ...at,
    delta: piece.join(''),
    ...(withLogprobs ? { logprobs: piece.map(logprob) } : {}),
  }));
  const usage = transcriptionUsage(transcript, audioMs, model);
  const logprobs = withLogprobs ? { logprobs: words.map(logprob) } : {};
  return [...deltas, { type: `${type}.completed`, ...at, transcript, usage, ...logprobs }];
}

/** Whisper is billed by duration, the newer models by tokens. */
function transcriptionUsage(transcript: string, audioMs: number, model: string): JsonObject {
  if (/whisper/i.test(model)) return { type: 'duration', seconds: Math.ceil(audioMs / 1000) };
  const input = audioTokensIn(audioMs);
  const output = textTokens(transcript.length);
  return {
    type: 'tokens',
    total_tokens: input + output,
    input_tokens: input,
    input_token_details: { text_tokens: 0, audio_tokens: input },
    output_tokens: output,
  };
}

function logprob(token: string): JsonObject {
  return { token, bytes: [...Buffer.from(token)], logprob: -0.01 };
}

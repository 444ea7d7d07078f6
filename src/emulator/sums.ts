/** What was billed, in sums. */
import type { Json } from '../protocol/event.js';

/** Sums of every `usage` object that was reported to clients. */
export interface UsageTotals {
  responses: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
  input_text_tokens: number;
  input_audio_tokens: number;
  cached_tokens: number;
  output_text_tokens: number;
  output_audio_tokens: number;
  transcriptions: number;
  transcription_tokens: number;
  transcription_seconds: number;
}

/** Adds what one response, or one transcription, reported. */
export function addUsage(totals: UsageTotals, type: Json | undefined, usage: Json | undefined): void {
  const given = (usage ?? {}) as Record<string, number & Record<string, number>>;
  if (type === 'transcription') {
    totals.transcriptions += 1;
    totals.transcription_tokens += given.total_tokens ?? 0;
    totals.transcription_seconds += given.seconds ?? 0;
  } else {
    totals.responses += 1;
    totals.input_tokens += given.input_tokens ?? 0;
    totals.output_tokens += given.output_tokens ?? 0;
    totals.total_tokens += given.total_tokens ?? 0;
    totals.input_text_tokens += given.input_token_details?.text_tokens ?? 0;
    totals.input_audio_tokens += given.input_token_details?.audio_tokens ?? 0;
    totals.cached_tokens += given.input_token_details?.cached_tokens ?? 0;
    totals.output_text_tokens += given.output_token_details?.text_tokens ?? 0;
    totals.output_audio_tokens += given.output_token_details?.audio_tokens ?? 0;
  }
}

/** The sums before anything was billed. */
export function noUsage(): UsageTotals {
  return {
    responses: 0,
    input_tokens: 0,
    output_tokens: 0,
    total_tokens: 0,
    input_text_tokens: 0,
    input_audio_tokens: 0,
    cached_tokens: 0,
    output_text_tokens: 0,
    output_audio_tokens: 0,
    transcriptions: 0,
    transcription_tokens: 0,
    transcription_seconds: 0,
  };
}

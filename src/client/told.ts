/** What events of the relay tell, in the words of this client; what they leave out is as the service's default has it. */

import type { Problem } from './states.js';
import type { RealtimeEvent } from './transport.js';

/** What of a session its client must know. */
export interface SessionSettings {
  readonly speechInterrupts: boolean;
  /** Whether the other side notices that the user has finished. */
  readonly detectsTurns: boolean;
  /** False where what is said is written down, and nothing answers. */
  readonly answersTurns: boolean;
  /** Types of the formats of sound, such as `audio/pcmu`; undefined where the session names none. */
  readonly input: unknown;
  readonly output: unknown;
}

/** The settings in `session.created` and `session.updated`. */
export function settingsOf({ session }: RealtimeEvent): SessionSettings {
  type Side = { format?: { type?: unknown }; turn_detection?: { interrupt_response?: boolean } | null };
  const { type, audio } = (session ?? {}) as { type?: string; audio?: { input?: Side; output?: Side } };
  const detection = audio?.input?.turn_detection;
  return {
    speechInterrupts: detection?.interrupt_response !== false,
    detectsTurns: detection !== null,
    answersTurns: type !== 'transcription',
    input: audio?.input?.format?.type,
    output: audio?.output?.format?.type,
  };
}

/** What a session is taken for until it has shown itself, which a call never does. */
export const unknownSession = settingsOf({ type: 'session.created' });

type Failure = { readonly code?: string | null; readonly type?: string; readonly message?: string } | null;

/** Why an answer failed or is incomplete, or why speech was not transcribed; null where an event tells neither. */
export function failureIn(event: RealtimeEvent): Problem | null {
  if (event.type === 'conversation.item.input_audio_transcription.failed') {
    const { code, type, message } = (event.error ?? {}) as NonNullable<Failure>;
    const text = message ?? 'What was said could not be transcribed.';
    return { code: code ?? type ?? 'transcription_failed', message: text, isFinal: false };
  }
  if (event.type !== 'response.done') return null;
  type Details = { readonly reason?: string; readonly error?: Failure } | null;
  type Done = { readonly id?: string; readonly status?: string; readonly status_details?: Details };
  const { id, status, status_details } = (event.response ?? {}) as Done;
  if (status !== 'failed' && status !== 'incomplete') return null;
  const { reason, error } = status_details ?? {};
  const text = status === 'failed' ? 'The answer failed.' : 'The answer is incomplete.';
  return {
    code: error?.code ?? error?.type ?? reason ?? status,
    message: error?.message ?? text,
    isFinal: false,
    ...(id !== undefined && { responseId: id }),
  };
}

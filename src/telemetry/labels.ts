/** The closed sets that the values of labels come from. */

import { exitIds } from '../errors.js';

/** What became of a message to a webhook. `failed`: every attempt was; `dropped`: for want of room, or of time at shutdown. */
export type DeliveryOutcome = 'delivered' | 'failed' | 'dropped';

/** Who brought a session to its end. */
export type Initiator = 'client' | 'upstream' | 'relay' | 'backend';

/** Whose fault an error is. */
export type Origin = 'client' | 'relay' | 'upstream' | 'identity' | 'network' | 'tool';

/** What upstream sends now and then and is no event; half a character is passed on, all else is dropped. */
export const odds = ['binary', 'malformed', 'ambiguous', 'too_big', 'half_character'] as const;
/** One of them. */
export type Odd = (typeof odds)[number];

/**
 * Kinds of tokens; cached ones are counted in `cached_*` only, so that the kinds add up to the total. `other` is what
 * upstream counts under names that this version does not know, perhaps in one of the other kinds as well.
 */
export type TokenKind =
  | 'input_text'
  | 'input_audio'
  | 'input_image'
  | 'cached_text'
  | 'cached_audio'
  | 'cached_image'
  | 'output_text'
  | 'output_audio'
  | 'other';

/** Why input transcription fails. Source: recordings of live sessions, and the Realtime API's documented error codes. */
export const transcriptionCodes = new Set([
  'DeploymentNotFound',
  'audio_unintelligible',
  'rate_limit_exceeded',
  'insufficient_quota',
  'server_error',
  'internal_error',
  // Words that came when the transcript had gone on without them.
  'late',
]);

/** What backends do with live sessions. */
export const controlVerbs = ['list', 'show', 'events', 'end', 'takeover', 'sideband', 'revoke'] as const;
/** One of them. */
export type ControlVerb = (typeof controlVerbs)[number];

/** What becomes of what a backend asks. `refused`: for what it sent, or its rights; `failed`: for want of the relay's own. */
export const controlOutcomes = ['done', 'refused', 'not_found', 'conflict', 'failed'] as const;
/** One of them. */
export type ControlOutcome = (typeof controlOutcomes)[number];

/** What becomes of somebody who wants to go on with a session; `superseded`: goes on, in place of a connection that was open. */
export const resumeOutcomes = ['ok', 'superseded', 'unknown', 'late', 'other_user', 'reused', 'too_often'] as const;
/** One of them. */
export type ResumeOutcome = (typeof resumeOutcomes)[number];

/** Why a leg to upstream is replaced while its session goes on. */
export const replacementTriggers = [
  'expiry',
  'reset',
  'closed',
  'mute',
  'no_pong',
  'stalled',
  'server_error',
  'garbage',
] as const;
/** One of them. */
export type ReplacementTrigger = (typeof replacementTriggers)[number];

/** What comes of it. `bounded`: it was lost too often. */
export const replacementOutcomes = ['ok', 'failed', 'bounded'] as const;
/** One of them. */
export type ReplacementOutcome = (typeof replacementOutcomes)[number];

/** What is asked of the store. */
export const storeCalls = [
  ...(['enter', 'settle', 'leave', 'forget', 'put', 'look', 'take'] as const),
  ...(['revoke', 'load', 'read', 'heartbeat', 'control', 'probe', 'auth', 'invalid'] as const),
] as const;
/** One of them. */
export type StoreCall = (typeof storeCalls)[number];

/** What becomes of the file of settings when it is read again. */
export const reloadOutcomes = ['reloaded', 'unchanged', 'rejected'] as const;
/** One of them. */
export type ReloadOutcome = (typeof reloadOutcomes)[number];

/** Error codes worth a series of their own; all else is `other`. Source: the Realtime API's documented error codes. */
export const errorCodes = new Set<string>([
  ...exitIds,
  'rate_limit_exceeded',
  'insufficient_quota',
  'server_error',
  'internal_error',
  'content_filter',
  'conversation_already_has_active_response',
  'response_cancel_not_active',
  'input_audio_buffer_commit_empty',
  'invalid_value',
  'unknown_parameter',
  'missing_required_parameter',
  'unsupported_by_upstream',
  // What becomes of calls of tools.
  'timeout',
  'failed',
]);

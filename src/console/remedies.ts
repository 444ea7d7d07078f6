/** What to do about each problem in the page: the exits' own advice, and words for every code of a refused event. */

import { advice } from '../advice.js';
import { isExitId } from '../errors.js';

const forOthers: Readonly<Record<string, string>> = {
  unreachable:
    'Is the relay running, and may this page connect? Its origin, {origin}, must be in RELAY_ALLOWED_ORIGINS of the relay.',
  no_token: 'The page could not get a token. Is the relay still running?',
  unusable_token: 'Paste the whole token: three parts with dots between them, without quotes or line breaks.',
  webrtc_not_offered: 'Choose WebSocket, which every relay offers.',
  no_settings: 'The relay did not tell this page its settings. Is it running? Then load the page again.',
  unusable_address: 'Correct the address of the relay.',
  no_microphone:
    'See that one is connected and allowed for this page, which must be of https:// or of localhost, then switch it on again; or write instead.',
  no_sound: 'Click anywhere in the page, and it will play.',
  unknown_format: 'Set audio/pcm, audio/pcmu or audio/pcma in the profile.',
  not_sent: 'Look at the network, and say it again.',
  call_interrupted: 'Look at the network. The call goes on by itself, or a client connects again.',
  max_output_tokens: 'The answer reached the longest length that the profile sets (max_output_tokens).',
  content_filter: 'A content filter of the service stopped the answer. Ask in other words.',
  rate_limit_exceeded: 'The deployment has no tokens left for this minute. Wait; operators: raise its quota.',
  transcription_unavailable: 'Operators: deploy the transcription model that the profile names.',
  event_not_allowed: 'This event is not for end users; a trusted profile may send it.',
  ignored_fields:
    'Nothing is broken: the server sets these. Operators: may_update of the profile lets clients set some of them.',
  missing_required_parameter: 'Add the field that is named.',
  invalid_value: 'Correct the field that is named.',
  item_not_allowed: 'End users may add messages of their own, and answers to calls made to them.',
  unknown_item: 'The item is not of this conversation.',
  unknown_response: 'The response is not of this conversation.',
  conversation_already_has_active_response: 'Wait for response.done before asking for the next answer.',
  taken_over: 'A person or program says when the model answers, until it gives the session back.',
  renewal_refused: 'The session goes on until its token runs out; then a new one begins.',
  not_found: 'It is over, or of another tenant.',
  not_open: 'It is still being opened. Try again in a moment.',
  too_many_items: 'Start a new session.',
  too_many_updates: 'Wait for session.updated before sending more.',
  unsupported_by_upstream: 'The upstream’s version of the protocol cannot do this.',
};

/** What to do, for the person in front of the page of this origin. */
export function adviceFor(code: string, origin: string): string {
  if (isExitId(code)) return advice[code].page;
  const known = Object.hasOwn(forOthers, code) ? forOthers[code] : undefined;
  return (known ?? 'The session goes on if it is still connected.').replace('{origin}', origin);
}

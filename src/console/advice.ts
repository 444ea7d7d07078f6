/** What to do about each problem: every exit of the relay's table, and every code of a refused event. */

import type { ExitId } from '../errors.js';

const forExits: Record<ExitId, string> = {
  normal: 'Connect again when you like.',
  idle_timeout: 'Nobody spoke for the idle limit. Connect again; the profile sets the limit (idle_seconds).',
  session_expired: 'The session reached its longest length. A client connects again; the conversation is not kept.',
  draining: 'This instance shuts down. Connecting again reaches another one, or this one once it is back.',
  client_lost: 'The relay heard nothing of this page for over a minute. Look at the network; a client connects again.',
  unsupported_data: 'Send events as text frames; binary frames are not part of the protocol.',
  bad_event: 'See the last events that were sent: one was not valid, or too many were refused.',
  too_big: 'Send smaller events; audio in pieces of 20 to 100 ms.',
  unauthorized:
    'Get a new token. It must be signed with the key, issuer and audience that the relay is set to; a client secret works once only.',
  token_expired: 'The token has run out: get a new one.',
  revoked: 'The token was withdrawn: sign in again to get a new one.',
  forbidden:
    'The token names a profile or model that this relay does not have. Compare it with the relay’s configuration.',
  not_found: 'The relay has no such path. Leave the path out of its address, or use /v1/realtime.',
  quota_exceeded: 'The budget of the day is spent; it starts again at midnight UTC, or the operator raises it.',
  rate_limited: 'Too many sessions or events at once: close other tabs of this user, or wait.',
  overloaded: 'This instance is full. Wait; operators: see limits.sessions.',
  slow_consumer: 'This page did not read fast enough. Look at the network, or at a tab that was asleep.',
  upstream_unavailable:
    'No upstream takes sessions right now. Wait; operators: see /readyz of the operations port, and the log.',
  upstream_failed: 'Upstream refused the session. Operators: run “realtime-relay check --dial”.',
  upstream_lost: 'The connection to the model broke. Connect again; “realtime-relay explain” tells whose fault it was.',
  upstream_timeout: 'The model did not answer in time. Connect again.',
  upstream_configuration_failed: 'Upstream did not accept the profile. Operators: run “realtime-relay check --dial”.',
  internal: 'A fault in the relay. Operators: the log has its cause.',
};

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
  too_many_items: 'Start a new session.',
  too_many_updates: 'Wait for session.updated before sending more.',
  unsupported_by_upstream: 'The upstream’s version of the protocol cannot do this.',
};

/** What to do, for the person in front of the page of this origin. */
export function adviceFor(code: string, origin: string): string {
  const known: Readonly<Record<string, string>> = { ...forOthers, ...forExits };
  return (known[code] ?? 'The session goes on if it is still connected.').replace('{origin}', origin);
}

/** What to do about each exit, in the words of whoever meets it; an exit without a row does not compile. */

import type { ExitId } from './errors.js';

/** One exit, seen from the two chairs in front of a relay. */
interface Advice {
  /** To the operator who speaks through the relay in a terminal. */
  readonly operator: string;
  /** To the person in front of the console. */
  readonly page: string;
}

/** Where the reason stands when the client may not know it. */
export const seeLog = "The relay's log has the reason.";

export const advice: Readonly<Record<ExitId, Advice>> = {
  normal: {
    operator: `It should have answered first. ${seeLog}`,
    page: 'Connect again when you like.',
  },
  idle_timeout: {
    operator: 'Raise idle_seconds in the profile if this was too soon.',
    page: 'Nobody spoke for the idle limit. Connect again; the profile sets the limit (idle_seconds).',
  },
  session_expired: {
    operator: 'Use a shorter recording, or raise session_seconds in the profile.',
    page: 'The session reached its longest length. A client connects again; the conversation is not kept.',
  },
  draining: {
    operator: 'Try again: a restarted or another instance takes over.',
    page: 'This instance shuts down. Connecting again reaches another one, or this one once it is back.',
  },
  client_lost: {
    operator: 'The network between here and the relay was gone for over a minute: try again.',
    page: 'The relay heard nothing of this page for over a minute. Look at the network; a client connects again.',
  },
  superseded: {
    operator: 'Another connection has gone on with this session: use that one.',
    page: 'Another page, or another connection of this one, goes on with the session.',
  },
  resume_refused: {
    operator: 'Connect without asking to go on with a session: a new one begins.',
    page: 'The session from before cannot be gone on with. Connect again; a new one begins.',
  },
  unsupported_data: {
    operator: 'Something between here and the relay changes the frames.',
    page: 'Send events as text frames; binary frames are not part of the protocol.',
  },
  bad_event: {
    operator: 'Is a relay of another version, or not a relay, at this address?',
    page: 'See the last events that were sent: one was not valid, or too many were refused.',
  },
  too_big: {
    operator: 'Raise event_bytes in the profile.',
    page: 'Send smaller events; audio in pieces of 20 to 100 ms.',
  },
  unauthorized: {
    operator:
      'Get a new token (`realtime-relay token` makes one), with the key, issuer and audience that this relay verifies.',
    page: 'Get a new token. It must be signed with the key, issuer and audience that the relay is set to; a client secret works once only.',
  },
  token_expired: {
    operator: 'Get a new token; `realtime-relay token` makes one.',
    page: 'The token has run out: get a new one.',
  },
  revoked: {
    operator: 'Get a new token; `realtime-relay token` makes one.',
    page: 'The token was withdrawn: sign in again to get a new one.',
  },
  ended_by_backend: {
    operator: 'Somebody with the scope relay.sessions.write ended it; the log line control.request says who.',
    page: 'Somebody ended this session on purpose. A new one may be started, unless the app forbids that.',
  },
  forbidden: {
    operator: 'Check the profile and the scope in the token, the model in the URL, and the origins that are allowed.',
    page: 'The token names a profile or model that this relay does not have. Compare it with the relay’s configuration.',
  },
  not_found: {
    operator: 'Check the path in the URL; the base URL of the relay, like http://127.0.0.1:8080, is enough.',
    page: 'The relay has no such path. Leave the path out of its address, or use /v1/realtime.',
  },
  quota_exceeded: {
    operator: 'Raise the budget of this user, or wait until it is renewed.',
    page: 'The budget of the day is spent; it starts again at midnight UTC, or the operator raises it.',
  },
  rate_limited: {
    operator: 'End other sessions of this user, or raise the limits of the profile.',
    page: 'Too many sessions or events at once: close other tabs of this user, or wait.',
  },
  overloaded: {
    operator: 'Wait, add an instance, or raise limits.sessions.',
    page: 'This instance is full. Wait; operators: see limits.sessions.',
  },
  store_unavailable: {
    operator: 'Redis is out of reach, or cannot be written to: realtime-relay check says more.',
    page: 'The relay cannot reach what its replicas share. Wait; operators: see Redis.',
  },
  slow_consumer: {
    operator: 'The network from the relay to here is too slow for the sound.',
    page: 'This page did not read fast enough. Look at the network, or at a tab that was asleep.',
  },
  upstream_unavailable: {
    operator: 'Azure refuses new sessions for now (quota or outage): wait, or add an upstream.',
    page: 'No upstream takes sessions right now. Wait; operators: see /readyz of the operations port, and the log.',
  },
  upstream_failed: {
    operator: "Check the endpoint, the deployment and the relay's rights in Azure; its log has Azure's answer.",
    page: 'Upstream refused the session. Operators: run “realtime-relay check --dial”.',
  },
  upstream_lost: {
    operator: `Try again; if it stays, look at the network from the relay to Azure. ${seeLog}`,
    page: 'The connection to the model broke. Connect again; “realtime-relay explain” tells whose fault it was.',
  },
  upstream_timeout: {
    operator: 'Check that the relay can reach Azure (DNS, firewall, proxy), and the status of Azure.',
    page: 'The model did not answer in time. Connect again.',
  },
  upstream_configuration_failed: {
    operator: `Azure does not accept the session of this profile. ${seeLog}`,
    page: 'Upstream did not accept the profile. Operators: run “realtime-relay check --dial”.',
  },
  internal: {
    operator: `This is a fault in the relay. ${seeLog}`,
    page: 'A fault in the relay. Operators: the log has its cause.',
  },
};

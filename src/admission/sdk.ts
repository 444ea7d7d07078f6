/** Which client library opened a session, as far as its handshake tells: for a metric, and for nothing else. */

import type { IncomingHttpHeaders } from 'node:http';
import { offeredProtocols } from '../auth/credentials.js';

/** A handshake reduced to what libraries differ in. */
interface Handshake {
  readonly headers: IncomingHttpHeaders;
  readonly query: URLSearchParams;
  readonly protocols: readonly string[];
}

/** Beginnings of `User-Agent`. */
const agent = (pattern: RegExp) => (handshake: Handshake) => pattern.test(handshake.headers['user-agent'] ?? '');

/**
 * How each library is recognised; the first row that fits counts. Source: the handshake code of the packages named, at the
 * versions named. Rows from `browser` on name what a library is built on, where it says no more of itself.
 */
const rows = [
  // @openai/agents-realtime 0.20: headers in Node, a subprotocol in browsers.
  [
    'agents-js',
    ({ headers, protocols }: Handshake) =>
      headers['x-openai-agents-sdk'] !== undefined ||
      protocols.some((protocol) => protocol.startsWith('openai-agents-sdk.')),
  ],
  // openai-agents (Python), realtime/openai_realtime.py.
  ['agents-python', agent(/^Agents\/Python /)],
  // livekit-plugins-openai (Python) and @livekit/agents-plugin-openai.
  ['livekit', agent(/^LiveKit[ -]Agents/)],
  // rt-client 0.5 (npm) and rtclient 0.5 (Python); in browsers its request id is in the query.
  [
    'rt-client',
    (handshake: Handshake) =>
      agent(/^ms-rtclient\//)(handshake) ||
      (handshake.headers.origin !== undefined && handshake.query.has('x-ms-client-request-id')),
  ],
  // openai-realtime-api 1.0.8 on Node without a WebSocket of its own: one key in both headers.
  [
    'openai-realtime-api',
    ({ headers }: Handshake) =>
      headers['openai-beta'] === 'realtime=v1' &&
      headers['api-key'] !== undefined &&
      headers.authorization !== undefined,
  ],
  // openai 7 (npm), class OpenAIRealtimeWS; earlier versions do not say who they are.
  ['openai-node', agent(/^(?:Azure)?OpenAI\/JS /)],
  ['browser', ({ headers }: Handshake) => headers.origin !== undefined],
  // Python's websockets, under openai-python, Pipecat and most programs written by hand.
  ['python-websockets', agent(/^Python\/\S+ websockets\//)],
  // The WebSocket that Node has itself (undici), under the native classes of openai and openai-realtime-api.
  ['node-native', agent(/^(?:node|undici)$/)],
  // The ws package sends no User-Agent, and no other library writes this offer (RFC 7692) without one.
  [
    'node-ws',
    ({ headers }: Handshake) =>
      headers['user-agent'] === undefined &&
      headers['sec-websocket-extensions'] === 'permessage-deflate; client_max_window_bits',
  ],
] as const satisfies readonly (readonly [name: string, fits: (handshake: Handshake) => boolean])[];

/** A client library, or what it is built on. */
export type Sdk = (typeof rows)[number][0] | 'other';

/** Every value the metric's label can have. */
export const sdks: readonly Sdk[] = [...rows.map(([name]) => name), 'other'];

/** The library that opened this handshake. A client can claim to be any of them. */
export function sdkOf(headers: IncomingHttpHeaders, query: URLSearchParams): Sdk {
  const handshake: Handshake = { headers, query, protocols: offeredProtocols(headers) };
  return rows.find(([, fits]) => fits(handshake))?.[0] ?? 'other';
}

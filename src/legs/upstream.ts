/** The leg to an upstream. */

import type { Metrics } from '../telemetry/metrics.js';
import { type Dialed, mostMessageBytes } from '../upstream/dial.js';
import type { Leg } from './leg.js';
import type { Heartbeats } from './liveness.js';
import { asPreviewUpstream } from './preview.js';
import { upstreamReader } from './readers.js';
import { WebSocketLeg } from './websocket.js';

/** Limits of the instance. */
export interface UpstreamLimits {
  readonly hold_bytes: number;
  readonly ping_seconds: number;
  readonly pong_seconds: number;
}

/** Two seconds, looked at once a second by clocks that differ a little. */
const dueMs = 1900;

/** Makes the leg of an upstream that was dialled: for a session, or beside a call. */
export function upstreamLeg(
  { socket, stream, upstream }: Dialed,
  limits: UpstreamLimits,
  metrics: Pick<Metrics, 'slowPath' | 'odd'>,
): Leg {
  const leg = new WebSocketLeg(socket, stream, {
    read: upstreamReader(upstream.dialect, metrics),
    bufferBytes: limits.hold_bytes,
    masked: true,
    messageBytes: mostMessageBytes,
    heartbeat: heartbeatOf(limits),
  });
  return upstream.dialect === 'preview' ? asPreviewUpstream(leg) : leg;
}

/** Soon while something is due from it: its user waits as long as nobody knows that it is dead. */
function heartbeatOf({ ping_seconds, pong_seconds }: UpstreamLimits): Heartbeats {
  const [pingMs, pongMs] = [ping_seconds * 1000, pong_seconds * 1000];
  return {
    idle: { pingMs, pongMs, silenceMs: 0 },
    due: { pingMs: Math.min(pingMs, dueMs), pongMs: Math.min(pongMs, dueMs), silenceMs: 0 },
  };
}

/** The leg to a client. */

import type { Duplex } from 'node:stream';
import type { Profile } from '../policy/profile.js';
import type { Dialect } from '../protocol/catalogue.js';
import { createReader } from '../protocol/read.js';
import type { ClientSocket } from './client-socket.js';
import type { Leg } from './leg.js';
import type { Heartbeats } from './liveness.js';
import type { PeerOptions } from './peer.js';
import { asPreviewClient } from './preview.js';
import { clientReader, eventBytesOf, trustedTree } from './readers.js';
import { type MakeLeg, ResumableLeg } from './resumable.js';
import { WebSocketLeg } from './websocket.js';

/** Who a client is, as far as its leg needs to know. */
interface Client {
  readonly profile: Profile;
  readonly dialect: Dialect;
  /** The version of the API that it names, if it names one. */
  readonly apiVersion: string | null;
  readonly limits: ClientLimits;
}

/** Limits of the instance. */
interface ClientLimits {
  readonly hold_bytes: number;
  readonly ping_seconds: number;
  readonly silence_seconds: number;
}

/** Together with what may be on the way to it, one MiB: over it events are left out. */
const sidebandBufferBytes = 768 * 1024;

/** A client's leg, and the same as what it can be connected anew with; null where it cannot. */
interface ClientLeg {
  readonly client: Leg;
  readonly resumable: ResumableLeg | null;
}

/** Makes the leg of a client that was let in; `resumes` where it may come back over other connections. */
export function clientLeg(
  socket: ClientSocket,
  stream: Duplex,
  { profile, dialect, apiVersion, limits }: Client,
  onSlow: (reason: string) => void,
  resumes: boolean,
): ClientLeg {
  const options: PeerOptions = {
    read: clientReader(profile, dialect, onSlow),
    bufferBytes: limits.hold_bytes,
    masked: false,
    messageBytes: eventBytesOf(profile),
    hasWindow: true,
    heartbeat: heartbeatOf(limits),
  };
  const make: MakeLeg = (connected, raw, recorder) => new WebSocketLeg(connected, raw, { ...options, recorder });
  const resumable = resumes ? new ResumableLeg(socket, stream, make) : null;
  const leg = resumable ?? new WebSocketLeg(socket, stream, options);
  return { client: dialect === 'preview' ? asPreviewClient(leg, apiVersion) : leg, resumable };
}

/** Only to hear of it: one in a tunnel answers as late again as it was in there. */
function heartbeatOf({ ping_seconds, silence_seconds }: ClientLimits): Heartbeats {
  const beat = { pingMs: ping_seconds * 1000, pongMs: 0, silenceMs: silence_seconds * 1000 };
  return { idle: beat, due: beat };
}

/** Makes the leg of a backend that follows a session; it may send messages of so many bytes. */
export function sidebandLeg(socket: ClientSocket, stream: Duplex, limits: ClientLimits, bytes: number): Leg {
  return new WebSocketLeg(socket, stream, {
    read: createReader({ direction: 'up', dialect: 'ga', slowBytes: bytes, eventBytes: bytes, tree: trustedTree }),
    bufferBytes: sidebandBufferBytes,
    masked: false,
    messageBytes: bytes,
    heartbeat: heartbeatOf(limits),
  });
}

/** Makes the leg of a client that is only told why it was not let in, and may send no more than so many bytes before it reads that. */
export function refusedLeg(socket: ClientSocket, stream: Duplex, bytes: number): Leg {
  const leg = new WebSocketLeg(socket, stream, {
    read: createReader({ direction: 'up', dialect: 'ga', slowBytes: bytes, eventBytes: bytes }),
    bufferBytes: bytes,
    masked: false,
    messageBytes: bytes,
    heartbeat: heartbeatOf({ hold_bytes: bytes, ping_seconds: 0, silence_seconds: 0 }),
  });
  leg.start(null);
  return leg;
}

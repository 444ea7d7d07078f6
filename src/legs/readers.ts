/** How large the messages of a session may be, and the readers that hold them to it. */

import type { Profile } from '../policy/profile.js';
import type { Dialect } from '../protocol/catalogue.js';
import { createReader, type Reader } from '../protocol/read.js';
import type { Metrics } from '../telemetry/metrics.js';

type OnSlow = (reason: string) => void;

/** Upstream takes 15 MiB of decoded audio in one event; what an SDK sends of a recording in one piece is far less. */
const eventBytes = 16 * 1024 * 1024;
/** What an end user may have parsed, in bytes, besides audio. */
const endUserSlowBytes = 256 * 1024;
/** Above the largest legal event: an item that upstream hands back with 15 MiB of audio, which is 20 MiB of base64. */
const upstreamBytes = 24 * 1024 * 1024;
/** A backend may send whole tool schemas. */
export const trustedTree = { depth: 32, keys: 20_000, elements: 100_000 };

/** The largest event a profile's clients may send, in bytes. */
export function eventBytesOf(profile: Profile): number {
  return profile.limits.event_bytes ?? eventBytes;
}

/** Reads what the client of a session sends. */
export function clientReader(profile: Profile, dialect: Dialect, onSlow: OnSlow): Reader {
  const most = eventBytesOf(profile);
  const options = { direction: 'up', dialect, eventBytes: most, onSlow } as const;
  return profile.client.trust === 'trusted'
    ? createReader({ ...options, slowBytes: most, tree: trustedTree })
    : createReader({ ...options, slowBytes: Math.min(endUserSlowBytes, most) });
}

/** Reads what upstream sends. */
export function upstreamReader(dialect: Dialect, { slowPath, odd }: Pick<Metrics, 'slowPath' | 'odd'>): Reader {
  const sizes = { slowBytes: upstreamBytes, eventBytes: upstreamBytes };
  const onHalf = () => odd('half_character');
  return createReader({ direction: 'down', dialect, ...sizes, onSlow: slowPath, onHalf });
}

/** What goes over the way from a session to who follows it: events as they are sent, and at last how it ended. */

import { type ExitId, isExitId } from '../errors.js';
import type { JsonObject, RealtimeEvent } from '../protocol/event.js';

const kinds = { event: 0, ended: 1, failed: 2 } as const;

/** What has come over a way: an event, how the session ended, or why it cannot be followed any more though it goes on. */
type Told =
  | { readonly kind: 'event'; readonly event: RealtimeEvent }
  | { readonly kind: 'ended'; readonly id: ExitId }
  | { readonly kind: 'failed'; readonly id: ExitId };

/** An event. */
export function telling(event: JsonObject | Buffer): Uint8Array {
  return piece('event', Buffer.isBuffer(event) ? event : Buffer.from(JSON.stringify(event)));
}

/** The end of the session, or of following it alone. */
export function ending(kind: 'ended' | 'failed', id: ExitId): Uint8Array {
  return piece(kind, Buffer.from(id));
}

/** What has come over a way. */
export function told(bytes: Uint8Array): Told {
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.byteLength - 1);
  const [kind] = bytes;
  if (kind === kinds.event) {
    const event = { type: '', raw, body: null, audioBytes: 0, itemId: null, responseId: null, framed: false };
    return { kind: 'event', event };
  }
  const id = raw.toString();
  const exit = isExitId(id) ? id : 'internal';
  return kind === kinds.ended ? { kind: 'ended', id: exit } : { kind: 'failed', id: exit };
}

function piece(kind: keyof typeof kinds, content: Buffer): Uint8Array {
  // Of its own memory: what it is copied from is used again.
  const bytes = Buffer.allocUnsafeSlow(content.length + 1);
  bytes[0] = kinds[kind];
  content.copy(bytes, 1);
  return bytes;
}

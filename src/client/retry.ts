/** What to do after a connection ended: the relay's own table of exits, turned into waiting times. */

import { type Exit, exits, isExitId } from '../errors.js';

/** What is known when a connection has ended. */
export interface Ended {
  readonly code: number;
  /** The id of the exit, from the close frame or the `error` event before it; empty when the connection just broke. */
  readonly id: string;
  readonly retryAfterMs: number | undefined;
  /** How many attempts in a row came to nothing, this one included; 1 after a session that had worked. */
  readonly attempt: number;
  /** Whether a connection has ever worked: an address that never answered is probably wrong. */
  readonly hasWorked: boolean;
  /** Whether a new token was already fetched for this attempt. */
  readonly hadNewToken: boolean;
}

/** Connect again after `afterMs`, with a new token where the old one is the reason; or give up. */
export type Next = { readonly kind: 'stop' } | { readonly kind: 'retry'; readonly afterMs: number };

const stop: Next = { kind: 'stop' };
const firstMs = { reconnect: 500, reconnect_now: 100, wait: 2000, after_new_token: 0 } as const;
const longestMs = 30_000;

/** Attempts in a row after which a client gives up: about four minutes of backing off. */
export const maxAttempts = 12;

/** Decides by the exit's class; backs off exponentially with full jitter, and never sooner than the relay asks. */
export function nextAfter(ended: Ended, random: () => number = Math.random): Next {
  const { attempt, retryAfterMs = 0 } = ended;
  const retry = retryOf(ended);
  if (retry === 'stop' || attempt >= maxAttempts) return stop;
  // A token that was fetched just now and is refused all the same will not be accepted the third time.
  if (retry === 'after_new_token' && ended.hadNewToken) return stop;
  const ceiling = Math.min(longestMs, firstMs[retry] * 2 ** (attempt - 1));
  const floor = retry === 'wait' ? ceiling / 2 : 0;
  // Clients that are told to wait the same time must not all come back in the same moment, so jitter is added to it.
  return { kind: 'retry', afterMs: Math.round(Math.max(retryAfterMs, floor) + random() * (ceiling - floor)) };
}

function retryOf({ id, code, hasWorked }: Ended): Exit['retry'] {
  if (isExitId(id)) return exits[id].retry;
  if (code === 1006) return hasWorked ? 'reconnect' : 'stop';
  // Something between the relay and this client closed the socket: read its code as the relay's own.
  const same = Object.values<Exit>(exits).find(({ close }) => close === code);
  return same?.retry ?? 'stop';
}

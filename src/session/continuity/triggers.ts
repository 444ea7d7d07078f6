/** Why a leg is replaced. */

import type { ExitId } from '../../errors.js';
import type { ReplacementTrigger } from '../../telemetry/labels.js';

/** RFC 6455 section 7.4.1: the connection ended without a close frame. */
const noCloseFrame = 1006;

const triggers: ReadonlyMap<ExitId, ReplacementTrigger> = new Map<ExitId, ReplacementTrigger>([
  ['session_expired', 'expiry'],
  ['upstream_timeout', 'mute'],
  ['slow_consumer', 'stalled'],
]);

/**
 * What an end by upstream would be a reason for; null for one that another leg would meet as well: a quota, what is not allowed, a
 * configuration that it does not take, a close that says that it means it.
 */
export function triggerOf(id: ExitId, closeCode: number | undefined): ReplacementTrigger | null {
  if (id === 'upstream_lost')
    return closeCode === undefined ? 'no_pong' : closeCode === noCloseFrame ? 'reset' : 'closed';
  // With a close code it is upstream's own word; without, it was not a word at all.
  if (id === 'upstream_failed') return closeCode === undefined ? 'garbage' : null;
  return triggers.get(id) ?? null;
}

/** Whether nothing more can come of a leg that was lost so. */
export function isDeadly(trigger: ReplacementTrigger): boolean {
  return trigger !== 'expiry' && trigger !== 'server_error';
}

/** Whether the upstream as such may be at fault at once, and not only after several users have met it. */
export function isPlain(trigger: ReplacementTrigger): boolean {
  return trigger === 'reset' || trigger === 'closed' || trigger === 'no_pong' || trigger === 'stalled';
}

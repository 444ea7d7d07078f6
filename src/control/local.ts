/** What carries commands out on the sessions of this process, with all its parts. */

import { Buckets } from '../admission/buckets.js';
import type { Clock } from '../clock.js';
import { createGhosts } from '../session/ghosts.js';
import type { SessionRegistry } from '../session/registry.js';
import type { Log } from '../telemetry/log.js';
import { type Control, type ControlServices, createControl } from './control.js';
import { createFollowing } from './following.js';
import { createSaying } from './saying.js';

/** What it is made of. */
interface LocalServices extends Pick<ControlServices, 'revocations' | 'home' | 'streams' | 'resuming'> {
  readonly registry: SessionRegistry;
  readonly clock: Clock;
  readonly log: Log;
  limits(): { readonly sidebands_per_session: number };
}

/** Makes it. */
export function createLocalControl(services: LocalServices): Control {
  const { registry, revocations, home, streams, clock, log, limits, resuming } = services;
  // Whoever says something in a session, and in whatever way, is at the same pace.
  const rates = new Buckets();
  return createControl({
    registry,
    ghosts: createGhosts(registry),
    revocations,
    home,
    streams,
    ...(resuming && { resuming }),
    say: createSaying(log, rates),
    following: createFollowing({ clock, log, rates }, () => limits().sidebands_per_session),
  });
}

/** The second way in: somebody goes on with a session that they have. It takes no place and no part of a budget. */

import { type AdmissionServices, type AdmissionStep, Candidate } from './candidate.js';
import { drainingError, knock, origin, profile, who } from './judging.js';
import type { Request } from './recognise.js';
import { connect, secret } from './taking.js';

/** As on the first way, up to the profile; the instance may be full, but not about to go. */
const steps: readonly AdmissionStep[] = [origin, notDraining, who, profile, knock];

/** Says who asks. What they ask to go on with is nobody's business yet. */
export async function recogniseReturning(request: Request, services: AdmissionServices): Promise<Candidate> {
  const candidate = new Candidate(request, '', services);
  for (const step of steps) {
    const waiting = step(candidate);
    if (waiting) await waiting;
  }
  return candidate;
}

/** Takes what coming back costs: a client secret, where they came with one, and one of the connections of their rate. */
export async function takeReturn(candidate: Candidate): Promise<void> {
  connect(candidate);
  await secret(candidate);
}

/** What was taken was taken for nothing. */
export function giveBackReturn({ redeemed, services }: Candidate): void {
  if (redeemed) void services.secrets.restore(redeemed).catch(reported);
}

function notDraining({ services: { registry } }: Candidate): void {
  if (registry.isDraining) throw drainingError();
}

/** It was reported where the store was called. */
function reported(_error: unknown): void {}

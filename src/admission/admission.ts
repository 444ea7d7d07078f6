/** Deciding who may come in, and on what terms: one list of steps, the same for every door. */

import type { InstanceLimits } from '../config/file.js';
import type { Profile } from '../policy/profile.js';
import { publicId } from '../uuid.js';
import { type Bearer, createBearer } from './bearer.js';
import type { Budget } from './budget.js';
import { type AdmissionServices, type AdmissionStep, Candidate, type Wishes } from './candidate.js';
import { knock, model, origin, profile, room, upstream, who } from './judging.js';
import type { Guest, Request } from './recognise.js';
import { address, connect, issuer, seat, secret, user } from './taking.js';

/** What was decided about one client, with what its session lives with until it ends. */
export interface Admission extends Wishes, Bearer {
  /** The relay's own id of the session, `sess_…`: in the log, and the only one the client sees. */
  readonly id: string;
  readonly profile: Profile;
  /** The instance's limits when it came in; what is read later is for those who come later. */
  readonly limits: InstanceLimits;
  /** The model's public name. */
  readonly model: string;
  /** What the user and the tenant may still spend today; whoever has started it must close it. */
  readonly budget: Budget;
  /** Keeps the user's place; called at least every 30 s while the session lives. */
  renew(): void;
  /** The session stands in the registry, which counts it from now on. */
  seated(): void;
  /** Gives back whatever was taken for the session and is still its own; does nothing the second time. */
  release(): void;
}

/**
 * In order: the first that throws is the answer. What costs nothing comes before what costs something, and a session is
 * counted as begun last: who is told that there is no place did not begin one. `room` is asked again because recognising
 * may have taken a while; from there to `seat` nothing waits, so that a crowd does not pass all of it at once.
 */
const steps: readonly AdmissionStep[] = [
  origin,
  room,
  who,
  profile,
  knock,
  model,
  room,
  upstream,
  seat,
  secret,
  issuer,
  address,
  user,
  connect,
];
/** For doors that take a body, and do these two by the headers alone. */
const stepsOfKnown = steps.filter((step) => step !== who && step !== knock);

/**
 * Decides about one request, and takes a place of the instance's, one of the user's and a part of each budget for it.
 * @param known who sends it, where that is known already, and has knocked
 */
export async function admit(
  request: Request,
  wishes: Wishes,
  services: AdmissionServices,
  known?: Guest,
): Promise<Admission> {
  const id = publicId('sess', wishes.requestId);
  const candidate = new Candidate(request, id, services, known);
  const { stay } = candidate;
  try {
    for (const step of known ? stepsOfKnown : steps) {
      const waiting = step(candidate);
      if (waiting) await waiting;
    }
  } catch (error) {
    stay.release();
    // A refusal leaves it good.
    if (candidate.redeemed) void services.secrets.restore(candidate.redeemed).catch(reported);
    throw error;
  }
  const { guest, settings, profile, model, budget } = candidate;
  const bearer = createBearer(guest.principal, services);
  return {
    id,
    ...wishes,
    get principal() {
      return bearer.principal;
    },
    authenticate: bearer.authenticate,
    become: bearer.become,
    profile,
    limits: settings.limits,
    model,
    budget,
    renew: () => stay.renew(),
    seated: () => stay.seated(),
    release: () => stay.release(),
  };
}

/** It was reported where the store was called. */
function reported(_error: unknown): void {}

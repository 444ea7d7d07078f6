/** What all doors for backends have in common: who may pass, how often, and that it is on account. */

import type { RequestHandler } from 'express';
import type { AdmissionServices } from '../admission/candidate.js';
import type { Controls } from '../admission/controls.js';
import { checkOrigin } from '../admission/origin.js';
import type { ControlVerb } from '../telemetry/labels.js';
import { type Audit, begin } from './audit.js';
import { guestOf, identify } from './guest.js';
import { checkScope, isBackend, type Scope } from './rights.js';

/** Where the doors for backends are. */
export const controlPath = '/v1/relay';

/** Whether a path is one of theirs, as the router compares paths. */
export function isForBackends(path: string): boolean {
  return `${path}/`.toLowerCase().startsWith(`${controlPath}/`);
}

export interface EntranceServices {
  readonly admission: AdmissionServices;
  readonly controls: Controls;
  readonly audit: Audit;
}

/** Refuses pages of foreign origins before anything else; what is answered is for who asked alone. */
export function threshold({ origins }: AdmissionServices): RequestHandler {
  return (request, response, next) => {
    response.set('Cache-Control', 'no-store');
    checkOrigin(request, origins);
    next();
  };
}

/** Lets in who has the scope, with their body unread. From here on what becomes of the request is on account. */
export function entering({ admission, controls }: EntranceServices, verb: ControlVerb, scope: Scope): RequestHandler[] {
  return [
    identify(admission, 'mint'),
    (request, response, next) => {
      const { principal } = guestOf(response);
      begin(response, { verb, by: principal, session: String(request.params.id ?? '') });
      controls.ask(principal, isBackend(principal));
      checkScope(principal, scope);
      next();
    },
  ];
}

/** Somebody who asks to come in: what is asked, what with it is decided, and what was found out and taken so far. */

import type { User } from '../auth/principal.js';
import type { LookedAt } from '../auth/secrets.js';
import type { IssuerSettings } from '../config/identity.js';
import type { LiveSettings } from '../config/settings.js';
import type { RelayError } from '../errors.js';
import type { Profile } from '../policy/profile.js';
import type { Dialect } from '../protocol/catalogue.js';
import type { Store } from '../store/store.js';
import type { Budget } from './budget.js';
import type { Origins } from './origin.js';
import type { Guest, Recognition, Request } from './recognise.js';
import { type Places, Stay } from './stay.js';

/** What a request says of the session that it asks for. */
export interface Wishes {
  /**
   * A UUID by which Azure's support can find the session: sent upstream as `x-ms-client-request-id`, and to the client as
   * `x-request-id`.
   */
  readonly requestId: string;
  readonly dialect: Dialect;
  /** The `api-version` the client names, which tells the first preview clients from later ones. */
  readonly apiVersion: string | null;
  /** Whether the client asked for `relay.*` events. */
  readonly relayEvents: boolean;
  /** The client's header of that name (W3C Trace Context), not judged yet. */
  readonly traceparent: string | undefined;
}

/** What admission is decided with. */
export interface AdmissionServices extends Recognition {
  readonly store: Store;
  /** This process, for which the store keeps what its sessions take. */
  readonly owner: string;
  readonly registry: Places;
  /** Ends a session of this user whose client has gone; resolves to whether there was one. */
  readonly endGhost: (user: User) => Promise<boolean>;
  /** Why no upstream would be dialled now, or null. */
  unavailable(): RelayError | null;
  /** The settings that hold now, all of one reading. */
  settings(): LiveSettings;
  readonly issuers: readonly IssuerSettings[];
  readonly origins: Origins;
  /** Name of the cookie that may hold an app token; left out or null: none. */
  readonly cookie?: string | null;
}

/** One request on its way through the steps; what has no value yet is set by the step that is named beside it. */
export class Candidate {
  readonly request: Request;
  readonly services: AdmissionServices;
  /** The relay's own id of the session, under which the store keeps what it takes. */
  readonly id: string;
  /** What was taken for it. */
  readonly stay: Stay;
  /** `secret`: what it has used up. */
  redeemed: LookedAt | null = null;
  /** `who` */
  guest!: Guest;
  /** `profile`: what holds from then on for this session, whatever is read later. */
  settings!: LiveSettings;
  /** `profile` */
  profile!: Profile;
  /** `model` */
  model!: string;
  /** `user` */
  budget!: Budget;

  constructor(request: Request, id: string, services: AdmissionServices, known?: Guest) {
    this.request = request;
    this.id = id;
    this.services = services;
    this.stay = new Stay(services.registry, services.store);
    if (known) this.guest = known;
  }
}

/** Looks at one thing, or takes one thing; throws the refusal. One that returns nothing has not waited. */
export type AdmissionStep = (candidate: Candidate) => Promise<void> | void;

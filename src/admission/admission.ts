/** Deciding who may come in: origin, credential, profile, model, and a free place. The same for every door. */

import { type Principal, type User, userKey } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { Profile } from '../policy/profile.js';
import type { Dialect } from '../protocol/catalogue.js';
import type { Place, Store } from '../store/store.js';
import { type Budget, createPurse } from './budget.js';
import { jittered } from './connects.js';
import type { Origins } from './origin.js';
import { authenticate, type Guest, type Recognition, type Request, secretError } from './recognise.js';

/** What the gateway decided about one client. */
export interface Admission {
  /** The relay's own id of the session, `sess_…`: in the log, and the only one the client sees. */
  readonly id: string;
  /**
   * A UUID by which Azure's support can find the session: sent upstream as `x-ms-client-request-id`, and to the client as
   * `x-request-id`.
   */
  readonly requestId: string;
  readonly principal: Principal;
  readonly profile: Profile;
  readonly dialect: Dialect;
  /** The `api-version` the client names, which tells the first preview clients from later ones. */
  readonly apiVersion: string | null;
  /** The model's public name. */
  readonly model: string;
  /** Whether the client asked for `relay.*` events. */
  readonly relayEvents: boolean;
  /** The client's header of that name (W3C Trace Context), not judged yet. */
  readonly traceparent: string | undefined;
  /** What the user and the tenant may still spend today; whoever has started it must close it. */
  readonly budget: Budget;
  /** Keeps the user's place; called at least every 30 s while the session lives. */
  renew(): void;
  /** The session stands in the registry, which counts it from now on. */
  seated(): void;
  /** Gives back whatever was taken for the session and is still its own; does nothing the second time. */
  release(): void;
}

/** The instance's places, of which every session takes one. */
interface Places {
  readonly isDraining: boolean;
  readonly isFull: boolean;
  /** Whether the instance is short of something else than places. */
  readonly isShort?: boolean;
  reserve(): boolean;
  giveUp(): void;
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
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly origins: Origins;
  /** Name of the cookie that may hold an app token; left out or null: none. */
  readonly cookie?: string | null;
  /** What all users of an issuer have together; left out: no limits. */
  readonly issuerLimits?: (iss: string) => IssuerLimits | null;
}

/** What the users of one issuer may have together. */
export interface IssuerLimits {
  /** The name of the issuer in keys. */
  readonly key: string;
  /** Sessions at the same time. */
  readonly sessions: number;
  readonly connects_per_second?: number | undefined;
  readonly tokens_per_day?: number | undefined;
}

const placeSeconds = 60;
/** A name that many share: one of them is no reason to end the session of another. */
const anonymous = 'anonymous';

/** The profile a principal's token names. */
export function profileOf(principal: Principal, profiles: ReadonlyMap<string, Profile>): Profile {
  const profile = profiles.get(principal.profile);
  if (!profile) throw new RelayError('forbidden', 'The profile that the token names does not exist on this relay.');
  if (profile.issuers && !profile.issuers.includes(principal.issuer)) {
    throw new RelayError('forbidden', 'The profile that the token names is not for tokens of its issuer.');
  }
  return profile;
}

/** The model's public name; what the client asks for is only a wish, unless the profile lists aliases. */
export function modelOf(profile: Profile, url: URL): string {
  const wishes = [...url.searchParams.getAll('model'), ...url.searchParams.getAll('deployment')].filter(Boolean);
  const { aliases } = profile;
  if (aliases.length === 0) return 'realtime';
  const unknown = wishes.find((wish) => !aliases.includes(wish));
  if (unknown !== undefined) {
    throw new RelayError('forbidden', `The model asked for is not available; available: ${aliases.join(', ')}.`);
  }
  return wishes[0] ?? (aliases[0] as string);
}

/**
 * A client that asks for a transcription session waits for its first event and never for an answer: a conversation would
 * only confuse it. The other way round the profile decides, as a transcription model does on Azure.
 */
export function checkIntent(profile: Profile, url: URL): void {
  if (!url.searchParams.getAll('intent').includes('transcription') || profile.session.type === 'transcription') return;
  throw new RelayError(
    'forbidden',
    'A transcription was asked for (intent=transcription), but the profile of the token is for conversations; ' +
      'ask for a conversation, or use a token whose profile has a session of type transcription.',
  );
}

/**
 * Decides about one request, and takes a place of the instance's, one of the user's and a part of each budget for it.
 * @param guest who sends it, where that is known already, and has knocked
 */
export async function admit(
  request: Request,
  wishes: Pick<Admission, 'requestId' | 'dialect' | 'apiVersion' | 'relayEvents' | 'traceparent'>,
  services: AdmissionServices,
  guest?: Guest,
): Promise<Admission> {
  const { registry, secrets, connects } = services;
  checkRoom(registry);
  const { principal, secret } = guest ?? (await authenticate(request, services));
  const profile = profileOf(principal, services.profiles);
  if (!guest) connects.knock(principal, profile);
  const model = modelOf(profile, request.url);
  checkIntent(profile, request.url);
  checkRoom(registry);
  checkUpstream(services);
  if (!registry.reserve()) throw fullError();
  const id = `sess_${wishes.requestId.replaceAll('-', '')}`;
  const stay = createStay(id, principal, profile, services);
  let isUsedUp = false;
  try {
    if (secret && (await secrets.redeem(secret.credential)) === null) throw secretError();
    isUsedUp = secret !== null;
    const budget = await stay.enter();
    // Counted last: who is told that there is no place did not begin a session.
    connects.enter(principal, profile, services.issuerLimits?.(principal.issuer));
    return { id, principal, profile, model, ...wishes, budget, ...stay.admission };
  } catch (error) {
    stay.admission.release();
    // A refusal leaves it good.
    if (secret && isUsedUp) void secrets.restore(secret).catch(reported);
    throw error;
  }
}

/** What one session takes, from the reserved place in the registry on; it owns all of it until it is released. */
function createStay(holder: string, principal: Principal, profile: Profile, services: AdmissionServices) {
  const { store, registry, owner } = services;
  const { sessions_per_user: limit } = profile.limits;
  const together = services.issuerLimits?.(principal.issuer) ?? null;
  const among = `${holder}:issuer`;
  /** One of the issuer's places; false when none is left. */
  const enterAmong = async ({ key, sessions }: IssuerLimits): Promise<boolean> => {
    const issuers: Place = { purpose: 'issuers', key: `issuer:${key}`, limit: sessions, ttlSeconds: placeSeconds };
    return (await store.enter({ place: issuers, holds: [], holder: among, owner })).outcome === 'in';
  };
  const key = `sessions:${userKey(principal)}`;
  const place: Place = { purpose: 'sessions', key, limit, ttlSeconds: placeSeconds };
  let isSeated = false;
  let isReleased = false;
  return {
    async enter(): Promise<Budget> {
      if (together && !(await enterAmong(together))) throw fullOfIssuer();
      const purse = createPurse({ ...profile.limits, ...(together && { issuer: together }) }, principal);
      const enter = () => store.enter({ place, holds: purse.holds, holder, owner });
      let entered = await enter();
      // Who comes back from a tunnel must not be shut out by what is left of the connection before.
      if (entered.outcome === 'taken' && principal.subject !== anonymous && (await services.endGhost(principal))) {
        entered = await enter();
      }
      if (entered.outcome === 'in') return purse.open(store, holder, entered);
      if (entered.outcome === 'spent') throw purse.refusal(entered);
      if (entered.outcome === 'full') throw fullError();
      throw new RelayError('rate_limited', `At most ${limit} sessions of one user at the same time.`, {
        retryAfterMs: 5000,
      });
    },
    admission: {
      // One whose place somebody else has by now goes on.
      renew: () => {
        void store.enter({ place, holds: [], holder, owner }).catch(reported);
        if (together) void enterAmong(together).catch(reported);
      },
      seated: () => {
        isSeated = true;
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        if (!isSeated) registry.giveUp();
        // Also where the answer of the store did not come: the place may have been taken all the same.
        void store.leave(holder).catch(reported);
        if (together) void store.leave(among).catch(reported);
      },
    },
  };
}

/** A store out of reach must not end a session, and is reported where it is called; places run out by themselves. */
function reported(_error: unknown): void {}

function checkRoom(registry: Places): void {
  if (registry.isDraining) throw drainingError();
  // Not all at once again: a crowd that is told the same second comes back in it.
  if (registry.isShort) throw fullError('is busy; try again shortly', 2000 + Math.random() * 4000);
  if (registry.isFull) throw fullError();
}

/** While none would be dialled, nobody is let in to learn that; and they do not come back together. */
function checkUpstream({ unavailable }: AdmissionServices): void {
  const error = unavailable();
  if (!error) return;
  const { id, message, retryAfterMs } = error;
  throw new RelayError(id, message, retryAfterMs === undefined ? {} : { retryAfterMs: jittered(retryAfterMs) });
}

function fullOfIssuer(): RelayError {
  return new RelayError('rate_limited', "No more sessions of this token's issuer at the same time.", {
    retryAfterMs: 5000,
  });
}

function fullError(why = 'has no room for another session', retryAfterMs = 2000): RelayError {
  return new RelayError('overloaded', `This relay ${why}.`, { retryAfterMs });
}

/** The refusal of everything new while the relay shuts down. */
export function drainingError(): RelayError {
  return new RelayError('draining', 'The relay is shutting down; connect again to reach another instance.', {
    retryAfterMs: 1000,
  });
}

/** Deciding who may come in: origin, credential, profile, model, and a free place. The same for every door. */

import type { IncomingMessage } from 'node:http';
import { findCredential } from '../auth/credentials.js';
import { type Principal, userKey } from '../auth/principal.js';
import { type ClientSecrets, looksLikeClientSecret } from '../auth/secrets.js';
import type { Verifier } from '../auth/verify.js';
import { RelayError } from '../errors.js';
import type { Profile } from '../policy/profile.js';
import type { Dialect } from '../protocol/catalogue.js';
import type { Revocations } from '../store/revocations.js';
import type { Store } from '../store/store.js';
import { type Budget, openBudget } from './budget.js';

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
  /** Gives the user's place back, and the budget unless it was started; called once. */
  release(): void;
}

/** The instance's places, of which every session takes one. */
interface Places {
  readonly isDraining: boolean;
  readonly isFull: boolean;
  reserve(): boolean;
  giveUp(): void;
}

/** What admission is decided with. */
export interface AdmissionServices {
  readonly verifier: Verifier;
  readonly secrets: ClientSecrets;
  readonly store: Store;
  /** What was withdrawn before its time. */
  readonly revocations: Pick<Revocations, 'covers'>;
  /**
   * Where a session takes its user's place, and with it one of those that several processes have in common; for sessions
   * only. Left out: in the store.
   */
  readonly places?: Pick<Store, 'acquire' | 'release'>;
  readonly registry: Places;
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly origins: readonly string[] | '*';
  readonly queryCredentials: boolean;
}

/** A request reduced to what admission looks at. */
export interface Request {
  readonly message: IncomingMessage;
  readonly url: URL;
}

const placeSeconds = 60;

/**
 * The page's origin when a browser sent the request, null when it was not a browser.
 * @throws RelayError `forbidden` for an origin that is not on the list
 */
export function checkOrigin(message: IncomingMessage, origins: readonly string[] | '*'): string | null {
  const sent = message.rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === 'origin').length;
  const origin = message.headers.origin;
  if (sent === 0 || origin === undefined) return null;
  if (sent > 1 || (origins !== '*' && !origins.includes(origin))) {
    throw new RelayError('forbidden', 'This origin may not connect; it must be on the list of allowed origins.');
  }
  return origin;
}

/**
 * Who sends the request; a client secret is used up by this, and good for a session only: one that minted others would
 * not be short-lived.
 */
export async function authenticate(
  request: Request,
  services: AdmissionServices,
  purpose: 'session' | 'mint' = 'session',
): Promise<Principal> {
  const { headers, rawHeaders } = request.message;
  const { queryCredentials, secrets, verifier } = services;
  const found = findCredential({ headers, rawHeaders, url: request.url, queryCredentials });
  if (!found) {
    throw new RelayError(
      'unauthorized',
      'No credential was sent; send your app token as "Authorization: Bearer <token>" or as the api-key header.',
    );
  }
  const isSecret = looksLikeClientSecret(found.credential);
  if (isSecret && purpose === 'mint') {
    throw new RelayError('forbidden', 'A client secret starts a session and nothing else; send your app token.');
  }
  const principal = isSecret ? await secrets.redeem(found.credential) : await verifier.verify(found.credential);
  if (!principal) {
    throw new RelayError('unauthorized', 'The client secret is unknown, already used or expired; ask for a new one.');
  }
  // The leeway is for clocks that differ; a session that ends in its first second would help nobody.
  if (principal.expiresAt * 1000 <= Date.now()) {
    throw new RelayError('token_expired', 'The token has run out; get a new one.');
  }
  if (services.revocations.covers(principal)) {
    throw new RelayError('revoked', 'The token was withdrawn; get a new one.');
  }
  return principal;
}

/** The profile a principal's token names. */
export function profileOf(principal: Principal, profiles: ReadonlyMap<string, Profile>): Profile {
  const profile = profiles.get(principal.profile);
  if (!profile) throw new RelayError('forbidden', 'The profile that the token names does not exist on this relay.');
  return profile;
}

/** The model's public name; what the client asks for is only a wish, unless the profile lists aliases. */
export function modelOf(profile: Profile, url: URL): string {
  const wishes = [...url.searchParams.getAll('model'), ...url.searchParams.getAll('deployment')];
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
function checkIntent(profile: Profile, url: URL): void {
  if (!url.searchParams.getAll('intent').includes('transcription') || profile.session.type === 'transcription') return;
  throw new RelayError(
    'forbidden',
    'intent=transcription was asked for, but the profile of the token is for conversations; ' +
      'leave intent out, or use a token whose profile has a session of type transcription.',
  );
}

/** Decides about one request, and takes the user's and the instance's place for it. */
export async function admit(
  request: Request,
  wishes: Pick<Admission, 'requestId' | 'dialect' | 'apiVersion' | 'relayEvents' | 'traceparent'>,
  services: AdmissionServices,
): Promise<Admission> {
  const { registry, store, places = store } = services;
  const { requestId, dialect, apiVersion, relayEvents, traceparent } = wishes;
  // Before the credential, because looking at a client secret uses it up.
  if (registry.isDraining) throw drainingError();
  if (registry.isFull) throw fullError();
  const principal = await authenticate(request, services);
  const profile = profileOf(principal, services.profiles);
  const model = modelOf(profile, request.url);
  checkIntent(profile, request.url);
  const id = `sess_${requestId.replaceAll('-', '')}`;
  const place = `sessions:${userKey(principal)}`;
  const { sessions_per_user } = profile.limits;
  const takePlace = () => places.acquire(place, id, sessions_per_user, placeSeconds);
  if (registry.isDraining) throw drainingError();
  if (!registry.reserve()) throw fullError();
  const leavePlace = () => void places.release(place, id).catch(ignored);
  let budget: Budget;
  try {
    if (!(await takePlace())) {
      throw new RelayError('rate_limited', `At most ${sessions_per_user} sessions of one user at the same time.`, {
        retryAfterMs: 5000,
      });
    }
    budget = await openBudget(store, profile.limits, principal).catch((error: unknown) => {
      leavePlace();
      throw error;
    });
  } catch (error) {
    registry.giveUp();
    throw error;
  }
  return {
    id,
    principal,
    profile,
    model,
    requestId,
    dialect,
    apiVersion,
    relayEvents,
    traceparent,
    renew: () => void takePlace().catch(ignored),
    budget,
    release: () => {
      leavePlace();
      budget.abandon();
    },
  };
}

/** A store out of reach must not end a session; its places run out by themselves. */
function ignored(): void {}

function fullError(): RelayError {
  return new RelayError('overloaded', 'This relay has no room for another session.', { retryAfterMs: 2000 });
}

/** The refusal of everything new while the relay shuts down. */
export function drainingError(): RelayError {
  return new RelayError('draining', 'The relay is shutting down; connect again to reach another instance.', {
    retryAfterMs: 1000,
  });
}

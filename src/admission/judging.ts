/** The steps of admission that only look: at the page, the instance, who asks, and what for. */

import type { Principal } from '../auth/principal.js';
import { RelayError } from '../errors.js';
import type { Profile } from '../policy/profile.js';
import { isServed } from '../policy/tools.js';
import { anonymousGuest, callerOf, isPageOf, limitedFor, originsOfAll } from './anonymous.js';
import type { Candidate } from './candidate.js';
import { jittered } from './connects.js';
import { checkOrigin } from './origin.js';
import { authenticate, signOf } from './recognise.js';

/** A page of an origin that is not listed comes in by no door, whatever a door has looked at itself. */
export function origin({ request, services }: Candidate): void {
  const { message, mayBeAnonymous } = request;
  checkOrigin(
    message,
    mayBeAnonymous ? originsOfAll(services.origins, services.settings().profiles) : services.origins,
  );
}

/** Nobody while the relay drains, is short of something, or full. */
export function room({ services: { registry } }: Candidate): void {
  if (registry.isDraining) throw drainingError();
  // Not all at once again: a crowd that is told the same second comes back in it.
  if (registry.isShort) throw fullError('is busy; try again shortly', 2000 + Math.random() * 4000);
  if (registry.isFull) throw fullError();
}

/** Who asks, by credential, or else by the page they come from. */
export async function who(candidate: Candidate): Promise<void> {
  const { request, services } = candidate;
  const isUnsigned = request.mayBeAnonymous && signOf(request, services) === 'none';
  const guest = isUnsigned ? anonymousGuest(request.message, services.settings().profiles) : null;
  if (guest) request.user = guest.principal;
  candidate.guest = guest ?? (await authenticate(request, services));
}

/** The settings that the session lives with, and the profile that the token names in them. */
export function profile(candidate: Candidate): void {
  const { guest, request, services } = candidate;
  candidate.settings = services.settings();
  const found = profileOf(guest.principal, candidate.settings.profiles, guest.isAnonymous);
  // A page that is there for a profile's anonymous callers is there for nothing else.
  if (!isPageOf(found, request.message)) checkOrigin(request.message, services.origins);
  candidate.profile = guest.isAnonymous ? limitedFor(found) : found;
}

/** Whoever is refused and comes again without pause. */
export function knock({ guest, profile, request, services }: Candidate): void {
  services.connects.knock(callerOf(guest, services.addressOf(request.message)), profile);
}

/** The model by its public name, and the kind of session. */
export function model(candidate: Candidate): void {
  const { profile, request } = candidate;
  candidate.model = modelOf(profile, request.url);
  checkIntent(profile, request.url);
}

/** While none would be dialled, nobody is let in to learn that; and they do not come back together. */
export function upstream({ services }: Candidate): void {
  const error = services.unavailable();
  if (!error) return;
  const { id, message, retryAfterMs } = error;
  throw new RelayError(id, message, retryAfterMs === undefined ? {} : { retryAfterMs: jittered(retryAfterMs) });
}

/** The profile a principal's token names, or that of their page. */
export function profileOf(principal: Principal, profiles: ReadonlyMap<string, Profile>, isAnonymous = false): Profile {
  const profile = profiles.get(principal.profile);
  if (!profile) throw new RelayError('forbidden', 'The profile that the token names does not exist on this relay.');
  if (profile.issuers && !isAnonymous && !profile.issuers.includes(principal.issuer)) {
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

/** Whether sessions of a profile may be calls of a browser's. */
export function checkWebrtc({ webrtc, session, tools }: Profile): void {
  if (!webrtc.enabled) throw new RelayError('forbidden', 'The profile of the token does not allow WebRTC.');
  if (tools.some(isServed) && webrtc.tools !== 'exposed') {
    throw new RelayError(
      'forbidden',
      "The profile of the token has tools that the server runs, whose calls a browser may see on WebRTC; that takes 'webrtc: { tools: exposed }'.",
    );
  }
  if (session.type === 'transcription') {
    throw new RelayError('forbidden', 'WebRTC is for conversations; the profile of the token only transcribes.');
  }
}

/** The refusal of who finds no room in the instance. */
export function fullError(why = 'has no room for another session', retryAfterMs = 2000): RelayError {
  return new RelayError('overloaded', `This relay ${why}.`, { retryAfterMs });
}

/** The refusal of everything new while the relay shuts down. */
export function drainingError(): RelayError {
  return new RelayError('draining', 'The relay is shutting down; connect again to reach another instance.', {
    retryAfterMs: 1000,
  });
}
